"""Write results to files in a folder, each atomically, and find those that are already done."""

import errno
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from itertools import count
from pathlib import Path

from voxlate import __version__
from voxlate.audio.segmentation import Span
from voxlate.decoding.inputs import Input
from voxlate.decoding.journal import (
    JOURNAL_NAME,
    JournalEntry,
    ResultJournal,
    file_state,
    input_sha256,
    settings_digest,
)
from voxlate.decoding.kept_results import KeptResults
from voxlate.decoding.output_paths import claim_stems
from voxlate.decoding.outputs import PendingInput, WorkList, WrittenFiles
from voxlate.decoding.results import Segment, SpanResult, Translation
from voxlate.decoding.segment_journal import (
    KnownSegments,
    SegmentJournal,
    known_segments,
    remove_segment_journal,
    segment_journal_path,
    segment_journals,
)
from voxlate.decoding.subtitle_options import DEFAULT_SUBTITLES, SubtitleOptions
from voxlate.decoding.writers import writers
from voxlate.errors import VoxlateError
from voxlate.files import remove_abandoned_parts, write_text
from voxlate.provenance import source_commit

RESUMABLE_SECONDS = 60.0  # shorter inputs are computed again after an interruption

Settings = dict[str, object]


class ResultFiles:
    """Writes results to files STEM.LANGUAGE.FORMAT of a folder, and records their origin in its journal.

    `settings` returns everything that results in a language depend on besides the input. It is called only when
    needed.
    """

    def __init__(
        self,
        folder: Path,
        formats: Sequence[str],
        languages: Sequence[str],
        *,
        overwrite: bool,
        settings: Callable[[str], Settings],
        warn: Callable[[str], None],
        subtitles: SubtitleOptions = DEFAULT_SUBTITLES,
    ) -> None:
        self._folder, self._formats, self._languages, self._overwrite = folder, formats, languages, overwrite
        self._settings, self._writers = cache(settings), writers(subtitles)
        self._digest = cache(lambda language: settings_digest(self._settings(language)))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = "is a file, expected a folder" if folder.is_file() else f"cannot be created ({error.strerror})"
            raise VoxlateError(f"--output-dir {folder}: {reason}") from None
        if not os.access(folder, os.W_OK | os.X_OK):
            raise VoxlateError(f"--output-dir {folder}: no permission to write there")
        self._journal, self._warn = ResultJournal(folder, warn), warn
        self._pending: list[_InputFiles] = []
        self._written, self._first_written = 0, Path()

    def work_list(self, inputs: Sequence[Input]) -> WorkList:
        """Find the missing results, by the contents of the inputs and the settings."""
        work, kept = WorkList(), KeptResults()
        stems = claim_stems(inputs, self._journal, _max_name_bytes(self._folder))
        # Folders are listed once, which is faster than asking for each result.
        journals: set[str] = set()
        for folder in {os.path.dirname(self._folder / stem) for stem in stems}:  # noqa: PTH120
            remove_abandoned_parts(Path(folder))
            journals.update(str(path) for path in segment_journals(Path(folder)) if path.name != JOURNAL_NAME)
        for item, stem in zip(inputs, stems, strict=True):
            files = _InputFiles(item, stem)
            try:
                for language in self._languages:
                    missing = [
                        file_format
                        for file_format in self._formats
                        if self._is_missing(files, language, file_format, kept)
                    ]
                    if missing:
                        files.missing[language] = missing
                    elif journals:  # a process may have been killed right after it had written the result
                        path = segment_journal_path(self._folder / stem, language)
                        if str(path) in journals:
                            remove_segment_journal(path)
            except OSError as error:
                work.failed.append(f"{item.name}: its result cannot be written ({error.strerror})")
                continue
            if files.missing:
                work.pending.append(PendingInput(item, tuple(files.missing)))
                self._pending.append(files)
            else:
                work.skipped += 1
                if files.warnings:
                    work.incomplete.append(f"{item.name}: {'; '.join(files.warnings)}")
        work.notes += kept.notes(self._journal, self._folder, self._settings)
        return work

    def _is_missing(self, files: "_InputFiles", language: str, file_format: str, kept: KeptResults) -> bool:
        """Return whether a result must be computed; list it in `kept` if it may be outdated. OSError for a bad path."""
        path = self._path(files, language, file_format)
        size = _file_size(path)
        if size is None or self._overwrite or files.is_nameless:
            return True
        entry = self._journal.find(files.stem, language, file_format)
        if size == 0 and not (entry is not None and entry.may_be_empty(file_format)):
            return True
        if entry is None:
            kept.add_unknown(path)
            return False
        if not entry.has_contents(files.state, lambda: files.sha256):
            return True
        if entry.settings != self._digest(language):
            kept.with_other_settings[files.stem, language] = entry.settings
        elif entry.state != files.state or entry.input != files.item.key:  # touched or moved: record the new state
            self._record(files, language, (file_format,), entry.warnings, entry.empty)
        files.warnings = files.warnings or entry.warnings
        return False

    def begin(self, index: int) -> None:
        """Record the state of the input before it is read. If it changes later, its result counts as outdated."""
        self._pending[index].refresh()

    def known(self, index: int, seconds: float) -> KnownSegments:
        """Return what an interrupted run has kept of a long input, and say how much: see `SegmentJournal`."""
        files = self._pending[index]
        if seconds >= RESUMABLE_SECONDS and not files.is_nameless and files.sha256 is not None:
            software = {"voxlate": __version__, "commit": source_commit()}
            for language in files.missing:
                origin = settings_digest({"input": files.sha256, **self._settings(language), **software})
                path = segment_journal_path(self._folder / files.stem, language)
                files.journals[language] = SegmentJournal(path, origin, self._warn)
            if done := sum(len(journal.finished) for journal in files.journals.values()):
                segments = "segment" if done == 1 else "segments"
                self._warn(f"{files.item.name}: continuing after {done:,} {segments} that an interrupted run finished")
        return known_segments(files.journals)

    def put_spans(self, index: int, spans: Sequence[Span], until: int) -> None:
        """Keep the next spans of a long input."""
        for journal in self._pending[index].journals.values():
            journal.add_spans(spans, until)

    def put_span(self, index: int, language: str | None, span: Span, result: SpanResult) -> None:
        """Keep the result of a span of a long input."""
        journal = self._pending[index].journals.get(language or self._languages[0])
        if journal is not None:
            journal.add(span, result)

    def put_segment(self, index: int, language: str | None, segment: Segment) -> None:
        """Do nothing: files are written when they are complete."""

    def put(self, index: int, result: Translation | None) -> None:
        """Write and record the results of an input in one language. OSError names a file that cannot be written."""
        if result is None:
            return
        files = self._pending[index]
        language = result.target_language or self._languages[0]  # a transcript has none
        texts = {
            Path(self._path(files, language, file_format)): self._writers[file_format](result)
            for file_format in files.missing[language]
        }
        # If the process is killed between writing and recording, the next run must neither take an older file for this
        # result, nor this result for one of unknown origin.
        if files.is_nameless and not self._overwrite:
            self._keep_earlier(files, language, texts)
        is_new = not any(map(_is_file, map(str, texts)))
        empty = [
            file_format for file_format, text in zip(files.missing[language], texts.values(), strict=True) if not text
        ]
        record = partial(self._record, files, language, files.missing[language], result.warnings, empty)
        if is_new:
            record()
        for path, text in texts.items():
            try:
                # Flushing takes longer than translating a clip. After a power failure, `_is_missing` finds empty files.
                write_text(path, text, durable=result.seconds >= RESUMABLE_SECONDS)
            except OSError as error:
                error.filename = str(path)
                raise
            self._first_written = self._first_written if self._written else path
            self._written += 1
        if not is_new:
            record()
        if language in files.journals:
            files.journals.pop(language).remove()

    def _keep_earlier(self, files: "_InputFiles", language: str, texts: Mapping[Path, str]) -> None:
        """Rename results of an earlier recording that differ, since they may not be reproducible, and report it."""
        suffixes = [
            path.suffix for path, text in texts.items() if _is_file(str(path)) and path.read_bytes() != text.encode()
        ]
        if not suffixes:
            return
        stems = (f"{files.stem}~{number}" for number in count(1))
        free_stem = next(
            stem
            for stem in stems
            if stem not in self._journal.owners
            and not any((self._folder / f"{stem}.{language}{suffix}").exists() for suffix in suffixes)
        )
        for suffix in suffixes:
            (self._folder / f"{files.stem}.{language}{suffix}").replace(
                self._folder / f"{free_stem}.{language}{suffix}"
            )
        kept = ", ".join(Input(self._folder / f"{free_stem}.{language}{suffix}").name for suffix in suffixes)
        self._warn(f"note: {files.item.name}: the result of an earlier recording is kept as {kept}")

    def _record(
        self,
        files: "_InputFiles",
        language: str,
        formats: Sequence[str],
        warnings: tuple[str, ...],
        empty: Sequence[str] | None,
    ) -> None:
        entry = JournalEntry(
            files.stem,
            files.item.key,
            language,
            tuple(formats),
            self._digest(language),
            files.state,
            files.sha256,
            warnings,
            None if empty is None else tuple(empty),
        )
        self._journal.record(entry, self._settings(language))

    def close(self) -> None:
        """Do nothing: every result has been written."""

    def kept_segments(self) -> int:
        """Return the number of segments in the journals of unfinished results."""
        return sum(len(journal.finished) for files in self._pending for journal in files.journals.values())

    def select(self, indices: Sequence[int]) -> None:
        """Keep only some inputs of the work list, numbered from 0."""
        self._pending = [self._pending[index] for index in indices]

    def written(self) -> WrittenFiles:
        """Return the number of files that were written, and the first one."""
        return WrittenFiles(self._written, self._first_written)

    def summary(self, written: WrittenFiles) -> str:
        """Return the file that was written, or how many."""
        if written.count == 1:
            return f"; wrote {Input(written.first).name}"
        return f"; wrote {written.count} files in {self._folder}" if written.count else ""

    def _path(self, files: "_InputFiles", language: str, file_format: str) -> str:
        return os.path.join(self._folder, f"{files.stem}.{language}.{file_format}")  # noqa: PTH118 (see ManifestFolder)


