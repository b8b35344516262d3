"""What takes results, and results on standard output."""

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from voxlate.decoding.inputs import Input
from voxlate.decoding.results import Translation
from voxlate.decoding.writers import WRITERS, to_json_line, to_line, tsv_header, tsv_rows
from voxlate.errors import VoxlateError


@dataclass(frozen=True)
class Job:
    """An input and the languages of the results that it lacks, one or more."""

    item: Input
    languages: tuple[str, ...]


@dataclass
class WorkList:
    """What is to be done, and what is said of the inputs that are not."""

    jobs: list[Job] = field(default_factory=list)
    skipped: int = 0  # inputs that have all their results
    in_part: list[str] = field(default_factory=list)  # of which something was lost when they were done
    failed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Outputs(Protocol):
    """What takes the results of jobs, in any order."""

    def work_list(self, inputs: Sequence[Input]) -> WorkList:
        """Say what is to be done."""

    def begin(self, index: int) -> None:
        """Note that an input is about to be read."""

    def put(self, index: int, result: Translation | None) -> None:
        """Write a result of a job; None stands for all those of one that failed."""

    def close(self) -> None:
        """Write what waits for others that will not come any more."""

    def written(self) -> str:
        """Say what was written where; nothing if that is plain to see."""


class StandardOutput:
    """Results on standard output in the order of the inputs; those that come early wait for others before them.

    Where there are several languages, each result says which one it is in.
    """

    def __init__(self, formats: Sequence[str], languages: Sequence[str], count: int) -> None:
        if len(formats) > 1:
            raise VoxlateError(f"several formats ({', '.join(formats)}) need --output-dir")
        [self._format] = formats
        self._languages = tuple(languages)
        several = "inputs" if count > 1 else "languages" if len(languages) > 1 else ""
        if self._format in ("srt", "vtt") and several:
            raise VoxlateError(f"{self._format} of several {several} needs --output-dir")
        if sys.stdout is None:
            raise VoxlateError("standard output is closed; open it, or name an --output-dir")
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # whatever the locale: it may lack the target's script
        self._single = not several
        self._next = 0
        self._waiting: dict[int, list[Translation]] = {}
        self._complete: set[int] = set()
        self._header = tsv_header(languages=len(languages) > 1) if self._format == "tsv" else ""

    def work_list(self, inputs: Sequence[Input]) -> WorkList:
        """Take all inputs: nothing of an earlier run is on standard output."""
        return WorkList([Job(item, self._languages) for item in inputs])

    def begin(self, index: int) -> None:
        """Do nothing: no result is kept."""

    def put(self, index: int, result: Translation | None) -> None:
        """Take a result of an input; write it and those that waited for it, if those before it are written."""
        results = self._waiting.setdefault(index, [])
        if result is not None:
            results.append(result)
        if result is None or len(results) == len(self._languages):
            self._complete.add(index)
        while self._next in self._complete:
            self._write(self._waiting.pop(self._next, []))
            self._next += 1

    def close(self) -> None:
        """Write what waits, for inputs before it that will not come any more."""
        for index in sorted(self._waiting):
            self._write(self._waiting.pop(index))

    def written(self) -> str:
        """Say nothing: the results are there to see."""
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
        return WRITERS[self._format](result)
