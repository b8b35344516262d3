"""Results as files of a folder, each written whole or not at all; which of them are already done."""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path

from voxlate.decoding.inputs import Input
from voxlate.decoding.journal import JOURNAL_NAME, Entry, Journal, input_sha256, settings_digest, stamp_of
from voxlate.decoding.output_paths import claim_places
from voxlate.decoding.outputs import Job, WorkList
from voxlate.decoding.results import Translation
from voxlate.decoding.writers import WRITERS
from voxlate.errors import VoxlateError
from voxlate.files import remove_abandoned_parts, write_text

Settings = dict[str, object]


class ResultFiles:
    """Results as files of a folder, called PLACE.LANGUAGE.FORMAT, and the journal of what they were made from.

    `settings` gives what results in a language depend on besides the input; it is asked only when that matters.
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
    ) -> None:
        self._folder, self._formats, self._languages, self._overwrite = folder, formats, languages, overwrite
        self._settings = cache(settings)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = "is a file, expected a folder" if folder.is_file() else f"cannot be made ({error.strerror})"
            raise VoxlateError(f"--output-dir {folder}: {reason}") from None
        if not os.access(folder, os.W_OK | os.X_OK):
            raise VoxlateError(f"--output-dir {folder}: no permission to write there")
        self._journal, self._warn = Journal(folder, warn), warn
        self._jobs: list[_FileJob] = []
        self._paths: list[Path] = []

    def work_list(self, inputs: Sequence[Input]) -> WorkList:
        """Decide for each result whether it is already done, by the contents of the input and the settings."""
        todo, census = WorkList(), _Census()
        places = claim_places(inputs, self._journal, _longest_name(self._folder))
        for folder in {(self._folder / place).parent for place in places}:
            remove_abandoned_parts(folder)
        for item, place in zip(inputs, places, strict=True):
            job = _FileJob(item, place)
            try:
                for language in self._languages:
                    lacking = [form for form in self._formats if self._lacks(job, language, form, census)]
                    if lacking:
                        job.lacking[language] = lacking
            except OSError as error:
                todo.failed.append(f"{item.name}: its result cannot be written ({error.strerror})")
                continue
            if job.lacking:
                todo.jobs.append(Job(item, tuple(job.lacking)))
                self._jobs.append(job)
            else:
                todo.skipped += 1
                if job.warnings:
                    todo.in_part.append(f"{item.name}: {'; '.join(job.warnings)}")
        todo.notes += census.lines(self._journal, self._folder, self._settings)
        return todo

    def _lacks(self, job: "_FileJob", language: str, form: str, census: "_Census") -> bool:
        """Return whether a result must be made; note what is kept though it may be another. OSError of its path."""
        path = self._path(job, language, form)
        if not _is_file(path) or self._overwrite or job.item.is_nameless:
            return True
        entry = self._journal.find(job.place, language, form)
        if entry is None:
            census.unknown.append(path)
            return False
        if not entry.is_of(job.stamp, lambda: job.sha256):
            return True
        if entry.settings != settings_digest(self._settings(language)):
            census.others[job.place, language] = entry.settings
        elif entry.stamp != job.stamp or entry.input != job.item.key:  # touched or moved: next time that is known
            self._record(job, language, (form,), entry.warnings)
        job.warnings = job.warnings or entry.warnings
        return False

    def begin(self, index: int) -> None:
        """Note what the input looks like before it is read: if it changes from then on, its result is not of it."""
        self._jobs[index].look_again()

    def put(self, index: int, result: Translation | None) -> None:
        """Write the results of a job in one language, and note them. OSError names the file that cannot be written."""
        if result is None:
            return
        job = self._jobs[index]
        language = result.target_language or self._languages[0]  # a transcript has none
        texts = {self._path(job, language, form): WRITERS[form](result) for form in job.lacking[language]}
        # If this process is killed between the two, the next one must not take an older file for this result, nor this
        # result for one that nobody knows.
        if job.item.is_nameless and not self._overwrite:
            self._keep_former(job, language, texts)
        is_new = not any(map(_is_file, texts))
        if is_new:
            self._record(job, language, job.lacking[language], result.warnings)
        for path, text in texts.items():
            try:
                write_text(path, text)
            except OSError as error:
                error.filename = str(path)
                raise
            self._paths.append(path)
        if not is_new:
            self._record(job, language, job.lacking[language], result.warnings)

    def _keep_former(self, job: "_FileJob", language: str, texts: Mapping[Path, str]) -> None:
        """Rename results of an earlier recording, which perhaps cannot be made again, and say so."""
        forms = [path.suffix for path, text in texts.items() if _is_file(path) and path.read_bytes() != text.encode()]
        if not forms:
            return
        places = (f"{job.place}~{number}" for number in count(1))
        place = next(
            one
            for one in places
            if one not in self._journal.owners
            and not any((self._folder / f"{one}.{language}{form}").exists() for form in forms)
        )
        for form in forms:
            (self._folder / f"{job.place}.{language}{form}").replace(self._folder / f"{place}.{language}{form}")
        kept = ", ".join(Input(self._folder / f"{place}.{language}{form}").name for form in forms)
        self._warn(f"note: {job.item.name}: the result of an earlier recording is kept as {kept}")

    def _record(self, job: "_FileJob", language: str, formats: Sequence[str], warnings: tuple[str, ...]) -> None:
        settings = self._settings(language)
        digest = settings_digest(settings)
        item = job.item
        entry = Entry(job.place, item.key, language, tuple(formats), digest, job.stamp, job.sha256, warnings)
        self._journal.record(entry, settings)

    def close(self) -> None:
        """Do nothing: every result is written when it comes."""

    def written(self) -> str:
        """Say which file was written, or how many."""
        if len(self._paths) == 1:
            return f"; wrote {Input(self._paths[0]).name}"
        return f"; wrote {len(self._paths)} files in {self._folder}" if self._paths else ""

    def _path(self, job: "_FileJob", language: str, form: str) -> Path:
        return self._folder / f"{job.place}.{language}.{form}"


class _FileJob:
    """An input, the place of its results, which of them it lacks, and what it holds."""

    def __init__(self, item: Input, place: str) -> None:
        self.item, self.place = item, place
        self.lacking: dict[str, list[str]] = {}
        self.warnings: tuple[str, ...] = ()
        self.look_again()

    def look_again(self) -> None:
        """Forget what the input held before."""
        self.stamp = None if self.item.is_nameless else stamp_of(self.item.absolute)
        self._sha256: tuple[str | None] | None = None

    @property
    def sha256(self) -> str | None:
        """The digest of the input; None if it has changed since it was looked at."""
        if self._sha256 is None:
            self._sha256 = (input_sha256(self.item.absolute, self.stamp),)
        return self._sha256[0]


@dataclass
class _Census:
    """Results that are kept though they may not be what this command would make."""

    unknown: list[Path] = field(default_factory=list)
    others: dict[tuple[str, str], str] = field(default_factory=dict)  # (place, language) -> digest of settings

    def lines(self, journal: Journal, folder: Path, settings: Callable[[str], Settings]) -> Iterator[str]:
        """Yield a line for each kind."""
        if self.others:
            names: dict[str, None] = {}
            for language in dict.fromkeys(language for _, language in self.others):
                digests = {digest for (_, other), digest in self.others.items() if other == language}
                names |= dict.fromkeys(journal.differences(settings(language), sorted(digests)))
            differing = f" ({', '.join(names)})" if names else ""
            one = len(self.others) == 1
            what = "1 result was" if one else f"{len(self.others)} results were"
            yield f"note: {what} made with other settings{differing}; --overwrite redoes {'it' if one else 'them'}"
        if self.unknown:
            one = len(self.unknown) == 1
            what = "1 result is" if one else f"{len(self.unknown)} results are"
            these, more = ("it", "") if one else ("them", ", …")
            yield (
                f"note: {what} kept whose input and settings {folder / JOURNAL_NAME} does not know "
                f"({Input(self.unknown[0]).name}{more}); --overwrite replaces {these}"
            )


def _is_file(path: Path) -> bool:
    """Return whether a file is there; OSError if none can be written there."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return True


def _longest_name(folder: Path) -> int:
    """Return how many bytes the name of a file may have."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, ValueError, OSError):  # not asked for on every system
        return 255
