"""The seconds of a corpus's clips, or why one cannot be read: found by parallel workers, noted in a journal."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing.connection import wait
from pathlib import Path

from voxlate.data.audio import load_audio, measure_audio
from voxlate.data.flac import write_flac
from voxlate.errors import AudioError, VoxlateError

_CHUNK = 16  # clips that a worker gets at once


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip to be examined, and written as FLAC if `flac` says where."""

    name: str
    source: Path | bytes
    state: str  # another one if the source may hold something else
    flac: Path | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What a clip is: its seconds and perhaps what is damaged in it, or the error that keeps it from being read."""

    name: str
    state: str
    seconds: float | None = None
    warning: str | None = None
    error: str | None = None


def file_state(path: Path) -> str:
    """Return what changes when a file does; "missing" where there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: no file can have such a name
        return "missing"
    return f"{status.st_size}-{status.st_mtime_ns}"


class Journal:
    """Findings in a file to which each is added as it comes, so that an interrupted run loses none."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        self._file.seek(0)
        contents = self._file.read()
        self._file.truncate(contents.rfind(b"\n") + 1)  # what a killed process left of a line
        self.findings: dict[str, Finding] = {}
        for line in contents[: contents.rfind(b"\n") + 1].splitlines():
            finding = Finding(**json.loads(line))
            self.findings[finding.name] = finding

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def knows(self, name: str, state: str, file: Path | None = None) -> bool:
        """Return whether a clip was examined in this state and, if it could be read, `file` made of it is there."""
        finding = self.findings.get(name)
        if finding is None or finding.state != state:
            return False
        return file is None or finding.error is not None or file.is_file()

    def add(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.findings[finding.name] = finding
            filled = {name: value for name, value in asdict(finding).items() if value is not None}
            self._file.write(json.dumps(filled, ensure_ascii=False).encode() + b"\n")
        self._file.flush()


def examine(clips: Iterable[Clip], journal: Journal, workers: int, advance: Callable[[int], None]) -> None:
    """Add findings of all clips to the journal, in their order; `advance` is told how many are done."""
    source = iter(clips)
    chunks = iter(lambda: list(islice(source, _CHUNK)), [])
    for findings in _examined(chunks, workers):
        journal.add(findings)
        advance(len(findings))


def _examined(chunks: Iterator[list[Clip]], workers: int) -> Iterator[list[Finding]]:
    first = list(islice(chunks, 2))
    if workers == 1 or len(first) < 2:  # a process is not worth its start
        yield from map(_examine_all, first)
        yield from map(_examine_all, chunks)
        return
    # Spawned and not forked: the threads of the progress bar and of libraries do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pending: deque[tuple[list[Clip], Future[list[Finding]]]] = deque()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        for chunk in first:
            pending.append((chunk, pool.submit(_examine_all, chunk)))
        for chunk in chunks:
            pending.append((chunk, pool.submit(_examine_all, chunk)))
            if len(pending) >= 4 * workers:
                yield _result(*pending.popleft())
        while pending:
            yield _result(*pending.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _result(chunk: list[Clip], future: Future[list[Finding]]) -> list[Finding]:
    try:
        return future.result()
    except BrokenProcessPool:
        names = f"{chunk[0].name} to {chunk[-1].name}"
        raise VoxlateError(
            f"a worker process was killed, perhaps for want of memory or by a clip among {names}; "
            "the same command goes on from here, with --workers 1 it takes the clips one by one"
        ) from None


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _examine_all(clips: list[Clip]) -> list[Finding]:
    return [_examine(clip) for clip in clips]


def _examine(clip: Clip) -> Finding:
    try:
        if clip.flac is None:
            seconds, warnings = measure_audio(clip.source, name=clip.name)
        else:
            audio = load_audio(clip.source, name=clip.name)
            write_flac(clip.flac, audio.waveform)
            seconds, warnings = audio.seconds, audio.warnings
    except AudioError as error:
        return Finding(clip.name, clip.state, error=str(error))
    return Finding(clip.name, clip.state, seconds, "; ".join(warnings) or None)