class _InputFiles:
    """An input, its state, the stem of its results, and the formats that are missing for each language."""

    __slots__ = ("_sha256", "is_nameless", "item", "journals", "missing", "state", "stem", "warnings")

    def __init__(self, item: Input, stem: str) -> None:
        self.item, self.stem = item, stem
        self.missing: dict[str, list[str]] = {}
        self.journals: dict[str, SegmentJournal] = {}  # language -> journal of an unfinished long result
        self.warnings: tuple[str, ...] = ()
        self.refresh()

    def refresh(self) -> None:
        """Read the state of the input again."""
        self.is_nameless = self.item.is_nameless
        self.state = None if self.is_nameless else file_state(self.item.key)
        self._sha256: tuple[str | None] | None = None

    @property
    def sha256(self) -> str | None:
        """The digest of the input; None if it has changed since its state was read."""
        if self._sha256 is None:
            self._sha256 = (input_sha256(Path(self.item.key), self.state),)
        return self._sha256[0]


def _is_file(path: str) -> bool:
    """Return whether a file exists; OSError if none can be written there."""
    return _file_size(path) is not None


def _file_size(path: str) -> int | None:
    """Return the size of a file in bytes, None if it does not exist; OSError if none can be written there."""
    try:
        state = os.stat(path)  # noqa: PTH116 (see ManifestFolder)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(state.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    return state.st_size


def _max_name_bytes(folder: Path) -> int:
    """Return the maximum length of a file name in a folder, in bytes."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, ValueError, OSError):  # not available on every system
        return 255
