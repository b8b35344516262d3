"""The interface for writing results, and its implementation for standard output."""

import io
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from voxlate.audio.segmentation import Span
from voxlate.decoding.inputs import Input
from voxlate.decoding.results import Segment, SpanResult, Translation
from voxlate.decoding.segment_journal import KnownSegments, ResumableSegments
from voxlate.decoding.subtitle_formats import SUBTITLE_WRITERS
from voxlate.decoding.subtitle_options import DEFAULT_SUBTITLES, SubtitleOptions
from voxlate.decoding.writers import to_json_line, to_line, tsv_header, tsv_rows, writers
from voxlate.errors import VoxlateError


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True)
class WrittenFiles:
    """The number of files that were written, and the first one."""

    count: int = 0
    first: Path = Path()

    @classmethod
    def of_all(cls, reports: Sequence["WrittenFiles"]) -> "WrittenFiles":
        """Return those of several processes together."""
        return cls(sum(one.count for one in reports), next((one.first for one in reports if one.count), Path()))


class Outputs(ResumableSegments, Protocol):
    """A destination of results, which come in any order. Inputs are numbered by their index in the work list."""

    def work_list(self, inputs: Sequence[Input]) -> WorkList:
        """Return the inputs that still need processing."""

    def begin(self, index: int) -> None:
        """Prepare for an input that is about to be read."""

    def put_segment(self, index: int, language: str | None, segment: Segment) -> None:
        """Receive the next segment of a result, which `put` will receive whole later."""

    def put(self, index: int, result: Translation | None) -> None:
        """Write a result of an input; None means that the input failed and has no further results."""

    def close(self) -> None:
        """Write the results that were held back until earlier inputs are complete."""

    def select(self, indices: Sequence[int]) -> None:
        """Keep only some inputs of the work list, numbered from 0. The others are those of other processes."""

    def written(self) -> WrittenFiles:
        """Return the number of files that were written, and the first one."""

    def summary(self, written: WrittenFiles) -> str:
        """Return which files were written, to be appended to a message."""

    def kept_segments(self) -> int:
        """Return the number of segments of unfinished inputs that a rerun will not compute again."""


class StandardOutput:
    """Writes results to standard output in the order of the inputs.

    Results are held back until earlier inputs are complete. With several target languages, each result names its own.
    tsv, and txt of a single result, have a line per segment, which is written as soon as all lines before it are.
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
        self._streams = self._format == "tsv" or (self._format == "txt" and self._single)
        self._names: list[str] = []
        self._next = 0
        self._segments: dict[tuple[int, int], list[Segment]] = {}  # (index, rank of the language) -> not yet written
        self._written: Counter[tuple[int, int]] = Counter()  # segments of unfinished results that are written
        self._results: dict[int, dict[int, Translation]] = {}  # held back: index -> rank of the language -> result
        self._complete: set[int] = set()
        self._header = tsv_header(languages=len(languages) > 1) if self._format == "tsv" else ""

    def work_list(self, inputs: Sequence[Input]) -> WorkList:
        """Return all inputs: standard output keeps no results of earlier runs."""
        self._names = [item.name for item in inputs]
        return WorkList([PendingInput(item, self._languages) for item in inputs])

    def begin(self, index: int) -> None:
        """Do nothing: no state is recorded."""

    def put_segment(self, index: int, language: str | None, segment: Segment) -> None:
        """Store a segment; write all segments that no earlier ones are missing for."""
        if self._streams:
            self._segments.setdefault((index, self._rank(language)), []).append(segment)
            if index == self._next:
                self._write_segments()

    def put(self, index: int, result: Translation | None) -> None:
        """Store a result of an input; write all complete inputs before the first incomplete one."""
        results = self._results.setdefault(index, {})
        if result is not None:
            results[self._rank(result.target_language)] = result
        if result is None or len(results) == len(self._languages):
            self._complete.add(index)
        while self._next in self._complete:
            self._write(self._next)
            self._next += 1
        if self._streams:
            self._write_segments()

    def close(self) -> None:
        """Write all results that were held back."""
        for index in sorted(self._results):
            self._write(index)

    def select(self, indices: Sequence[int]) -> None:
        """Do nothing: several processes do not share standard output."""

    def written(self) -> WrittenFiles:
        """Return no files."""
        return WrittenFiles()

    def summary(self, written: WrittenFiles) -> str:  # noqa: ARG002
        """Return an empty string: no files are written."""
        return ""

    def kept_segments(self) -> int:
        """Return 0: nothing is kept."""
        return 0

    def known(self, index: int, seconds: float) -> KnownSegments:  # noqa: ARG002
        """Return nothing: no segments of earlier runs are kept."""
        return KnownSegments()

    def put_spans(self, index: int, spans: Sequence[Span], until: int) -> None:
        """Do nothing: no spans are kept."""

    def put_span(self, index: int, language: str | None, span: Span, result: SpanResult) -> None:
        """Do nothing: `put_segment` receives the segments in order."""

    def _write(self, index: int) -> None:
        """Write the results of an input, without the segments that are already written."""
        for rank, result in sorted(self._results.pop(index, {}).items()):
            self._segments.pop((index, rank), None)
            written = self._written.pop((index, rank), 0)
            if not written or written < len(result.segments):
                self._print(replace(result, segments=result.segments[written:]))
        sys.stdout.flush()

    def _write_segments(self) -> None:
        """Write the segments of the first unfinished result, and those of finished ones before it in its input."""
        results = self._results.get(self._next, {})
        for rank, language in enumerate(self._languages):
            key = self._next, rank
            segments = self._segments.pop(key, [])
            if rank in results:
                segments = [*results[rank].segments[self._written[key] :]]
            if segments:
                self._print(Translation(self._names[self._next], 0.0, language, tuple(segments)))
                self._written[key] += len(segments)
            if rank not in results:
                break
        sys.stdout.flush()

    def _print(self, result: Translation) -> None:
        sys.stdout.write(self._header + self._text(result))
        self._header = ""

    def _rank(self, language: str | None) -> int:
        return self._languages.index(language) if language in self._languages else 0

    def _text(self, result: Translation) -> str:
        several = len(self._languages) > 1
        if self._format == "tsv":
            return tsv_rows(result, language=several)
        if self._format == "json" and not self._single:
            return to_json_line(result)
        if self._format == "txt" and not self._single:
            return to_line(result, language=several)
        return self._write_result(result)
