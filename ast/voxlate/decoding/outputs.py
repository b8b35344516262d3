"""The interface for writing results, and its implementation for standard output."""

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from voxlate.decoding.inputs import Input
from voxlate.decoding.results import Translation
from voxlate.decoding.subtitle_formats import SUBTITLE_WRITERS
from voxlate.decoding.subtitle_options import DEFAULT_SUBTITLES, SubtitleOptions
from voxlate.decoding.writers import to_json_line, to_line, tsv_header, tsv_rows, writers
from voxlate.errors import VoxlateError


@dataclass(frozen=True)
class PendingInput:
    """An input, and the languages of its missing results, one or more."""

    item: Input
    languages: tuple[str, ...]


@dataclass
class WorkList:
    """The inputs to process, and messages about the others."""

    pending: list[PendingInput] = field(default_factory=list)
    skipped: int = 0  # inputs that have all their results
    incomplete: list[str] = field(
        default_factory=list
    )  # messages about skipped inputs that an earlier run could only decode in part
    failed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Outputs(Protocol):
    """A destination of results, which come in any order. Inputs are numbered by their index in the work list."""

    def work_list(self, inputs: Sequence[Input]) -> WorkList:
        """Return the inputs that still need processing."""

    def begin(self, index: int) -> None:
        """Prepare for an input that is about to be read."""

    def put(self, index: int, result: Translation | None) -> None:
        """Write a result of an input; None means that the input failed and has no further results."""

    def close(self) -> None:
        """Write the results that were held back until earlier inputs are complete."""

    def summary(self) -> str:
        """Return which files were written, to be appended to a message."""


class StandardOutput:
    """Writes results to standard output in the order of the inputs.

    Results are held back until earlier inputs are complete. With several target languages, each result names its own.
    """

    def __init__(
        self,
        formats: Sequence[str],
        languages: Sequence[str],
        count: int,
        subtitles: SubtitleOptions = DEFAULT_SUBTITLES,
    ) -> None:
        if len(formats) > 1:
            raise VoxlateError(f"several formats ({', '.join(formats)}) need --output-dir")
        [self._format] = formats
        self._languages = tuple(languages)
        several = "inputs" if count > 1 else "languages" if len(languages) > 1 else ""
        if self._format in SUBTITLE_WRITERS and several:
            raise VoxlateError(f"{self._format} of several {several} needs --output-dir")
        if sys.stdout is None:
            raise VoxlateError("standard output is closed; open it, or name an --output-dir")
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # the locale may lack the target's script
        self._single = not several
        self._write_result = writers(subtitles)[self._format]
        self._next = 0
        self._held_back: dict[int, list[Translation]] = {}
        self._complete: set[int] = set()
        self._header = tsv_header(languages=len(languages) > 1) if self._format == "tsv" else ""

    def work_list(self, inputs: Sequence[Input]) -> WorkList:
        """Return all inputs: standard output keeps no results of earlier runs."""
        return WorkList([PendingInput(item, self._languages) for item in inputs])

    def begin(self, index: int) -> None:
        """Do nothing: no state is recorded."""

    def put(self, index: int, result: Translation | None) -> None:
        """Store a result of an input; write all complete inputs before the first incomplete one."""
        results = self._held_back.setdefault(index, [])
        if result is not None:
            results.append(result)
        if result is None or len(results) == len(self._languages):
            self._complete.add(index)
        while self._next in self._complete:
            self._write(self._held_back.pop(self._next, []))
            self._next += 1

    def close(self) -> None:
        """Write all results that were held back."""
        for index in sorted(self._held_back):
            self._write(self._held_back.pop(index))

    def summary(self) -> str:
        """Return an empty string: no files are written."""
        return ""

    def _write(self, results: list[Translation]) -> None:
        for result in sorted(results, key=self._rank):
            sys.stdout.write(self._header + self._text(result))
            self._header = ""
        sys.stdout.flush()

    def _rank(self, result: Translation) -> int:
        return self._languages.index(result.target_language) if result.target_language in self._languages else 0

    def _text(self, result: Translation) -> str:
        several = len(self._languages) > 1
        if self._format == "tsv":
            return tsv_rows(result, language=several)
        if self._format == "json" and not self._single:
            return to_json_line(result)
        if self._format == "txt" and not self._single:
            return to_line(result, language=several)
        return self._write_result(result)
