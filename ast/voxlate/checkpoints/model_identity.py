"""Which model it is, by the contents of its files and not by its name; neither torch nor a network is needed."""

import hashlib
import json
import os
import re
from contextlib import suppress
from pathlib import Path

from voxlate.files import file_sha256, write_text

_SMALL_FILES = ("*config.json", "tokenizer.json", "vocab.json", "languages.json", "*_map.json", "added_tokens.json")
_BIG_BYTES = 1 << 25  # a digest of a larger file is remembered
_REMEMBERED = 500  # files


def model_identity(folder: Path) -> str:
    """Return a digest of everything in a model's folder that a result depends on.

    What large files hold is read once, and their digests are remembered in the user's cache, by size and times.
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
    """Return the SHA-256 of a file: of a large one as the Hub's cache or our own knows it, if it has not changed."""
    real = path.resolve()
    if real.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", real.name):  # large files of the Hub's cache
        return real.name
    state = real.stat()
    if state.st_size < _BIG_BYTES:
        return file_sha256(real)
    stamp = [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
    known = _known()
    noted = known.get(str(real))
    if isinstance(noted, list) and noted[:-1] == stamp and isinstance(noted[-1], str):
        return noted[-1]
    digest = file_sha256(real)
    known.pop(str(real), None)
    known[str(real)] = [*stamp, digest]
    with suppress(OSError, RuntimeError):  # without a place for a cache it is computed each time
        write_text(_cache_file(), json.dumps(dict(list(known.items())[-_REMEMBERED:])))
    return digest


def _known() -> dict[str, object]:
    try:
        known = json.loads(_cache_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # there is none, it is damaged, or there is no home
        return {}
    return known if isinstance(known, dict) else {}


def _cache_file() -> Path:
    """Return where digests are remembered; RuntimeError if there is no home folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "voxlate" / "digests.json"
