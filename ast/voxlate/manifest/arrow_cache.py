"""A cache of manifests as Arrow columns on disk, each converted once and then memory-mapped by every process.

A cache file is named after the contents of its manifest. Incomplete files are rewritten. Files that have not been
opened for a month are deleted, because the columns of a parquet manifest contain its clips.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from voxlate.errors import VoxlateError

if TYPE_CHECKING:
    from datasets import Dataset

_LAYOUT = "4"  # version of the file layout and of the checks that cached rows passed; a new one invalidates old files
_BLOCK = 2**20
_UNUSED_DAYS = 30


@dataclass(frozen=True)
class CachedManifest:
    """A manifest in the cache: its rows, the columns of its file, and notes on oddities."""

    dataset: Dataset
    columns: tuple[str, ...]
    notes: tuple[str, ...]


def cache_path(manifest: Path, renamed: Mapping[str, str]) -> Path:
    """Return the cache file of a manifest with these contents. VoxlateError if the manifest cannot be read.

    `renamed` are the columns that are read under other names.

    Modification time and size are not enough: both can stay the same if a file is rewritten within a second.
    """
    names = json.dumps(sorted(renamed.items())) if renamed else ""
    digest = hashlib.sha256(f"{_LAYOUT}{manifest.suffix.lower()}{names}".encode())
    try:
        with manifest.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except (OSError, ValueError) as error:
        raise VoxlateError(f"manifest {manifest}: cannot be read ({getattr(error, 'strerror', error)})") from None
    return _folder() / f"{digest.hexdigest()}.arrow"


def seal(path: Path, columns: list[str], notes: list[str]) -> None:
    """Append a footer with columns, notes and a checksum to an Arrow file, after the end-of-stream marker.

    Arrow readers stop at the marker and ignore the footer.
    """
    footer = json.dumps(
        {"columns": columns, "notes": notes, "bytes": path.stat().st_size, "crc": _checksum(path)}
    )  # ASCII
    with path.open("ab") as file:
        file.write(footer.encode() + len(footer).to_bytes(8, "little"))


def open_cached(path: Path) -> CachedManifest | None:
    """Open a cache file; return None if it is missing or incomplete."""
    try:
        footer = _read_footer(path)
        if footer["crc"] != _checksum(path, footer["bytes"]):
            return None
        with suppress(OSError):
            os.utime(path)  # marks it as used
        return CachedManifest(open_stream(path), tuple(footer["columns"]), tuple(footer["notes"]))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None


def open_stream(path: Path) -> Dataset:
    """Memory-map an Arrow stream."""
    from datasets import Dataset  # noqa: PLC0415 (takes a second; not every importer of this module reads a manifest)

    return Dataset.from_file(str(path))


def remove_unused(folder: Path) -> None:
    """Delete cache files that have not been opened for a month. A process that has mapped one keeps its contents."""
    oldest = time.time() - _UNUSED_DAYS * 86_400
    for entry in folder.iterdir():
        with suppress(OSError):  # another process may have deleted it already
            if entry.name.endswith((".arrow", ".part")) and entry.stat().st_mtime < oldest:
                entry.unlink()


def _read_footer(path: Path) -> dict[str, Any]:
    """Return the footer written by `seal`. ValueError if the file is truncated."""
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        end = file.tell()
        size = int.from_bytes(file.read(8), "little")
        file.seek(max(end - size, 0))
        footer: dict[str, Any] = json.loads(file.read(size if size <= end else 0))
        if footer["bytes"] + size != end:
            raise ValueError("truncated")
    return footer


def _checksum(path: Path, size: int | None = None) -> int:
    """Return the CRC-32 of a file or of its first `size` bytes."""
    remaining = path.stat().st_size if size is None else size
    checksum = 0
    with path.open("rb") as file:
        while remaining > 0 and (block := file.read(min(_BLOCK, remaining))):
            checksum = zlib.crc32(block, checksum)
            remaining -= len(block)
    return checksum


def _folder() -> Path:
    """Return the cache folder, or a temporary folder for this process if the cache is not writable."""
    from datasets import config  # noqa: PLC0415

    folder = Path(config.HF_DATASETS_CACHE) / "voxlate"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return _temporary_folder()
    return folder if os.access(folder, os.W_OK | os.X_OK) else _temporary_folder()


@lru_cache(1)
def _temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="voxlate-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
