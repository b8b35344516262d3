"""A thousand damaged recordings, sent to the real engine: each gets an answer, and nothing is left of it."""

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from media import write_media
from paths import DEMO
from served import Served, ask, error_of, serving
from voxlate.audio.loading import load_audio
from voxlate.search_options import SearchOptions
from voxlate.serving.engine import ServingEngine
from voxlate.serving.engine_options import EngineOptions

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Served]:
    options = EngineOptions(search=SearchOptions(beam_size=1, max_length=4), max_audio_seconds=60)
    engine = ServingEngine({"tiny": tiny_model}, options=options)
    engine.start()
    try:
        with serving(tmp_path_factory.mktemp("uploads"), engine) as running:
            while not engine.ready:
                assert engine.failure is None
            yield running
    finally:
        engine.shutdown(0)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """A third of a second of speech in several containers."""
    folder = tmp_path_factory.mktemp("recordings")
    speech_T = load_audio(DEMO / "clips/fr-25.flac", start_seconds=0.5, end_seconds=0.85).waveform
    names = ("a.wav", "a.flac", "a.mp3", "a.ogg", "a.m4a", "a.webm")
    return [write_media(folder / name, np.asarray(speech_T)).read_bytes() for name in names]


def damage(recording: bytes, rng: random.Random) -> bytes:
    """Change, repeat or leave out bytes, most of them in the header."""
    data = bytearray(recording)
    for _ in range(rng.randint(1, 8)):
        end = len(data) if rng.random() < 0.3 else min(len(data), 200)
        position, length = rng.randrange(max(1, end)), rng.randint(1, 16)
        data[position : position + length] = rng.choice(
            (b"", rng.randbytes(length), b"\xff" * length, b"\x00" * length)
        )
    return bytes(data[: rng.randrange(len(data))] if rng.random() < 0.2 else data)


def test_each_damaged_recording_gets_an_answer(served: Served, recordings: list[bytes]) -> None:
    rng = random.Random(28)
    url = f"{served.url}/v1/audio/translations"
    damaged = [damage(rng.choice(recordings), rng) for _ in range(1000)]
    expected = ask(url, recordings[0], to_language="de")
    assert expected[0] == 200
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda data: ask(url, data, to_language="de"), damaged))
    counts = Counter(status for status, _ in answers)
    assert set(counts) <= {200, 400, 413}
    assert counts[200] > 100
    assert counts[400] > 100
    for status, text in answers:
        if status != 200:
            message = error_of(text)["message"]
            assert message.startswith("the file ") or "empty" in message
            assert str(served.folder) not in message
    assert ask(url, recordings[0], to_language="de") == expected
    served.wait_until_idle()


def test_playlists_open_nothing(served: Served, tmp_path: Path, recordings: list[bytes]) -> None:
    """Neither files of the server nor addresses in an upload are opened."""
    (tmp_path / "secret.wav").write_bytes(recordings[0])
    secret = tmp_path / "secret.wav"
    uploads = [
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        f"#EXTM3U\n#EXTINF:1,\n{served.url}/health\n",
        f"ffconcat version 1.0\nfile '{secret}'\n",
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {served.address[1]} RTP/AVP 0\n",
        str(secret),
        f"{served.url}/health",
    ]
    before = served.service.metrics.response().body
    for upload in uploads:
        status, text = ask(f"{served.url}/v1/audio/translations", upload.encode(), to_language="de")
        assert status == 400, upload
        assert "the file cannot be read" in error_of(text)["message"]
    assert b'route="/health"' not in bytes(before)
    assert b'route="/health"' not in bytes(served.service.metrics.response().body)
