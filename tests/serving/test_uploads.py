"""Uploads that are too large, too slow, damaged or given up: the server answers, keeps running, and leaves no file."""

import json
import random
import resource
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from served import BOUNDARY, Served, error_of, multipart, post, read_answer, serving

TRANSLATIONS = "/v1/audio/translations"
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("uploads"), idle_seconds=0.3, min_bytes_per_second=MEGABYTE) as running:
        yield running


def assert_serves(served: Served) -> None:
    """Check that a request succeeds, and that the ones before have left nothing."""
    status, _, body = served.send(post(TRANSLATIONS, multipart(b"hello", model="travel")))
    assert (status, json.loads(body)) == (200, {"text": "hello [en]"})
    served.wait_until_idle()


def test_a_too_large_upload_is_refused_before_it_is_sent(served: Served) -> None:
    before = served.service.metrics.response().body
    status, headers, body = served.send(post(TRANSLATIONS, b"", length=2_000_000_000))
    assert status == 413
    assert headers["connection"] == "close"
    error = error_of(body)
    assert error["message"] == "the upload is larger than 1 MB, the limit of this server (--max-upload)"
    assert error["code"] == "file_too_large"
    assert b"voxlate_upload_bytes_total 0.0" in bytes(before)
    assert_serves(served)


def test_a_too_large_upload_of_unknown_length_is_refused_while_it_is_sent(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxlate.serving.connections.CloseUnreadBodies.linger_seconds", 0.5)
    chunk = b"x" * 65_536
    form = multipart(b"").partition(b"\r\n--" + BOUNDARY.encode() + b"--")[0]
    head = post(TRANSLATIONS, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    with served.connect() as connection:
        connection.sendall(head + b"%x\r\n%s\r\n" % (len(form), form))
        sent = 0
        with suppress(OSError):  # the connection is reset
            while sent < 2_000_000_000:
                connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                sent += len(chunk)
        assert sent < 1_000_000_000  # the rest is not taken
        status, _, body = read_answer(connection)
    assert status in (413, 0)  # the answer may be lost when the connection is reset
    assert not body or error_of(body)["code"] == "file_too_large"
    assert_serves(served)


def test_the_client_sees_the_refusal_of_a_somewhat_too_large_upload(served: Served) -> None:
    status, _, body = served.send(post(TRANSLATIONS, multipart(b"x" * (3 * MEGABYTE), model="travel")))
    assert status == 413
    assert error_of(body)["param"] == "file"
    assert_serves(served)


def test_too_many_fields_are_refused(served: Served) -> None:
    status, _, body = served.send(post(TRANSLATIONS, multipart(b"hello", prompt="x" * 70_000)))
    assert (status, error_of(body)["code"]) == (413, "fields_too_large")
    assert_serves(served)


def test_an_upload_that_stops_or_trickles_is_given_up(served: Served) -> None:
    body = multipart(b"hello" * 1000, model="travel")
    for pause in (1.0, 0.05):  # the second one sends a byte now and then
        start = time.monotonic()
        with served.connect() as connection:
            connection.sendall(post(TRANSLATIONS, body[:200], length=len(body)))
            while time.monotonic() < start + 0.9 and pause < 1:
                connection.sendall(b"x")
                time.sleep(pause)
            status, headers, answer = read_answer(connection)
        assert (status, headers["connection"]) == (408, "close")
        assert error_of(answer)["message"] == "the upload is too slow, or has stopped; send it again"
        assert time.monotonic() - start < 5
    assert_serves(served)


def test_a_client_that_leaves_is_forgotten(served: Served) -> None:
    body = multipart(b"hello\nwait", model="travel:de")
    for sent in (body[:100], body):
        before = len(served.engine.cancelled)
        with served.connect() as connection:
            connection.sendall(post(TRANSLATIONS, sent, length=len(body)))
            time.sleep(0.1)
        served.wait_until_idle()
        assert len(served.engine.cancelled) == before + (sent == body)
    streamed = post("/v1/audio/transcriptions", multipart(b"hello\nwait", model="travel:de", stream="true"))
    with served.connect() as connection:
        connection.sendall(streamed)
        received = b""
        while b"hello [de]" not in received:
            received += connection.recv(65_536)
    served.wait_until_idle()
    assert served.engine.cancelled[-1].target_language == "de"
    assert b'status="499"' in bytes(served.service.metrics.response().body)


def test_a_full_disk_is_reported(served: Served) -> None:
    """The largest size of a file stands for the size of the disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        status, _, body = served.send(post(TRANSLATIONS, multipart(b"x" * 500_000, model="travel")))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert status == 507
    assert error_of(body)["message"] == "the disk of the server is full; try again later"
    assert_serves(served)


def test_only_some_requests_are_received_at_once(tmp_path: Path) -> None:
    body = multipart(b"hello", model="travel")
    with serving(tmp_path, max_waiting=2) as limited:
        waiting = [limited.connect() for _ in range(2)]
        for connection in waiting:
            connection.sendall(post(TRANSLATIONS, body[:50], length=len(body)))
        while limited.service.active < 2:
            time.sleep(0.01)
        status, headers, answer = limited.send(post(TRANSLATIONS, body))
        assert (status, headers["retry-after"]) == (429, "5")
        assert error_of(answer)["type"] == "rate_limit_error"
        for connection in waiting:
            connection.sendall(body[50:])
            assert read_answer(connection)[0] == 200
            connection.close()
        limited.wait_until_idle()


def test_headers_that_never_end_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxlate.serving.connections.GuardedProtocol.header_seconds", 0.3)
    with serving(tmp_path) as guarded:
        for begin in (b"", b"GET /health HTTP/1.1\r\nX-Long: "):
            with guarded.connect() as connection:
                connection.sendall(begin)
                assert read_answer(connection)[0] == 0
        with guarded.connect() as connection:  # after a request on the same connection
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(connection)[0] == 200
            connection.sendall(b"GET /hea")
            assert read_answer(connection)[0] == 0
        assert_serves(guarded)


def test_many_idle_connections_leave_room_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxlate.serving.connections.GuardedProtocol.max_connections", 50)
    monkeypatch.setattr("voxlate.serving.connections.GuardedProtocol.header_seconds", 0.5)
    with serving(tmp_path) as crowded:
        idle = [crowded.connect() for _ in range(60)]
        assert [read_answer(connection)[0] for connection in idle[50:]] == [0] * 10  # closed at once
        assert read_answer(idle[0])[0] == 0  # closed after a while
        assert_serves(crowded)
        for connection in idle:
            connection.close()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"nonsense\r\n\r\n", "Invalid HTTP request received. Expected HTTP/1.1"),
        (post(TRANSLATIONS, b"not a form"), "the multipart form is malformed or incomplete"),
        (post(TRANSLATIONS, multipart(b"hello")[:-8]), "the multipart form is malformed or incomplete"),
        (post(TRANSLATIONS, multipart(b"hello").replace(b'name="file"; ', b"")), "the multipart form is malformed or"),
        (post(TRANSLATIONS, b"{}").replace(b"multipart/form-data", b"application/json"), "the content type is appl"),
        (post(TRANSLATIONS, multipart(b"")), "the uploaded file is empty (0 bytes)"),
    ],
)
def test_what_is_no_form_is_refused(served: Served, data: bytes, message: str) -> None:
    status, _, body = served.send(data)
    assert status == 400
    assert error_of(body)["message"].startswith(message)
    assert_serves(served)


@pytest.mark.slow
def test_a_thousand_damaged_requests(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes are changed, left out and repeated anywhere in a request."""
    monkeypatch.setattr("voxlate.serving.connections.GuardedProtocol.header_seconds", 0.3)
    rng = random.Random(28)
    whole = post(TRANSLATIONS, multipart(b"hello\nworld" * 20, model="travel", response_format="srt"))
    statuses: set[int] = set()
    for _ in range(1000):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            position, length = rng.randrange(len(data)), rng.randint(1, 30)
            data[position : position + length] = rng.choice(
                (b"", rng.randbytes(length), data[position : position + length] * 2, b"\r\n", b"\x00" * length)
            )
        with served.connect() as connection:
            connection.sendall(data)
            status, _, body = read_answer(connection)
        statuses.add(status)
        assert status != 500
        if status >= 400:
            error_of(body)
    assert {200, 400} <= statuses <= {0, 200, 400, 404, 405, 408, 413}
    assert_serves(served)
