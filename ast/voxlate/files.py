"""File system helpers: atomic writes, temporary files, locks, hashes."""

import errno
import hashlib
import os
import re
import socket
import stat
import tempfile
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

_PART = re.compile(r"\..*?\.((?P<mark>[0-9a-f]{8})-(?P<process>\d+)\.)?[a-z0-9_]{8}\.part", re.DOTALL)
_ABANDONED_SECONDS = 86_400.0


@contextmanager
def atomic_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, and rename it to `path` if the block succeeds.

    The file and then its folder are flushed to disk, so that a power failure leaves either the old file or the new
    one. Without `durable`, it may leave an empty file; this suits thousands of small files that are checked when they
    are read. An OSError without a file name, as for a full disk, gets the name of `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # 20 characters take at most 80 bytes, so that the name does not become too long for the file system.
    prefix = f".{path.name[:20]}.{_host_mark()}-{os.getpid()}."
    descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=path.parent)
    os.close(descriptor)
    part = Path(name)
    try:
        yield part
        if durable:
            flush(part)
        part.chmod(0o666 & ~_umask())  # mkstemp sets 0600; use the mode of any new file
        part.replace(path)
        if durable:
            flush(path.parent)
    except BaseException as error:
        with suppress(OSError):
            part.unlink()
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise


def flush(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk, if the operating system supports that."""
    folder = path.is_dir()
    if folder and os.name != "posix":  # Windows cannot open a folder
        return
    descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not supported by some network file systems
            raise
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write `text` to `path` atomically (see `atomic_file`), as UTF-8. Missing folders are created."""
    with atomic_file(path, durable=durable) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def remove_abandoned_parts(folder: Path) -> int:
    """Remove the temporary files that killed processes left in a folder; return their number.

    A file is abandoned if its process ran on this machine and has ended, or if it was last written over a day ago.
    """
    removed = 0
    for part in folder.glob(".*.part"):
        match = _PART.fullmatch(part.name)
        if match is None:
            continue
        with suppress(OSError):
            ended = match["mark"] == _host_mark() and not _is_running(int(match["process"]))
            if ended or time.time() - part.lstat().st_mtime > _ABANDONED_SECONDS:
                part.unlink()
                removed += 1
    return removed


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create a folder and lock it for the duration of a block; filelock's Timeout if another process has the lock."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    lock.acquire(timeout=0)
    try:
        yield
    finally:
        lock.release()


class ScratchFile:
    """A nameless temporary file, which disappears with the last process that has it open, however that ends.

    It is pickled with its contents, so that another machine can read it.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        """Create a file, or take over the descriptor of one. OSError if there is no folder for temporary files."""
        self._file = (
            tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (open as long as this object exists)
            if descriptor is None
            else os.fdopen(descriptor, "r+b", buffering=0)
        )
        self._lock = threading.Lock()
        weakref.finalize(self, self._file.close)

    def fileno(self) -> int:
        """Return the descriptor of the file."""
        return self._file.fileno()

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Write bytes to the end of the file. OSError if there is no space."""
        remaining = memoryview(data)
        with self._lock:
            self._file.seek(0, os.SEEK_END)
            while remaining:
                remaining = remaining[self._file.write(remaining) :]

    def read(self, start: int, size: int) -> bytearray:
        """Return up to `size` bytes from `start`, fewer at the end of the file."""
        data = bytearray(size)
        remaining = memoryview(data)
        with self._lock:
            self._file.seek(start)
            while remaining and (count := self._file.readinto(remaining)):  # a call reads at most 2 GB
                remaining = remaining[count:]
        return data[: size - len(remaining)]

    def __reduce__(self) -> tuple[Callable[[bytearray], "ScratchFile"], tuple[bytearray]]:
        """Pickle the contents."""
        return _scratch_file, (self.read(0, os.fstat(self.fileno()).st_size),)


def _scratch_file(contents: bytearray) -> ScratchFile:
    file = ScratchFile()
    file.append(contents)
    return file


def special_file_kind(path: Path) -> str | None:
    """Return the kind of a path that is not a regular file, such as "a pipe", or None.

    The path is not opened, since that could block forever. None for a regular file, and for a path that does not exist
    or is not accessible: opening it raises the error.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return "a broken link" if path.is_symlink() else None
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return None if stat.S_ISREG(mode) else kinds.get(stat.S_IFMT(mode), "a device")


def file_sha256(*paths: Path) -> str:
    """Return the SHA-256 of the concatenation of files."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(1 << 24):
                digest.update(chunk)
    return digest.hexdigest()


def _host_mark() -> str:
    """Return a mark that distinguishes this machine from others that share its files."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _is_running(process: int) -> bool:
    if os.name != "posix":  # os.kill would end the process on Windows
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it belongs to another user, or its number is out of range
        return True
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
