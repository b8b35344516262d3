"""The journal of an output folder: which input and which settings each result was made from.

It is a file of JSON lines that is only appended to. A line that cannot be read is ignored, and so is a journal that is
missing: the results are kept, without anything being known of them. Several processes may share a folder.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from filelock import FileLock, Timeout

from voxlate.files import file_sha256, write_text

JOURNAL_NAME = ".voxlate.jsonl"
_LOCK_NAME = ".voxlate.lock"
_LOCK_SECONDS = 60.0  # a lock is held for milliseconds; after this the journal is written without it


class Stamp(NamedTuple):
    """What changes whenever a file is written to, copied or replaced."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of a file, None where there is none that can be read."""
    try:
        state = path.stat()
    except (OSError, ValueError):
        return None
    return Stamp(state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)


@dataclass(frozen=True)
class Entry:
    """What is known of the results of one input in one language.

    `place` is the path of the results in the folder, without their endings; `input` the absolute path of the input.
    `stamp` and `sha256` are None where the contents of the input are not known, as of standard input.
    """

    place: str
    input: str
    language: str
    formats: tuple[str, ...]
    settings: str
    stamp: Stamp | None
    sha256: str | None
    warnings: tuple[str, ...] = ()

    def is_of(self, stamp: Stamp | None, digest: Callable[[], str | None]) -> bool:
        """Return whether an input with this stamp holds what the results were made from."""
        if stamp is None or self.stamp is None or stamp.size != self.stamp.size:
            return False
        return stamp == self.stamp or (self.sha256 is not None and self.sha256 == digest())


class Journal:
    """Reads and appends to the journal of a folder; `warn` is given a line if it cannot be read or written."""

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self._folder, self._path, self._warn = folder, folder / JOURNAL_NAME, warn
        self._failed = False
        self._forget()

    def _forget(self) -> None:
        self.owners: dict[str, str] = {}  # place -> input
        self._results: dict[tuple[str, str, str], Entry] = {}
        self._settings: dict[str, Mapping[str, object]] = {}

    def find(self, place: str, language: str, form: str) -> Entry | None:
        """Return what is known of a result."""
        return self._results.get((place, language, form))

    def entries(self, place: str) -> list[Entry]:
        """Return what is known of all results at a place."""
        return [entry for (where, _, _), entry in self._results.items() if where == place]

    @contextmanager
    def claiming(self) -> Iterator[Callable[[str, str], None]]:
        """Read the journal and keep other processes from it; the function notes whose a place is."""
        with self._locked():
            self._read()
            lines: list[object] = []

            def claim(place: str, owner: str) -> None:
                self.owners[place] = owner
                lines.append({"place": place, "input": owner})

            yield claim
            self._append(lines)

    def record(self, entry: Entry, settings: Mapping[str, object]) -> None:
        """Note the results of an input, and the settings that the entry names if they are new."""
        lines: list[object] = [asdict(entry)]
        if entry.settings not in self._settings:
            lines.insert(0, {"settings": entry.settings, "values": settings})
            self._settings[entry.settings] = settings
        self._add(entry)
        with self._locked():
            self._append(lines)

    def differences(self, settings: Mapping[str, object], others: Sequence[str]) -> list[str]:
        """Return the names of the settings that differ from noted ones."""
        known = [self._settings[other] for other in others if other in self._settings]
        names = {name: None for other in known for name in (*settings, *other)}
        return [name for name in names if any(settings.get(name) != other.get(name) for other in known)]

    def _add(self, entry: Entry) -> None:
        self.owners[entry.place] = entry.input
        for form in entry.formats:
            self._results[entry.place, entry.language, form] = entry

    def _read(self) -> None:
        self._forget()
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        except OSError as error:
            self._warn(f"note: {self._path} cannot be read ({error.strerror}); what it tells of results is not known")
            return
        kept = [line for line in lines if line and self._take(line)]
        damaged = sum(map(bool, lines)) - len(kept)
        if damaged:
            self._warn(f"note: {damaged} damaged line{'s' * (damaged > 1)} of {self._path} left out")
            with suppress(OSError):
                write_text(self._path, b"".join(line + b"\n" for line in kept).decode())

    def _take(self, line: bytes) -> bool:
        """Note what a line says; False if it is damaged."""
        try:
            fields = json.loads(line.decode("ascii"))
            if "values" in fields:
                self._settings[_text(fields["settings"])] = dict(fields["values"])
            elif "language" in fields:
                self._add(_entry(fields))
            else:
                self.owners[_place(fields["place"])] = _text(fields["input"])
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        return True

    def _append(self, lines: Sequence[object]) -> None:
        if not lines:
            return
        data = "".join(json.dumps(line) + "\n" for line in lines).encode()
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            with os.fdopen(descriptor, "ab+", buffering=0) as file:
                size = file.seek(0, os.SEEK_END)
                if size and os.pread(descriptor, 1, size - 1) != b"\n":  # a killed process wrote half a line
                    data = b"\n" + data
                file.write(data)
        except OSError as error:
            if not self._failed:
                self._warn(
                    f"warning: {self._path} cannot be written ({error.strerror}); the results are, but another run "
                    "will not know what they were made from"
                )
            self._failed = True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(self._folder / _LOCK_NAME)
        with suppress(Timeout, OSError, NotImplementedError):  # some network file systems have no locks
            lock.acquire(timeout=_LOCK_SECONDS)
        try:
            yield
        finally:
            lock.release()


def settings_digest(settings: Mapping[str, object]) -> str:
    """Return a short name for settings that are equal."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


def input_sha256(path: Path, stamp: Stamp | None) -> str | None:
    """Return the digest of a file; None if it is not what it was when it had the stamp, or cannot be read."""
    try:
        digest = file_sha256(path) if stamp is not None else None
    except OSError:
        return None
    return digest if stamp_of(path) == stamp else None


def _entry(fields: Mapping[str, object]) -> Entry:
    """Return the entry of a line; ValueError, TypeError or KeyError where it is not one."""
    stamp, sha256 = fields["stamp"], fields["sha256"]
    return Entry(
        _place(fields["place"]),
        _text(fields["input"]),
        _text(fields["language"]),
        _texts(fields["formats"]),
        _text(fields["settings"]),
        None if stamp is None else Stamp(*map(_whole, _list(stamp))),
        None if sha256 is None else _text(sha256),
        _texts(fields["warnings"]),
    )


def _place(value: object) -> str:
    """Return a relative path that stays in the folder: nobody's journal may send results elsewhere."""
    parts = PurePosixPath(_text(value)).parts
    if not parts or ".." in parts or parts[0].startswith("/") or "\0" in _text(value):
        raise ValueError(value)
    return _text(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(value)
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(value)
    return value


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(_text, _list(value)))
