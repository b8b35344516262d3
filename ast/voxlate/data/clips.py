"""The seconds of a corpus's clips, or why one cannot be read: found by parallel workers, noted in a journal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from voxlate.data.audio import load_audio, measure_audio
from voxlate.data.flac import write_flac
from voxlate.data.parallel import map_in_processes
from voxlate.errors import AudioError

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
    for findings in map_in_processes(_examine_all, chunks, workers, name=lambda clip: clip.name):
        journal.add(findings)
        advance(len(findings))


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
