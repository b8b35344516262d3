"""Uploads are decoded in processes with limits: those that die, take too long, or are large."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest

from child_processes import LINUX, children
from media import sine, write_media
from voxlate.audio.chunks import SpooledWaveform
from voxlate.audio.decoded_audio import DecodedAudio
from voxlate.audio.speech_detection import SpeechOptions
from voxlate.serving.request_stream import AudioRequest, RequestFailed
from voxlate.serving.upload_decoder import UploadDecoder

pytestmark = LINUX


class Decoding:
    """A decoder, and the results of uploads in the order in which they come."""

    def __init__(self, **options: Any) -> None:
        defaults = {"max_seconds": 36_000.0, "workers": 1, "memory_bytes": 1 << 30}
        self.decoder = UploadDecoder(SpeechOptions(vad=False), **{**defaults, **options})
        self.decoder.start()
        self.results: SimpleQueue[tuple[int, Any]] = SimpleQueue()

    def put(self, number: int, path: Path) -> None:
        self.decoder.put(
            number, AudioRequest(path, "m", name=path.name), lambda result: self.results.put((number, result))
        )

    def next(self) -> tuple[int, Any]:
        return self.results.get(timeout=120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short file, and a large one whose 10 minutes take seconds to decode."""
    folder = tmp_path_factory.mktemp("uploads")
    write_media(folder / "short.wav", sine(440, 1.0))
    write_media(folder / "large.wav", np.tile(sine(440, 60.0), 10))
    return folder


@pytest.fixture
def start() -> Iterator[Any]:
    started: list[Decoding] = []

    def start(**options: Any) -> Decoding:
        started.append(Decoding(**options))
        return started[-1]

    yield start
    for one in started:
        one.decoder.close()


def test_a_killed_process_fails_its_upload_alone(start: Any, folder: Path) -> None:
    decoding = start()
    others = {*children()}
    decoding.put(0, folder / "large.wav")
    decoding.put(1, folder / "short.wav")
    killed: set[int] = set()
    while decoding.results.empty():
        for child in {*children()} - others - killed:
            os.kill(child, signal.SIGKILL)
            killed.add(child)
    number, result = decoding.next()
    assert number == 0
    assert result.kind == "undecodable"
    assert "the file cannot be read: the process that decoded it was killed (SIGKILL)" in result.message
    assert len(killed) >= 2  # it was tried once more
    assert decoding.decoder.restarts >= 2


def test_decoding_stops_after_the_time_allowed(start: Any, folder: Path) -> None:
    decoding = start(timeout_seconds=0.02)
    decoding.put(0, folder / "large.wav")
    assert decoding.next() == (
        0,
        RequestFailed("undecodable", "the file cannot be read: decoding it took longer than 0.02 s and was stopped"),
    )
    assert decoding.decoder.restarts == 1


def test_small_uploads_do_not_wait_for_large_ones_nor_for_what_was_dropped(start: Any, folder: Path) -> None:
    decoding = start(workers=2)
    for number in range(3):
        decoding.put(number, folder / "large.wav")
    decoding.put(3, folder / "short.wav")
    number, result = decoding.next()
    assert number == 3
    assert isinstance(result, DecodedAudio)
    assert result.name == "short.wav"
    for number in (0, 1):
        decoding.decoder.drop(number)
    number, result = decoding.next()
    assert number == 2
    assert isinstance(result.waveform_T, SpooledWaveform)
    assert result.seconds == 600.0


def test_closing_ends_the_processes(folder: Path) -> None:
    others = {*children()}, threading.active_count()
    decoding = Decoding(workers=2)
    decoding.put(0, folder / "short.wav")
    decoding.next()
    decoding.decoder.close()
    assert {*children()} == others[0]
