"""The requests of Subtitle Edit, open-webui and Bazarr, byte for byte, get what these programs read.

The forms are those that .NET's HttpClient and Python's requests write.
"""

import json
import struct
from collections.abc import Iterator

import pytest

from served import Served, error_of, serving

SAMPLES = struct.pack("<4h", 0, 1000, -1000, 0)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("uploads")) as running:
        yield running


def request(target: str, headers: list[str], body: bytes) -> bytes:
    """Return the bytes of a request."""
    head = [f"POST {target} HTTP/1.1", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


def dotnet_form(boundary: str, file: bytes, fields: list[tuple[str, str]]) -> bytes:
    """Return what .NET's MultipartFormDataContent writes: names that are tokens have no quotation marks."""
    head = (
        f"--{boundary}\r\nContent-Type: audio/wav\r\n"
        "Content-Disposition: form-data; name=file; filename=audio.wav; filename*=utf-8''audio.wav\r\n\r\n"
    )
    parts = [
        f"\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Disposition: form-data; name={name}\r\n\r\n{value}"
        for name, value in fields
    ]
    return head.encode() + file + "".join(parts).encode() + f"\r\n--{boundary}--\r\n".encode()


@pytest.mark.parametrize("response_format", ["json", "verbose_json", "srt"])
def test_subtitle_edit(served: Served, response_format: str) -> None:
    boundary = "7b2a4a39-3c5f-4a0e-9d3e-0d5c2b1c6f10"
    form = dotnet_form(
        boundary,
        b"hello\nworld",
        [
            ("model", "whisper-1"),
            ("response_format", response_format),
            ('"timestamp_granularities[]"', "segment"),
            ("language", "en"),
        ],
    )
    headers = [
        "Host: 127.0.0.1:8000",
        "Authorization: Bearer",
        f'Content-Type: multipart/form-data; boundary="{boundary}"',
    ]
    status, _, body = served.send(request("/v1/audio/transcriptions", headers, form))
    assert status == 200
    if response_format == "srt":
        assert body.decode().startswith("1\n00:00:00,000 --> ")
    else:
        answer = json.loads(body)
        assert answer["text"] == "hello [de] world [de]"
        assert ("segments" in answer) == (response_format == "verbose_json")


def requests_form(boundary: str, file: tuple[str, str, bytes], fields: dict[str, str]) -> bytes:
    """Return what Python's requests (urllib3) writes: the fields, then the file without a content type."""
    field, filename, contents = file
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{filename}"\r\n\r\n'
    return "".join([*parts, head]).encode() + contents + f"\r\n--{boundary}--\r\n".encode()


def requests_headers(boundary: str) -> list[str]:
    return [
        "Host: 127.0.0.1:8000",
        "User-Agent: python-requests/2.32.5",
        "Accept-Encoding: gzip, deflate",
        "Accept: */*",
        "Connection: keep-alive",
        f"Content-Type: multipart/form-data; boundary={boundary}",
    ]


def test_open_webui_sends_a_file_and_a_model(served: Served) -> None:
    boundary = "0f0a2c7be0d4c8f9a1b2c3d4e5f60718"
    form = requests_form(boundary, ("file", "c1d2.wav", b"hello"), {"model": "travel:fr"})
    headers = [*requests_headers(boundary), "Authorization: Bearer sk-any"]
    status, _, body = served.send(request("/v1/audio/transcriptions", headers, form))
    assert (status, json.loads(body)) == (200, {"text": "hello [fr]"})


def test_bazarr_sends_samples_and_gets_subtitles(served: Served) -> None:
    boundary = "f3b1c2d4a5968778695a4b3c2d1e0f00"
    form = requests_form(boundary, ("audio_file", "audio_file", SAMPLES), {})
    query = "task=translate&language=es&output=srt&encode=false"
    status, headers, body = served.send(request(f"/asr?{query}", requests_headers(boundary), form))
    assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert body.decode().splitlines()[1:3] == ["00:00:00,000 --> 00:00:02,000", "8 bytes [en]"]
    asked = served.engine.requests[-1]
    assert (asked.raw, asked.task, asked.target_language, asked.source_language) == (True, "translate", "en", "es")
    query = "task=transcribe&language=es&output=srt&encode=false"
    _, _, body = served.send(request(f"/asr?{query}", requests_headers(boundary), form))
    assert "8 bytes [said]" in body.decode()


def test_bazarr_asks_for_the_language(served: Served) -> None:
    boundary = "a3b1c2d4a5968778695a4b3c2d1e0f00"
    form = requests_form(boundary, ("audio_file", "audio_file", SAMPLES), {})
    for path, raw in (("/detect-language?encode=false", True), ("/detect-language", False)):
        _, _, body = served.send(request(path, requests_headers(boundary), form))
        assert json.loads(body) == {"detected_language": "french", "language_code": "fr", "confidence": 0.9}
        assert (served.engine.requests[-1].task, served.engine.requests[-1].raw) == ("identify", raw)
    served.engine.can_identify = False
    status, _, body = served.send(request("/detect-language", requests_headers(boundary), form))
    served.engine.can_identify = True
    assert status == 501
    assert error_of(body)["message"] == "this server has no language identifier; start it with --identifier"


@pytest.mark.parametrize(
    ("query", "kind", "start"),
    [
        ("", "text/plain; charset=utf-8", "hello [said]\n"),
        ("?output=txt&task=translate&to_language=fr", "text/plain; charset=utf-8", "hello [fr]\n"),
        ("?output=vtt&task=translate", "text/vtt; charset=utf-8", "WEBVTT\n"),
        (
            "?output=tsv&task=translate",
            "text/tab-separated-values; charset=utf-8",
            "start\tend\ttext\n0\t2000\thello [en]\n",
        ),
        (
            "?output=json&model=travel:de&word_timestamps=true",
            "application/json",
            '{"task":"translate","language":"de"',
        ),
    ],
)
def test_other_clients_of_whisper_asr_webservice(served: Served, query: str, kind: str, start: str) -> None:
    boundary = "b3b1"
    form = requests_form(boundary, ("audio_file", "talk.mp3", b"hello"), {})
    status, headers, body = served.send(request(f"/asr{query}", requests_headers(boundary), form))
    assert (status, headers["content-type"]) == (200, kind)
    assert body.decode().startswith(start)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/asr?output=docx", "output is 'docx', expected one of txt, vtt, srt, tsv, json"),
        ("/asr?task=sing", "task is 'sing', expected one of transcribe, translate"),
        ("/asr?model=travel:ca", "model travel does not translate into Catalan (ca); expected de, en, fr"),
        ("/nowhere", "there is no POST /nowhere; audio goes to POST /v1/audio/translations or "),
        ("/health", "method POST is not allowed for /health; expected "),
        ("/v1/audio/translations", "the form has no file; expected audio in the field 'file'"),
    ],
)
def test_wrong_requests(served: Served, path: str, message: str) -> None:
    boundary = "b3b1"
    form = requests_form(boundary, ("audio_file", "talk.mp3", b"hello"), {})
    status, _, body = served.send(request(path, requests_headers(boundary), form))
    assert status in (400, 404, 405)
    assert error_of(body)["message"].startswith(message)
    served.wait_until_idle()


def test_a_file_that_is_sent_as_text_is_explained(served: Served) -> None:
    """As by curl with -F audio_file=talk.mp3, which lacks the @."""
    form = requests_form("b3b1", ("file", "talk.mp3", b"hello"), {"audio_file": "talk.mp3"})
    status, _, body = served.send(request("/asr", requests_headers("b3b1"), form))
    assert (status, error_of(body)["param"]) == (400, "audio_file")
    assert error_of(body)["message"] == (
        "the field 'audio_file' is text, expected a file; with curl: -F audio_file=@talk.mp3"
    )
