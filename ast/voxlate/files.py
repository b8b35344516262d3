"""Files that are written whole or not at all."""

import errno
import hashlib
import os
import re
import socket
import stat
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

_PART = re.compile(r"\..*?\.((?P<mark>[0-9a-f]{8})-(?P<process>\d+)\.)?[a-z0-9_]{8}\.part", re.DOTALL)
_ABANDONED_SECONDS = 86_400.0


@contextmanager
def whole_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; it takes `path`'s place only if the block ends well.

    The file and then its folder are flushed to the disk, so that a power failure leaves the old file or the new one.
    Without `durable` it may leave an empty one: for files by the thousand, where whoever reads them checks.
    An OSError that names no file, as of a full disk, names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # 20 characters are at most 80 bytes, so that the name fits wherever that of `path` does.
    prefix = f".{path.name[:20]}.{_process_mark()}-{os.getpid()}."
    descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=path.parent)
    os.close(descriptor)
    part = Path(name)
    try:
        yield part
        if durable:
            flush(part)
        part.chmod(0o666 & ~_umask())  # mkstemp gives 0600; a result is as readable as any new file
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
    """Flush a file, or the names in a folder, from the system's memory to the disk, where the system can do that."""
    folder = path.is_dir()
    if folder and os.name != "posix":  # elsewhere a folder cannot be opened
        return
    descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems know no such thing
            raise
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all, making the folders on the way."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def remove_abandoned_parts(folder: Path) -> int:
    """Remove the temporary files that killed processes left in a folder; return how many.

    They are those of processes of this machine that have ended, and those that nobody has written to for a day.
    """
    removed = 0
    for part in folder.glob(".*.part"):
        found = _PART.fullmatch(part.name)
        if found is None:
            continue
        with suppress(OSError):
            ended = found["mark"] == _process_mark() and not _runs(int(found["process"]))
            if ended or time.time() - part.lstat().st_mtime > _ABANDONED_SECONDS:
                part.unlink()
                removed += 1
    return removed


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a folder and keep it to this process in a block; filelock's Timeout if another one has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    lock.acquire(timeout=0)
    try:
        yield
    finally:
        lock.release()


def oddity(path: Path) -> str | None:
    """Return what a path is if it is no regular file, such as "a pipe", without opening it: that could wait for ever.

    None for a regular file, and for what is not there or cannot be asked for, which opening it tells.
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


def _process_mark() -> str:
    """Return what tells this machine's processes from those of others that share its files."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _runs(process: int) -> bool:
    if os.name != "posix":  # elsewhere asking would send a signal
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it belongs to somebody else, or cannot be asked for
        return True
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
