"""Results on standard output, and the interface that result files share with it."""

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
class PendingInput:
    """An input, and the languages of its missing results, one or more."""

    item: Input
    languages: tuple[str, ...]


@dataclass
class WorkList:
    """The inputs to process, and messages about the others."""

    pending: list[PendingInput] = field(default_factory=list)
    skipped: int = 0  # inputs that have all their results
    incomplete: list[str] = field(default_factory=list)  # of those, inputs of which an earlier run lost a part
    failed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Outputs(Protocol):
    """A destination of results, which come in any order. Inputs are numbered by their index in the work list."""

    def work_list(self, inputs: Sequence[Input]) -> WorkList:
        """Return what is to be done."""

    def begin(self, index: int) -> None:
        """Prepare for an input that is about to be read."""

    def put(self, index: int, result: Translation | None) -> None:
        """Write a result of an input; None means that the input failed and has no further results."""

    def close(self) -> None:
        """Write the results that wait for others, which will not come any more."""

    def summary(self) -> str:
        """Return which files were written, as the end of a message."""


class StandardOutput:
    """Writes results to standard output in the order of the inputs. Early results wait for those before them.

    If there are several languages, each result states its own.
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
            sys.stdout.reconfigure(encoding="utf-8")  # the locale may lack the target's script
        self._single = not several
        self._next = 0
        self._waiting: dict[int, list[Translation]] = {}
        self._complete: set[int] = set()
        self._header = tsv_header(languages=len(languages) > 1) if self._format == "tsv" else ""

    def work_list(self, inputs: Sequence[Input]) -> WorkList:
        """Return all inputs: standard output keeps no results of earlier runs."""
        return WorkList([PendingInput(item, self._languages) for item in inputs])

    def begin(self, index: int) -> None:
        """Do nothing: no record is kept of the input."""

    def put(self, index: int, result: Translation | None) -> None:
        """Take a result of an input; write all inputs that are complete up to the first that is not."""
        results = self._waiting.setdefault(index, [])
        if result is not None:
            results.append(result)
        if result is None or len(results) == len(self._languages):
            self._complete.add(index)
        while self._next in self._complete:
            self._write(self._waiting.pop(self._next, []))
            self._next += 1

    def close(self) -> None:
        """Write all waiting results."""
        for index in sorted(self._waiting):
            self._write(self._waiting.pop(index))

    def summary(self) -> str:
        """Return nothing: the results are on the screen."""
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
