"""The journal of an output folder, which records the input and the settings of each result.

It is an append-only file of JSON lines. Damaged lines are dropped. Without a journal, existing results are kept, but
their origin is unknown. Several processes may share a folder.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from filelock import FileLock, Timeout

from voxlate.decoding.json_lines import append_json_lines, as_integer, as_list, as_text, as_texts
from voxlate.files import file_sha256, write_text

JOURNAL_NAME = ".voxlate.jsonl"
_LOCK_NAME = ".voxlate.lock"
_LOCK_SECONDS = 60.0  # a lock is held for milliseconds; after this the journal is written without it


class FileState(NamedTuple):
    """Attributes of a file, at least one of which changes when the file is written to, copied or replaced."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


def file_state(path: str | Path) -> FileState | None:
    """Return the state of a file, None if it cannot be read."""
    try:
        stat = os.stat(path)  # noqa: PTH116 (a Path takes longer to create than this, for each input)
    except (OSError, ValueError):
        return None
    return FileState(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """The origin of the results of one input in one language.

    `stem` is the path of the results in the folder without .LANGUAGE.FORMAT, `input` the absolute path of the input.
    `state` and `sha256` are None if the contents of the input are unknown, as for standard input. `empty` has the
    formats in which the result is an empty file; it is None in journals of versions that did not record it.
    """

    stem: str
    input: str
    language: str
    formats: tuple[str, ...]
    settings: str
    state: FileState | None
    sha256: str | None
    warnings: tuple[str, ...] = ()
    empty: tuple[str, ...] | None = None

    def may_be_empty(self, file_format: str) -> bool:
        """Return whether an empty file is the whole result, not one that a power failure has truncated."""
        return self.empty is None or file_format in self.empty

    def has_contents(self, state: FileState | None, digest: Callable[[], str | None]) -> bool:
        """Return whether an input in this state has the contents that the results were made from."""
        if state is None or self.state is None or state.size != self.state.size:
            return False
        return state == self.state or (self.sha256 is not None and self.sha256 == digest())

    def to_json(self) -> dict[str, object]:
        """Return the fields of the entry's line in the journal."""
        return {
            "place": self.stem,
            "input": self.input,
            "language": self.language,
            "formats": self.formats,
            "settings": self.settings,
            "stamp": self.state,
            "sha256": self.sha256,
            "warnings": self.warnings,
            **({} if self.empty is None else {"empty": self.empty}),
        }


class ResultJournal:
    """Reads and appends to the journal of a folder. `warn` receives a line if it cannot be read or written.

    `owners` maps the stem of results to the path of their input.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self._path, self._warn, self._lock = folder / JOURNAL_NAME, warn, FileLock(folder / _LOCK_NAME)
        self._failed = False
        self._clear()

    def _clear(self) -> None:
        self.owners: dict[str, str] = {}
        self._results: dict[str, dict[tuple[str, str], JournalEntry]] = {}  # stem -> (language, format) -> entry
        self._settings: dict[str, Mapping[str, object]] = {}

    def find(self, stem: str, language: str, file_format: str) -> JournalEntry | None:
        """Return the entry of a result, None if it is unknown."""
        return self._results.get(stem, {}).get((language, file_format))

    def entries(self, stem: str) -> list[JournalEntry]:
        """Return the entries of all results with a stem."""
        return [*self._results.get(stem, {}).values()]

    @contextmanager
    def claiming(self) -> Iterator[Callable[[str, str], None]]:
        """Lock and read the journal; yield a function that reserves a stem for an input."""
        with self._locked():
            self._read()
            lines: list[object] = []

            def claim(stem: str, owner: str) -> None:
                self.owners[stem] = owner
                lines.append({"place": stem, "input": owner})

            yield claim
            self._append(lines)

    def record(self, entry: JournalEntry, settings: Mapping[str, object]) -> None:
        """Append the entry of new results, and its settings if they are new. It is not kept in memory."""
        lines: list[object] = [entry.to_json()]
        if entry.settings not in self._settings:
            lines.insert(0, {"settings": entry.settings, "values": settings})
            self._settings[entry.settings] = settings
        with self._locked():
            self._append(lines)

    def differences(self, settings: Mapping[str, object], others: Sequence[str]) -> list[str]:
        """Return the names of settings that differ from recorded ones, given by their digests."""
        recorded = [self._settings[other] for other in others if other in self._settings]
        names = {name: None for other in recorded for name in (*settings, *other)}
        return [name for name in names if any(settings.get(name) != other.get(name) for other in recorded)]

    def _add(self, entry: JournalEntry) -> None:
        self.owners[entry.stem] = entry.input
        results = self._results.setdefault(entry.stem, {})
        for file_format in entry.formats:
            results[entry.language, file_format] = entry

    def _read(self) -> None:
        self._clear()
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        except OSError as error:
            self._warn(
                f"note: {self._path} cannot be read ({error.strerror}); the origin of existing results is unknown"
            )
            return
        kept = [line for line in lines if line and self._parse(line)]
        damaged = sum(map(bool, lines)) - len(kept)
        if damaged:
            self._warn(f"note: {damaged} damaged line{'s' * (damaged > 1)} of {self._path} dropped")
            with suppress(OSError):
                write_text(self._path, b"".join(line + b"\n" for line in kept).decode())

    def _parse(self, line: bytes) -> bool:
        """Parse a line and store its contents; return False if it is damaged."""
        try:
            fields = json.loads(line.decode("ascii"))
            if "values" in fields:
                self._settings[as_text(fields["settings"])] = dict(fields["values"])
            elif "language" in fields:
                self._add(_entry(fields))
            else:
                self.owners[_stem(fields["place"])] = as_text(fields["input"])
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        return True

    def _append(self, lines: Sequence[object]) -> None:
        if not lines:
            return
        try:
            append_json_lines(self._path, lines)
        except OSError as error:
            if not self._failed:
                self._warn(
                    f"warning: {self._path} cannot be written ({error.strerror}); the results are written, but the "
                    "next run will not know their origin"
                )
            self._failed = True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with suppress(Timeout, OSError, NotImplementedError):  # some network file systems do not support locks
            self._lock.acquire(timeout=_LOCK_SECONDS)
        try:
            yield
        finally:
            self._lock.release()


def settings_digest(settings: Mapping[str, object]) -> str:
    """Return a short digest, which is the same for equal settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


def input_sha256(path: Path, state: FileState | None) -> str | None:
    """Return the digest of a file; None if it cannot be read, or is no longer in the given state."""
    try:
        digest = file_sha256(path) if state is not None else None
    except OSError:
        return None
    return digest if file_state(path) == state else None


def _entry(fields: Mapping[str, object]) -> JournalEntry:
    """Return the entry in a line. ValueError, TypeError or KeyError if it is invalid."""
    state, sha256 = fields["stamp"], fields["sha256"]
    return JournalEntry(
        _stem(fields["place"]),
        as_text(fields["input"]),
        as_text(fields["language"]),
        as_texts(fields["formats"]),
        as_text(fields["settings"]),
        None if state is None else FileState(*map(as_integer, as_list(state))),
        None if sha256 is None else as_text(sha256),
        as_texts(fields["warnings"]),
        as_texts(fields["empty"]) if "empty" in fields else None,
    )


def _stem(value: object) -> str:
    """Return a relative path inside the folder: a foreign journal must not write elsewhere. ValueError if it is not."""
    parts = PurePosixPath(as_text(value)).parts
    if not parts or ".." in parts or parts[0].startswith("/") or "\0" in as_text(value):
        raise ValueError(value)
    return as_text(value)
