"""DecodedAudio for the model: decoded ahead within bounds, in order, long sound in a file."""

import io
import resource
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from media import sine, write_media
from voxlate.audio import chunks
from voxlate.audio import prefetch as sound_module
from voxlate.audio.chunks import SpooledWaveform
from voxlate.audio.clock import FROM_ZERO
from voxlate.audio.loading import load_audio, spool_audio
from voxlate.audio.prefetch import DecodedAudio, read_ahead
from voxlate.audio.segmentation import segment
from voxlate.errors import AudioError


def wav(seconds: float) -> bytes:
    file = io.BytesIO()
    file.write(write_media(Path("a.wav"), sine(300, seconds)).read_bytes())
    return file.getvalue()


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_inputs_come_in_order_whatever_they_are() -> None:
    array = np.zeros(8_000, np.float32)
    Path("b.wav").write_bytes(wav(2.0))
    found = list(read_ahead([wav(1.0), "nothing.wav", array, "b.wav", np.zeros((2, 2)), b"noise"]))
    seconds = [one.seconds if isinstance(one, DecodedAudio) else None for one in found]
    assert seconds == [1.0, None, 0.5, 2.0, None, None]
    assert "nothing.wav" in str(found[1])
    assert str(found[4]).startswith("array: expected floats or 16-bit integers")
    assert [one.name for one in found if isinstance(one, DecodedAudio)] == ["bytes", "ndarray", "b.wav"]


def test_no_more_than_so_many_seconds_lie_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def count(item: np.ndarray, **_: object) -> DecodedAudio | AudioError:
        read.append(len(item))
        return DecodedAudio("", item, [])

    monkeypatch.setattr(sound_module, "_read", count)
    sounds = read_ahead([np.zeros(16_000, np.float32)] * 30, seconds=3.0)
    for taken in range(1, 20):
        next(sounds)
        time.sleep(0.005)
        assert len(read) <= taken + 4
    sounds.close()  # type: ignore[attr-defined]
    time.sleep(0.05)
    assert len(read) < 26
    assert not any(thread.name == "audio" and thread.is_alive() for thread in threading.enumerate())


def test_what_goes_wrong_there_is_raised_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object, **__: object) -> DecodedAudio:
        raise MemoryError("no room")

    monkeypatch.setattr(sound_module, "_read", fail)
    with pytest.raises(MemoryError, match="no room"):
        list(read_ahead([b""]))

    def inputs() -> Iterator[bytes]:
        yield wav(1.0)
        raise OSError("no more of them")

    with pytest.raises(OSError, match="no more of them"):
        list(read_ahead(inputs()))


def test_long_sound_lies_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same samples and the same pieces, and nothing of it in memory."""
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
    pieces = segment(spooled)
    assert pieces == segment(whole)
    assert len(pieces) > 3
    monkeypatch.setattr(chunks, "SPOOLED_SECONDS", 300.0)
    assert isinstance(spool_audio(path)[0], np.ndarray)


def test_samples_that_are_no_numbers_are_found_wherever_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "SPOOLED_SECONDS", 1.0)
    waveform_T = sine(300, 4.0).astype(np.float32)
    waveform_T[48_000] = np.nan
    path = write_media(Path("nan.wav"), waveform_T, codec="pcm_f32le")
    with pytest.raises(AudioError, match=r"contains NaN or infinite samples, the first at 3\.00 s"):
        spool_audio(path)


@pytest.mark.parametrize("is_full", [False, True])
def test_a_temporary_folder_that_takes_nothing_fails_only_long_sound(
    monkeypatch: pytest.MonkeyPatch, is_full: bool
) -> None:
    monkeypatch.setattr(chunks, "SPOOLED_SECONDS", 2.0)
    Path("temporary").mkdir(exist_ok=is_full)
    monkeypatch.setattr(tempfile, "tempdir", "temporary" if is_full else "nowhere")
    for name, seconds in (("short.wav", 1.0), ("long.wav", 5.0), ("last.wav", 1.0)):
        Path(name).write_bytes(wav(seconds))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if is_full:  # no file may be larger, as on a disk that has no more room
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


def test_sound_that_memory_does_not_hold_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def spool(item: bytes, **_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(sound_module, "spool_audio", spool)
    assert [str(one) for one in read_ahead([b"", "a.wav"])] == [
        "bytes: not enough memory to decode it",
        "a.wav: not enough memory to decode it",
    ]
