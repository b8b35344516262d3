"""Where in an output folder the results of each input go: no two inputs ever share a place."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from voxlate.decoding.inputs import Input
from voxlate.decoding.journal import Journal, input_sha256, stamp_of

_NAME_BYTES = 255  # of a file, on nearly all file systems
_ENDING_BYTES = 20  # left for .LANGUAGE.FORMAT


def claim_places(inputs: Sequence[Input], journal: Journal, limit: int = _NAME_BYTES) -> list[str]:
    """Return the place of each input's results: a relative path that lacks the ending, and belongs to it from now on.

    An input below the working directory keeps its folders from there; the others keep those below their common
    parent. A place that belongs to another input is not taken: more of the input's own folders are kept, or it is
    numbered. Names are shortened to leave room for the ending in `limit` bytes.
    """
    outside = [
        item.absolute.parent
        for item in inputs
        if not _is_below(item, Path.cwd()) and not item.is_nameless and os.path.lexists(item.absolute)
    ]
    common = Path(os.path.commonpath(outside)) if outside else Path("/")
    with journal.claiming() as claim:
        own = {owner: place for place, owner in journal.owners.items()}
        places = []
        for item in inputs:
            place = own.get(item.key)
            if place is None:
                candidates = (_shortened(place, limit - _ENDING_BYTES) for place in _candidates(item, common))
                place = next(one for one in candidates if _is_free(one, item, journal))
                if item.is_nameless or os.path.lexists(item.absolute):  # a missing file takes no place from others
                    claim(place, item.key)
            places.append(place)
        return places


def _is_below(item: Input, folder: Path) -> bool:
    return item.absolute.is_relative_to(folder)


def _candidates(item: Input, common: Path) -> Iterator[Path]:
    """Yield relative paths for the results of an input, the best first, without end."""
    path = item.absolute
    whole = path.relative_to(path.anchor)
    if item.is_nameless:
        shortest = Path(path.name)
    else:
        folder = next(folder for folder in (Path.cwd(), common, path.parent) if _is_below(item, folder))
        shortest = path.relative_to(folder)
    for length in range(len(shortest.parts), len(whole.parts) + 1):
        yield Path(*whole.parts[-length:])
    for number in count(2):
        yield shortest.with_name(f"{shortest.stem}~{number}{shortest.suffix}")


def _is_free(place: str, item: Input, journal: Journal) -> bool:
    """Return whether nobody has a place, or its owner is gone and left no result but that of the same recording."""
    owner = journal.owners.get(place)
    if owner is None:
        return True
    if os.path.lexists(owner):
        return False
    entries = journal.entries(place)
    if item.is_nameless or not entries:
        return not entries
    stamp = stamp_of(item.absolute)
    return any(entry.is_of(stamp, lambda: input_sha256(item.absolute, stamp)) for entry in entries)


def _shortened(place: Path, limit: int) -> str:
    """Return a place whose name has at most `limit` bytes; a digest keeps shortened names apart."""
    name = place.name
    if len(os.fsencode(name)) > limit:
        mark = f"~{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}{place.suffix[:8]}"
        stem = os.fsencode(name)[: limit - len(os.fsencode(mark))].decode("utf-8", "ignore")
        name = f"{stem}{mark}"
    return (place.parent / name).as_posix()
