"""Choose the paths of results in an output folder, with a unique stem for each input.

A stem is the relative path of results without .LANGUAGE.FORMAT.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from voxlate.decoding.inputs import Input
from voxlate.decoding.journal import ResultJournal, file_state, input_sha256

_NAME_BYTES = 255  # maximum for a file name on nearly all file systems
_EXTENSION_BYTES = 20  # reserved for .LANGUAGE.FORMAT


def claim_stems(inputs: Sequence[Input], journal: ResultJournal, limit: int = _NAME_BYTES) -> list[str]:
    """Return the stem of each input's results, and reserve it in the journal.

    An input below the working directory keeps its folders relative to it; the others keep those below their common
    parent. If a stem belongs to another input, more of the input's parent folders are kept, or the stem is numbered.
    Names are shortened to leave room for the extensions in `limit` bytes.
    """
    working = Path.cwd()
    outside = {
        os.path.dirname(item.key)  # noqa: PTH120 (ten times faster than Path, for each input)
        for item in inputs
        if not _is_below(item, working) and not item.is_nameless and os.path.lexists(item.key)
    }
    common = Path(os.path.commonpath(outside)) if outside else Path("/")
    with journal.claiming() as claim:
        stems_by_owner = {owner: stem for stem, owner in journal.owners.items()}
        stems = []
        for item in inputs:
            stem = stems_by_owner.get(item.key)
            if stem is None:
                candidates = (_shorten(path, limit - _EXTENSION_BYTES) for path in _candidates(item, working, common))
                stem = next(candidate for candidate in candidates if _is_free(candidate, item, journal))
                if item.is_nameless or os.path.lexists(item.key):  # a missing file must not block a stem
                    claim(stem, item.key)
            stems.append(stem)
        return stems


def _is_below(item: Input, folder: Path) -> bool:
    return f"{item.key}/".startswith(f"{str(folder).rstrip('/')}/")


def _candidates(item: Input, working: Path, common: Path) -> Iterator[Path]:
    """Yield relative paths for the results of an input, best first; the iterator is infinite."""
    path = item.absolute
    full = path.relative_to(path.anchor)
    if item.is_nameless:
        shortest = Path(path.name)
    else:
        folder = next(folder for folder in (working, common, path.parent) if _is_below(item, folder))
        shortest = path.relative_to(folder)
    for length in range(len(shortest.parts), len(full.parts) + 1):
        yield Path(*full.parts[-length:])
    for number in count(2):
        yield shortest.with_name(f"{shortest.stem}~{number}{shortest.suffix}")


def _is_free(stem: str, item: Input, journal: ResultJournal) -> bool:
    """Return whether a stem has no owner, or a deleted one without results other than those of this recording."""
    owner = journal.owners.get(stem)
    if owner is None:
        return True
    if os.path.lexists(owner):
        return False
    entries = journal.entries(stem)
    if item.is_nameless or not entries:
        return not entries
    state = file_state(item.absolute)
    return any(entry.has_contents(state, lambda: input_sha256(item.absolute, state)) for entry in entries)


def _shorten(path: Path, limit: int) -> str:
    """Return a stem whose name has at most `limit` bytes. A digest distinguishes shortened names."""
    name = path.name
    if len(os.fsencode(name)) > limit:
        mark = f"~{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}{path.suffix[:8]}"
        stem = os.fsencode(name)[: limit - len(os.fsencode(mark))].decode("utf-8", "ignore")
        name = f"{stem}{mark}"
    return (path.parent / name).as_posix()
