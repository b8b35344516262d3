"""Files that are written whole or not at all."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock


@contextmanager
def whole_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; it takes `path`'s place only if the block ends well.

    The file and then its folder are flushed to the disk, so that a power failure leaves the old file or the new one.
    Without `durable` it may leave an empty one: for files by the thousand, where whoever reads them checks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
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
    except BaseException:
        with suppress(OSError):
            part.unlink()
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


def file_sha256(*paths: Path) -> str:
    """Return the SHA-256 of files one behind the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(1 << 24):
                digest.update(chunk)
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
