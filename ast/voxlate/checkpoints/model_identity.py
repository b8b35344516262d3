"""Identify a model by the contents of its files, not by its name, without torch or network access."""

import hashlib
import json
import os
import re
from contextlib import suppress
from pathlib import Path

from voxlate.files import file_sha256, write_text

_SMALL_FILES = (
    "*config.json",
    "tokenizer.json",
    "vocab.json",
    "languages.json",
    "training.json",
    "*_map.json",
    "added_tokens.json",
)
LARGE_FILE_BYTES = 1 << 25  # digests of files from this size on are cached
_CACHED_DIGESTS = 500


def model_identity(folder: Path) -> str:
    """Return a digest of all files in a model's folder that results depend on.

    Digests of large files are cached, and are valid while the size, times and inode of the file are unchanged.
    """
    patterns = [*_SMALL_FILES, "*.model", "*.safetensors"]
    if not any(folder.glob("*.safetensors")):
        patterns.append("*.bin")
    paths = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.name} {contents_sha256(path)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def contents_sha256(path: Path) -> str:
    """Return the SHA-256 of a file; for an unchanged large one, from the Hub's cache or our own."""
    real = path.resolve()
    if real.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", real.name):  # large files of the Hub's cache
        return real.name
    state = real.stat()
    if state.st_size < LARGE_FILE_BYTES:
        return file_sha256(real)
    stamp = [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
    cache = _read_cache()
    entry = cache.get(str(real))
    if isinstance(entry, list) and entry[:-1] == stamp and isinstance(entry[-1], str):
        return entry[-1]
    digest = file_sha256(real)
    cache.pop(str(real), None)
    cache[str(real)] = [*stamp, digest]
    with suppress(OSError, RuntimeError):  # if the cache cannot be written, the digest is computed each time
        write_text(_cache_file(), json.dumps(dict(list(cache.items())[-_CACHED_DIGESTS:])))
    return digest


def _read_cache() -> dict[str, object]:
    try:
        cache = json.loads(_cache_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # missing or damaged, or no home folder
        return {}
    return cache if isinstance(cache, dict) else {}


def _cache_file() -> Path:
    """Return the file of cached digests. RuntimeError if there is no home folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "voxlate" / "digests.json"
