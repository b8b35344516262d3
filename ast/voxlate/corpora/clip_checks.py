"""Measure the clips of a corpus, or record why they cannot be read, in parallel and with a journal of results."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from voxlate.audio.flac import write_flac
from voxlate.audio.loading import load_audio, measure_audio
from voxlate.errors import AudioError
from voxlate.files import atomic_file
from voxlate.processes import map_in_processes

_CHUNK = 16  # clips per task of a worker
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip to check. If `flac` is given, it is also written there as FLAC."""

    name: str
    source: Path | bytes
    state: str  # changes if the contents of the source may have changed
    flac: Path | None = None


@dataclass(frozen=True, slots=True)
class ClipResult:
    """The duration of a clip with a warning if it is damaged, or the error if it cannot be read."""

    name: str
    state: str
    seconds: float | None = None
    warning: str | None = None
    error: str | None = None
    size: int | None = None  # bytes of the written or measured file


def file_state(path: Path) -> str:
    """Return the size and modification time of a file as text, or "missing" if it does not exist."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: not a valid file name
        return "missing"
    return f"{status.st_size}-{status.st_mtime_ns}"


class ClipJournal:
    """A file to which results are appended as soon as they are known, so that an interrupted run loses none.

    Damaged lines are ignored, and their clips are checked again.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.results: dict[str, ClipResult] = {}
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        intact = []
        for line in lines:
            result = _parse_result(line)
            if result is not None:
                self.results[result.name] = result
                intact.append(line)
        if len(intact) < len(lines):
            # A killed process leaves at most one incomplete line.
            if lines[-1].endswith(b"\n") or len(lines) - len(intact) > 1:
                _LOG.warning("%s: %d damaged lines; their clips are checked again", path, len(lines) - len(intact))
            with atomic_file(path) as part:
                part.write_bytes(b"".join(intact))
        self._file = path.open("ab")

    def __enter__(self) -> ClipJournal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def is_current(self, name: str, state: str, file: Path | None = None) -> bool:
        """Return whether a clip was checked in this state and, if it was readable, `file` was written completely.

        A power failure can leave written files empty.
        """
        result = self.results.get(name)
        if result is None or result.state != state:
            return False
        return file is None or result.error is not None or _is_complete(file, result.size)

    def add(self, results: Iterable[ClipResult]) -> None:
        """Append results and flush the file."""
        for result in results:
            self.results[result.name] = result
            filled = {name: value for name, value in asdict(result).items() if value is not None}
            self._file.write(json.dumps(filled, ensure_ascii=False).encode() + b"\n")
        self._file.flush()


def check_clips(clips: Iterable[Clip], journal: ClipJournal, workers: int, advance: Callable[[int], None]) -> None:
    """Check all clips and append their results to the journal in order. `advance` gets the number of new results.

    A clip whose process died, perhaps for lack of memory, has an error; the next run checks it again.
    """
    source = iter(clips)
    chunks = iter(lambda: list(islice(source, _CHUNK)), [])
    for results in map_in_processes(_check_all, chunks, workers, died=_died):
        journal.add(results)
        advance(len(results))


def _check_all(clips: list[Clip]) -> list[ClipResult]:
    return [check_clip(clip) for clip in clips]


def _died(clip: Clip, reason: str) -> ClipResult:
    return ClipResult(clip.name, "", error=f"{clip.name}: {reason}")


def _is_complete(file: Path, size: int | None) -> bool:
    """Return whether a file has `size` bytes, or is not empty if its size was not recorded."""
    try:
        actual = file.stat().st_size
    except (OSError, ValueError):
        return False
    return actual == size if size is not None else actual > 0


def _parse_result(line: bytes) -> ClipResult | None:
    """Parse a line of the journal; None if it is damaged."""
    try:
        result = ClipResult(**json.loads(line)) if line.endswith(b"\n") else None
    except (ValueError, TypeError, RecursionError):
        return None
    if result is None or not isinstance(result.name, str) or not isinstance(result.state, str):
        return None
    seconds, texts, size = result.seconds, (result.warning, result.error), result.size
    number = type(seconds) in (int, float) and seconds is not None and 0 <= seconds < math.inf
    if not (number or (seconds is None and isinstance(result.error, str))):
        return None
    is_valid = all(text is None or isinstance(text, str) for text in texts) and (size is None or type(size) is int)
    return result if is_valid else None


def check_clip(clip: Clip) -> ClipResult:
    """Decode a clip to measure it, and write it as FLAC if requested. Errors of the audio become part of the result."""
    try:
        if clip.flac is None:
            seconds, warnings = measure_audio(clip.source, name=clip.name)
        else:
            audio = load_audio(clip.source, name=clip.name)
            write_flac(clip.flac, audio.waveform)
            seconds, warnings = audio.seconds, audio.warnings
    except AudioError as error:
        return ClipResult(clip.name, clip.state, error=str(error))
    file = clip.flac or clip.source
    size = file.stat().st_size if isinstance(file, Path) else None
    return ClipResult(clip.name, clip.state, seconds, "; ".join(warnings) or None, size=size)
