"""Decoding in processes: results, order, dead processes, and nothing left over."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from child_processes import LINUX, children, open_files
from media import sine, write_media
from voxlate.audio import decoded_audio, decoding_pool
from voxlate.audio.chunks import SpooledWaveform
from voxlate.audio.decoded_audio import Decodable, DecodedAudio, decode_input
from voxlate.audio.decoding_pool import DecodingPool, is_for_processes
from voxlate.audio.prefetch import read_ahead
from voxlate.audio.resampling import Waveform
from voxlate.audio.speech_detection import Speech, SpeechOptions, detect_speech
from voxlate.errors import AudioError

pytestmark = pytest.mark.vad  # processes detect speech


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Six files: short, damaged, short, missing, over a minute, empty."""
    paths = [write_media(tmp_path / f"{pitch}.flac", sine(pitch, 2.0)) for pitch in (200, 300, 400)]
    paths[1].write_bytes(paths[1].read_bytes()[:20_000])
    paths.append(tmp_path / "missing.wav")
    paths.append(write_media(tmp_path / "long.wav", np.tile(sine(500, 1.0), 61)))
    (tmp_path / "empty.wav").touch()
    return [*paths, tmp_path / "empty.wav"]


def described(result: DecodedAudio | AudioError) -> object:
    """Return everything about a result, in a form that can be compared."""
    if isinstance(result, AudioError):
        return str(result)
    arrays = (result.waveform_T[:], result.speech.probabilities_F, result.speech.speech_G, result.speech.sound_G)
    kind, texts = type(result.waveform_T), (result.name, result.warnings, result.notes, result.clock)
    return kind, texts, [array.tobytes() for array in arrays]


@LINUX
def test_results_do_not_depend_on_the_number_of_processes(files: list[Path]) -> None:
    array, opened = sine(600, 1.5).astype(np.float32), io.BytesIO(files[0].read_bytes())
    inputs: list[Decodable] = [*files, array, files[2].read_bytes(), str(files[0]), opened, b"noise"]
    before = children(), open_files()
    expected = [described(result) for result in read_ahead(inputs, num_workers=0)]
    for workers in (1, 2):
        assert [described(result) for result in read_ahead(inputs, num_workers=workers)] == expected
    assert (children(), open_files()) == before
    texts = [text for text in expected if isinstance(text, str)]
    assert [text.rpartition("/")[2] for text in texts] == [
        "missing.wav: no such file",
        "empty.wav: empty file (0 bytes)",
        "<bytes>: not audio or video that FFmpeg's libraries can read",
    ]
    [long] = read_ahead([files[4]], num_workers=1)
    assert isinstance(long, DecodedAudio)
    assert isinstance(long.waveform_T, SpooledWaveform)
    assert long.waveform_T[:].flags.writeable


def test_only_regular_files_and_bytes_are_for_processes(files: list[Path], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    local = (tmp_path / "pipe.wav", "missing.wav", tmp_path, "a\0b", "/dev/stdin", np.zeros(4), io.BytesIO(b"x"))
    assert [is_for_processes(item) for item in local] == [False] * len(local)
    assert [is_for_processes(item) for item in (files[0], str(files[0]), b"x")] == [True] * 3


def decode_or_die(item: Decodable) -> DecodedAudio | AudioError:
    """Decode an input; one with a certain name kills the process, and one is larger than the memory."""
    if str(item).endswith("400.flac"):
        os.kill(os.getpid(), signal.SIGKILL)
    if str(item).endswith("long.wav"):
        raise MemoryError
    return decode_input(item)


@LINUX
def test_a_process_that_dies_costs_only_its_input(files: list[Path]) -> None:
    before = children()
    inputs = [files[0], files[2], files[0], files[4], files[2], files[0]]
    with DecodingPool(decode_or_die, 600.0, 2) as pool:
        futures = [pool.submit(item) for item in inputs]
        results = [pool.take(future) for future in futures]
    assert children() == before
    assert [str(result) if isinstance(result, AudioError) else result.name for result in results] == [
        str(files[0]),
        f"{files[2]}: the process that decoded it was killed (SIGKILL), perhaps for lack of memory",
        str(files[0]),
        f"{files[4]}: not enough memory to decode it",
        f"{files[2]}: the process that decoded it was killed (SIGKILL), perhaps for lack of memory",
        str(files[0]),
    ]


@LINUX
@pytest.mark.parametrize(("cores", "processes"), [(1, 0), (2, 0), (3, 2), (8, 7)])
def test_the_caller_keeps_a_core(cores: int, processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single process is slower than the thread."""
    monkeypatch.setattr(decoding_pool, "core_share", lambda: cores)
    assert decoding_pool.useful_processes() == processes


def test_processes_take_over_when_the_caller_waits(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(waveform_T: Waveform, options: SpeechOptions) -> Speech:
        time.sleep(0.2)
        return detect_speech(waveform_T, options)

    inputs = [files[0], files[2], files[0]] * 5
    expected = [described(result) for result in read_ahead(inputs)]
    monkeypatch.setattr(decoded_audio, "detect_speech", slowly)  # in this process
    monkeypatch.setattr(decoding_pool, "core_share", lambda: 3)
    before, seen = set(children()), set[int]()
    found = []
    for result in read_ahead(inputs, num_workers=None):
        found.append(described(result))
        seen |= set(children()) - before
    assert found == expected
    assert 1 <= len(seen) <= 2  # a core is left to the caller
    assert set(children()) == before


PROGRAM = """
import sys, time
from voxlate.audio.prefetch import read_ahead
results = read_ahead([sys.argv[1]] * 400, num_workers=2)  # no "if __name__" is needed
next(results)
print("started", flush=True)
for result in results:
    time.sleep(0.1)
"""


@LINUX
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_its_parent(files: list[Path], tmp_path: Path, sent: signal.Signals) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    parent = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(files[4])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(temporary)},
        text=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "started\n"
    deadline = time.monotonic() + 20
    while len(workers := children(parent.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    parent.send_signal(sent)
    _, errors = parent.communicate(timeout=20)
    assert len(workers) == 2
    assert parent.returncode in (-sent, 130, 1)
    assert "resource_tracker" not in errors
    assert errors.count("Traceback") == (sent == signal.SIGINT)  # of the parent, not of the processes
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{number}").exists() for number in workers) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(Path(f"/proc/{number}").exists() for number in workers)
    assert list(temporary.iterdir()) == []


@LINUX
def test_abandoned_results_stop_the_processes(files: list[Path]) -> None:
    before = children(), open_files()
    results = read_ahead([files[4]] * 20, num_workers=2)
    next(results)
    started = time.monotonic()
    results.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 2
    assert (children(), open_files()) == before
    assert not any(thread.name.startswith("audio") and thread.is_alive() for thread in threading.enumerate())
