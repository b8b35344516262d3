"""Decoding ahead of the model: the order and number of inputs, errors, and long audio in temporary files."""

import io
import resource
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media import sine, write_media
from segments import segments_of
from voxlate.audio import chunks, decoded_audio
from voxlate.audio.chunks import SpooledWaveform
from voxlate.audio.clock import FROM_ZERO
from voxlate.audio.decoded_audio import DecodedAudio
from voxlate.audio.loading import load_audio, spool_audio
from voxlate.audio.prefetch import read_ahead
from voxlate.errors import AudioError


def wav(seconds: float) -> bytes:
    file = io.BytesIO()
    file.write(write_media(Path("a.wav"), sine(300, seconds)).read_bytes())
    return file.getvalue()


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_results_have_the_order_of_the_inputs() -> None:
    array = np.zeros(8_000, np.float32)
    Path("b.wav").write_bytes(wav(2.0))
    found = list(read_ahead([wav(1.0), "nothing.wav", array, "b.wav", np.zeros((2, 2)), b"noise"]))
    seconds = [one.seconds if isinstance(one, DecodedAudio) else None for one in found]
    assert seconds == [1.0, None, 0.5, 2.0, None, None]
    assert "nothing.wav" in str(found[1])
    assert str(found[4]).startswith("array: expected floats or 16-bit integers of shape (T,) or (1, T), got float64")
    assert [one.name for one in found if isinstance(one, DecodedAudio)] == ["bytes", "ndarray", "b.wav"]


def test_a_limited_number_of_seconds_is_decoded_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []

    def record(source: bytes, **options: Any) -> Any:
        decoded.append(source)
        return spool_audio(source, **options)

    monkeypatch.setattr(decoded_audio, "spool_audio", record)
    results = read_ahead([wav(1.0)] * 30, seconds=3.0)
    for taken in range(1, 20):
        next(results)
        time.sleep(0.02)
        assert len(decoded) <= taken + 4
    assert len(decoded) > 19  # the thread is ahead
    results.close()  # type: ignore[attr-defined]
    time.sleep(0.05)
    assert len(decoded) < 26
    assert not any(thread.name == "audio" and thread.is_alive() for thread in threading.enumerate())


def test_exceptions_of_the_thread_are_raised_in_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object, **__: object) -> None:
        raise RuntimeError("a defect of the decoder")

    with monkeypatch.context() as patch:
        patch.setattr(decoded_audio, "spool_audio", fail)
        with pytest.raises(RuntimeError, match="a defect of the decoder"):
            list(read_ahead([b""]))

    def inputs() -> Iterator[bytes]:
        yield wav(1.0)
        raise OSError("a defect of the inputs")

    with pytest.raises(OSError, match="a defect of the inputs"):
        list(read_ahead(inputs()))


def test_long_audio_is_stored_in_a_temporary_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples and segments are the same as in memory."""
    monkeypatch.setattr(chunks, "SPOOLED_SECONDS", 2.0)
    generator = np.random.default_rng(0)
    parts = [np.concatenate([generator.normal(size=16_000 * 9) * 0.1, np.zeros(24_000)]) for _ in range(6)]
    path = write_media(Path("long.wav"), np.concatenate(parts).astype(np.float32), codec="pcm_f32le")
    spooled, warnings, clock, notes = spool_audio(path)
    whole = load_audio(path).waveform
    assert isinstance(spooled, SpooledWaveform)
    assert warnings == notes == ()
    assert clock == FROM_ZERO
    assert len(spooled) == len(whole)
    assert np.array_equal(spooled[:], whole)
    assert np.array_equal(spooled[1234:56_789], whole[1234:56_789])
    assert np.array_equal(spooled[len(whole) - 5 : len(whole) + 5], whole[-5:])
    segments = segments_of(spooled)
    assert segments == segments_of(whole)
    assert len(segments) > 3
    monkeypatch.setattr(chunks, "SPOOLED_SECONDS", 300.0)
    assert isinstance(spool_audio(path)[0], np.ndarray)


def test_nan_in_spooled_audio_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "SPOOLED_SECONDS", 1.0)
    waveform_T = sine(300, 4.0).astype(np.float32)
    waveform_T[48_000] = np.nan
    path = write_media(Path("nan.wav"), waveform_T, codec="pcm_f32le")
    with pytest.raises(AudioError, match=r"contains NaN or infinite samples, the first at 3\.00 s"):
        spool_audio(path)


@pytest.mark.parametrize("is_full", [False, True])
def test_an_unusable_temporary_folder_affects_only_long_audio(monkeypatch: pytest.MonkeyPatch, is_full: bool) -> None:
    monkeypatch.setattr(chunks, "SPOOLED_SECONDS", 2.0)
    Path("temporary").mkdir(exist_ok=is_full)
    monkeypatch.setattr(tempfile, "tempdir", "temporary" if is_full else "nowhere")
    for name, seconds in (("short.wav", 1.0), ("long.wav", 5.0), ("last.wav", 1.0)):
        Path(name).write_bytes(wav(seconds))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if is_full:  # limit the size of files, like a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        first, error, last = read_ahead(["short.wav", "long.wav", "last.wav"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (isinstance(first, DecodedAudio), isinstance(last, DecodedAudio)) == (True, True)
    folder, reason = ("temporary", "File too large") if is_full else ("nowhere", "No such file or directory")
    assert str(error) == (
        f"long.wav: audio longer than 2 s needs a temporary file, which cannot be written to {folder} ({reason}); "
        "free some space, or set TMPDIR to another folder"
    )


def test_running_out_of_memory_affects_only_that_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def spool(item: bytes, **_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(decoded_audio, "spool_audio", spool)
    assert [str(one) for one in read_ahead([b"", "a.wav"])] == [
        "bytes: not enough memory to decode it",
        "a.wav: not enough memory to decode it",
    ]
