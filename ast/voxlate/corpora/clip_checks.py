"""The seconds of a corpus's clips, or why one cannot be read: found by parallel workers, noted in a journal."""

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
from voxlate.corpora.process_pool import map_in_processes
from voxlate.errors import AudioError
from voxlate.files import whole_file

_CHUNK = 16  # clips that a worker gets at once
_LOG = logging.getLogger(__name__)


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
    size: int | None = None  # bytes of the file that was made of it, or read


def file_state(path: Path) -> str:
    """Return what changes when a file does; "missing" where there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: no file can have such a name
        return "missing"
    return f"{status.st_size}-{status.st_mtime_ns}"


class Journal:
    """Findings in a file to which each is added as it comes, so that an interrupted run loses none.

    Lines that are damaged are left out: their clips are examined again.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.findings: dict[str, Finding] = {}
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        whole = []
        for line in lines:
            finding = _read_finding(line)
            if finding is not None:
                self.findings[finding.name] = finding
                whole.append(line)
        if len(whole) < len(lines):
            if lines[-1].endswith(b"\n") or len(lines) - len(whole) > 1:  # more than a killed process leaves
                _LOG.warning("%s: %d damaged lines; their clips are examined again", path, len(lines) - len(whole))
            with whole_file(path) as part:
                part.write_bytes(b"".join(whole))
        self._file = path.open("ab")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def knows(self, name: str, state: str, file: Path | None = None) -> bool:
        """Return whether a clip was examined in this state and, if it could be read, `file` made of it is there whole.

        A power failure can leave files empty that had been written.
        """
        finding = self.findings.get(name)
        if finding is None or finding.state != state:
            return False
        return file is None or finding.error is not None or _is_whole(file, finding.size)

    def add(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.findings[finding.name] = finding
            filled = {name: value for name, value in asdict(finding).items() if value is not None}
            self._file.write(json.dumps(filled, ensure_ascii=False).encode() + b"\n")
        self._file.flush()


def examine(clips: Iterable[Clip], journal: Journal, workers: int, advance: Callable[[int], None]) -> None:
    """Add findings of all clips to the journal, in their order; `advance` gets how many are done."""
    source = iter(clips)
    chunks = iter(lambda: list(islice(source, _CHUNK)), [])
    for findings in map_in_processes(_examine_all, chunks, workers, name=lambda clip: clip.name):
        journal.add(findings)
        advance(len(findings))


def _examine_all(clips: list[Clip]) -> list[Finding]:
    return [_examine(clip) for clip in clips]


def _is_whole(file: Path, size: int | None) -> bool:
    """Return whether a file has so many bytes; whether it has any, where they were not counted."""
    try:
        found = file.stat().st_size
    except (OSError, ValueError):
        return False
    return found == size if size is not None else found > 0


def _read_finding(line: bytes) -> Finding | None:
    """Return the finding that a line of the journal holds, None where it is damaged."""
    try:
        finding = Finding(**json.loads(line)) if line.endswith(b"\n") else None
    except (ValueError, TypeError, RecursionError):
        return None
    if finding is None or not isinstance(finding.name, str) or not isinstance(finding.state, str):
        return None
    seconds, texts, size = finding.seconds, (finding.warning, finding.error), finding.size
    number = type(seconds) in (int, float) and seconds is not None and 0 <= seconds < math.inf
    if not (number or (seconds is None and isinstance(finding.error, str))):
        return None
    whole = all(text is None or isinstance(text, str) for text in texts) and (size is None or type(size) is int)
    return finding if whole else None


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
    made = clip.flac or clip.source
    size = made.stat().st_size if isinstance(made, Path) else None
    return Finding(clip.name, clip.state, seconds, "; ".join(warnings) or None, size=size)
