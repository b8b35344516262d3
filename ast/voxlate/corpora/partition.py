"""Partition the rows of a table into train, dev and test: by its own column, by speaker, or at random."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from os.path import relpath

from voxlate.manifest.reading import Manifest

METHODS = ("random", "speaker", "column")


def partition(manifest: Manifest, by: str, dev: float, test: float, seed: int) -> tuple[list[str], list[str]]:
    """Return the split of each row, and notes on deviations from the request.

    All rows of a speaker, or of a clip if `by` is "random", go to the same split. Dev and test are filled up to their
    shares of the rows. A split for which every group is too large gets the smallest one, if train keeps another.
    """
    if by == "column":
        splits = manifest.column("split")
        empty = [name for name in ("train", "dev", "test") if name not in splits]
        return splits, [f"no rows for {' and '.join(empty)} in the column split"] if empty else []
    clips = _clips(manifest)
    groups = clips  # rows with the same clip, such as translations into several languages, stay together
    if by == "speaker":
        groups = [speaker or clip for speaker, clip in zip(manifest.column("speaker"), clips, strict=True)]
    shares = {name: share for name, share in (("test", test), ("dev", dev)) if share}
    split_of = _allocate(groups, shares, seed)
    splits = [split_of[group] for group in groups]
    notes = _notes(splits, shares, "speaker" if by == "speaker" else "clip", len(split_of))
    splits_of_clip = Counter(clip for clip, _ in set(zip(clips, splits, strict=True)))
    if shared := sum(count > 1 for count in splits_of_clip.values()):
        notes.append(f"clips in several splits, because their rows name several speakers: {shared:,}")
    return splits, notes


def _clips(manifest: Manifest) -> list[str]:
    """Return an identifier of each row's clip: its path from the manifest's folder, which may be moved."""
    folder = manifest.path.parent
    names = zip(manifest.column("audio"), manifest.column("id"), strict=True)
    return [name if audio is None else relpath(folder / audio, folder) for audio, name in names]


def _allocate(groups: Sequence[str], shares: dict[str, float], seed: int) -> dict[str, str]:
    """Return the split of each group.

    Groups are ordered by a hash of the seed and their names, so that most of them keep their split when the table
    grows.
    """
    rows = Counter(groups)
    order = sorted(rows, key=lambda group: hashlib.sha256(f"{seed}\0{group}".encode()).digest())
    capacity = {name: share * len(groups) for name, share in shares.items()}
    split_of: dict[str, str] = {}
    for group in order:
        split = next((name for name in capacity if rows[group] <= capacity[name]), "train")
        split_of[group] = split
        if split in capacity:
            capacity[split] -= rows[group]
    train_groups = sorted((group for group in order if split_of[group] == "train"), key=lambda group: -rows[group])
    for name in sorted(shares):  # dev first: training needs it
        if name not in split_of.values() and len(train_groups) > 1:
            split_of[train_groups.pop()] = name
    return split_of


def _notes(splits: Sequence[str], shares: dict[str, float], unit: str, groups: int) -> list[str]:
    """Return notes on splits that are empty or much larger than requested."""
    counts = Counter(splits)
    notes = []
    empty = [name for name in sorted(shares) if not counts[name]]
    if empty:
        hint = "; --split-by random also divides the rows of one speaker" if unit == "speaker" else ""
        notes.append(f"no {unit} is left for {' and '.join(empty)}: the table has {groups:,}{hint}")
    for name, share in sorted(shares.items()):
        actual = counts[name] / len(splits)
        if actual > 2 * share:
            notes.append(
                f"{name} has {actual:.1%} of the rows, requested {share:.1%}: each {unit} is in one split only"
            )
    return notes
