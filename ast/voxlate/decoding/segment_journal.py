"""Journals of the finished segments of unfinished results, from which an interrupted run is resumed.

A journal is an append-only file of JSON lines beside the future result. Each line names what it was made from, so that
lines of another input, other settings or another version are ignored. Damaged lines are dropped: what they contained
is computed again. Lines are not flushed to disk one by one, so a power failure may lose the last seconds of work.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from voxlate.audio.segmentation import Span
from voxlate.decoding.json_lines import append_json_lines, as_integer, as_list, as_number, as_text
from voxlate.decoding.results import Candidate, Segment, SpanResult, Word


@dataclass
class KnownSegments:
    """What an interrupted run has found out about an input.

    `spans` are its segments up to sample `until`. `finished` has the results of spans, by language.
    """

    spans: list[Span] = field(default_factory=list)
    until: int = 0
    finished: dict[str, dict[Span, SpanResult]] = field(default_factory=dict)


class ResumableSegments(Protocol):
    """Keeps the segments of inputs, by their index, for a rerun after an interruption."""

    def known(self, index: int, seconds: float) -> KnownSegments:
        """Return what is known about an input of this length, before it is cut into segments."""

    def put_spans(self, index: int, spans: Sequence[Span], until: int) -> None:
        """Keep the next spans of an input, which are all up to sample `until`."""

    def put_span(self, index: int, language: str | None, span: Span, result: SpanResult) -> None:
        """Keep the result of a span. Spans are finished in any order."""


class SegmentJournal:
    """The journal of one unfinished result. `origin` is a digest of everything the result depends on.

    `warn` receives a line if the journal cannot be written.
    """

    def __init__(self, path: Path, origin: str, warn: Callable[[str], None]) -> None:
        self._path, self._origin, self._warn = path, origin, warn
        self._failed = False
        self.spans: list[Span] = []
        self.until = 0
        self.finished: dict[Span, SpanResult] = {}
        self._read()

    def add_spans(self, spans: Sequence[Span], until: int) -> None:
        """Record the next segments of the input, which are all that begin before sample `until`."""
        start, self.until = self.until, until
        self.spans += spans
        self._append({"from": start, "until": until, "spans": spans})

    def add(self, span: Span, result: SpanResult) -> None:
        """Record the result of a span."""
        self.finished[span] = result
        self._append({"span": span, **asdict(result)})

    def remove(self) -> None:
        """Delete the journal, because the result is complete."""
        remove_segment_journal(self._path)

    def _read(self) -> None:
        try:
            lines = self._path.read_bytes().split(b"\n")
        except OSError:
            return
        accepted = [self._parse(line) for line in lines]
        if not any(accepted):  # of another input or other settings
            self.remove()

    def _parse(self, line: bytes) -> bool:
        """Parse a line and store its contents; return False if it has another origin or is damaged."""
        try:
            fields = json.loads(line.decode("ascii"))
            if fields["origin"] != self._origin:
                return False
            if "segments" in fields:
                segments = tuple(map(_segment, _mappings(fields["segments"])))
                self.finished[_span(fields["span"])] = SpanResult(segments, as_integer(fields["cut_off"]))
            else:
                spans, until = [*map(_span, as_list(fields["spans"]))], as_integer(fields["until"])
                if fields["from"] == self.until < until:  # otherwise a line before it is missing
                    self.spans += spans
                    self.until = until
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        return True

    def _append(self, fields: Mapping[str, object]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            append_json_lines(self._path, [{"origin": self._origin, **fields}])
        except OSError as error:
            if not self._failed:
                self._warn(
                    f"warning: {self._path} cannot be written ({error.strerror}); if this run is interrupted, a rerun "
                    "will not find all finished segments"
                )
            self._failed = True


def segment_journal_path(stem: Path, language: str) -> Path:
    """Return the path of the journal of a result, whose path is `stem` without .LANGUAGE.FORMAT."""
    return stem.with_name(f".{stem.name}.{language}.jsonl")


def segment_journals(folder: Path) -> Iterator[Path]:
    """Yield the journals in a folder of results, and other hidden files with the same suffix."""
    return folder.glob(".*.jsonl")


def remove_segment_journal(path: Path) -> None:
    """Delete a journal if it exists."""
    with suppress(OSError):
        path.unlink()


def known_segments(journals: Mapping[str, SegmentJournal]) -> KnownSegments:
    """Return what the journals of an input's languages contain; record the known spans in all of them.

    Segmentation does not depend on the target language, so the spans of any journal are those of all.
    """
    furthest = max(journals.values(), key=lambda journal: journal.until, default=None)
    if furthest is None:
        return KnownSegments()
    for journal in journals.values():
        if journal.until < furthest.until:
            journal.add_spans([span for span in furthest.spans if span[0] >= journal.until], furthest.until)
    finished = {language: journal.finished for language, journal in journals.items()}
    return KnownSegments([*furthest.spans], furthest.until, finished)


def _segment(fields: Mapping[str, object]) -> Segment:
    """Return the segment in a line. ValueError, TypeError or KeyError if it is invalid."""
    candidates = tuple(
        Candidate(as_text(one["text"]), as_number(one["score"])) for one in _mappings(fields["candidates"])
    )
    if not candidates:
        raise ValueError(fields)
    words = (
        Word(as_text(one["text"]), as_number(one["start"]), as_number(one["end"])) for one in _mappings(fields["words"])
    )
    warnings = tuple(map(as_text, as_list(fields["warnings"])))
    return Segment(as_number(fields["start"]), as_number(fields["end"]), candidates, tuple(words), warnings=warnings)


def _span(value: object) -> Span:
    start, end = map(as_integer, as_list(value))
    if not 0 <= start < end:
        raise ValueError(value)
    return start, end


def _mappings(value: object) -> Iterable[Mapping[str, object]]:
    for item in as_list(value):
        if not isinstance(item, dict):
            raise TypeError(item)
        yield item
