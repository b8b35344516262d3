"""Count the clips, hours and texts of manifests, and find suspicious rows, column by column.

Python objects are created for suspicious rows only, so that a million rows take seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from voxlate.corpora.silent_clips import find_silent
from voxlate.languages import find_language
from voxlate.manifest.reading import Manifest, read_manifest

_UNKNOWN = "?"  # language
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_LISTED = 20  # ids of each kind of suspicious rows
_MIN_FACTOR, _MIN_DEVIATIONS = 3.0, 5.0  # from the median rate of characters, both must be exceeded
_MIN_ROWS = 20  # for a median rate
_EDGE_CHARACTERS = 8  # added to each text: short ones have relatively long pauses around them

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass
class ManifestGroup:
    """The rows of one direction and split. `seconds_N` and `characters_N` are NaN where unknown."""

    direction: str
    split: str
    ids: pa.Array
    texts: pa.Array  # by which duplicates are found: source texts if there are any, else target texts
    seconds_N: Floats
    characters_N: Floats
    errors: int
    speakers: int
    suspicious: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def rates(self) -> Floats:
        """Characters of the target text per second, (N,), NaN where unknown."""
        seconds_N = np.where(self.seconds_N > 0, self.seconds_N, np.nan)
        return self.characters_N / seconds_N

    def suspect(self, reason: str, mask_N: Mask) -> None:
        """Count the rows of a mask as suspicious."""
        rows = np.flatnonzero(mask_N)
        if len(rows):
            first = self.ids.take(pa.array(rows[:_LISTED])).to_pylist()
            self.suspicious[reason] = {"count": len(rows), "first": first}

    def report(self) -> dict[str, Any]:
        """Return the statistics as JSON values."""
        return {
            "direction": self.direction,
            "split": self.split,
            "clips": len(self.ids),
            "hours": round(float(np.nansum(self.seconds_N)) / 3600, 4),
            "errors": self.errors,
            "speakers": self.speakers,
            "distinct_texts": pc.count_distinct(self.texts).as_py(),
            "seconds": quantiles(self.seconds_N),
            "characters": quantiles(self.characters_N),
            "characters_per_second": quantiles(self.rates),
            "suspicious": self.suspicious,
        }


def quantiles(values_N: Floats) -> dict[str, float] | None:
    """Return the quantiles of the known values, by their percentage; None if there are none."""
    known_N = values_N[np.isfinite(values_N)]
    if not len(known_N):
        return None
    values = np.quantile(known_N, QUANTILES)
    return {f"{quantile:.0%}": round(float(value), 3) for quantile, value in zip(QUANTILES, values, strict=True)}


def manifest_groups(paths: Sequence[Path], *, check_audio: bool = False, workers: int = 1) -> list[ManifestGroup]:
    """Return the rows of manifests by direction and split, with their suspicious rows.

    With `check_audio`, all clips are decoded to find silent and unreadable ones. Rows without a split belong to one
    with the name of their file. VoxlateError if a manifest cannot be read.
    """
    parts: dict[tuple[str, str], list[ManifestGroup]] = {}
    for path in dict.fromkeys(paths):
        manifest = read_manifest(path, need=(), check_audio=False, recordings=True)
        silent = find_silent(manifest, workers) if check_audio else {}
        for group in _groups(manifest, silent):
            parts.setdefault((group.direction, group.split), []).append(group)
    groups = [_merge(same) for same in parts.values()]
    for group in groups:
        _find_wrong_lengths(group)
    _find_duplicates(groups)
    return groups


def _groups(manifest: Manifest, silent: dict[str, Mask]) -> Iterator[ManifestGroup]:
    """Yield the groups of one manifest. `silent` maps reasons to masks of its rows."""
    names = [manifest.arrow_column(name) for name in ("source_language", "target_language", "split")]
    languages = [pc.fill_null(column, _UNKNOWN) for column in names[:2]]
    split = pc.fill_null(names[2], manifest.path.stem)
    labels = pc.binary_join_element_wise(*languages, split, "\t").combine_chunks().dictionary_encode()
    codes_N = labels.indices.to_numpy()
    texts = {name: manifest.arrow_column(name) for name in ("source_text", "target_text")}
    compared = texts["source_text" if texts["source_text"].null_count < len(manifest) else "target_text"]
    characters_N = pc.cast(pc.utf8_length(pc.utf8_trim_whitespace(texts["target_text"])), pa.float64()).to_numpy(
        zero_copy_only=False
    )
    has_error_N = pc.is_valid(manifest.arrow_column("error")).to_numpy(zero_copy_only=False)
    has_text_N = (pc.is_valid(texts["target_text"])).to_numpy(zero_copy_only=False)
    is_recording_N = pc.is_valid(manifest.arrow_column("target_sentences")).to_numpy(zero_copy_only=False)
    seconds_N, ids, speakers = manifest.column("seconds"), manifest.arrow_column("id"), manifest.arrow_column("speaker")
    for code, label in enumerate(labels.dictionary.to_pylist()):
        mask_N = codes_N == code
        rows = pa.array(np.flatnonzero(mask_N))
        source, target, name = label.split("\t", 2)
        codes = [language if language == _UNKNOWN else find_language(language).code for language in (source, target)]
        group = ManifestGroup(
            "-".join(codes),
            name,
            ids.take(rows),
            compared.take(rows),
            seconds_N[mask_N],
            characters_N[mask_N],
            int(has_error_N[mask_N].sum()),
            pc.count_distinct(speakers.take(rows)).as_py(),
        )
        empty_N = (~has_text_N | (characters_N == 0)) & ~is_recording_N
        group.suspect("no target text", empty_N[mask_N])
        group.suspect("no duration", (np.isnan(seconds_N) & ~has_error_N)[mask_N])
        for reason, silent_N in silent.items():
            group.suspect(reason, silent_N[mask_N])
        yield group


def _merge(groups: list[ManifestGroup]) -> ManifestGroup:
    """Return groups of the same direction and split as one."""
    first = groups[0]
    for other in groups[1:]:
        first.ids = pa.chunked_array([*first.ids.chunks, *other.ids.chunks])
        first.texts = pa.chunked_array([*first.texts.chunks, *other.texts.chunks])
        first.seconds_N = np.concatenate([first.seconds_N, other.seconds_N])
        first.characters_N = np.concatenate([first.characters_N, other.characters_N])
        first.errors += other.errors
        first.speakers += other.speakers
        for reason, entry in other.suspicious.items():
            known = first.suspicious.setdefault(reason, {"count": 0, "first": []})
            known["count"] += entry["count"]
            known["first"] = [*known["first"], *entry["first"]][:_LISTED]
    return first


def _find_wrong_lengths(group: ManifestGroup) -> None:
    """Find rows whose characters per second are far from the median of their group, by its median deviation."""
    seconds_N = np.where((group.seconds_N > 0) & (group.characters_N > 0), group.seconds_N, np.nan)
    logs_N = np.log((group.characters_N + _EDGE_CHARACTERS) / seconds_N)
    known_N = np.isfinite(logs_N)
    if known_N.sum() < _MIN_ROWS:
        return
    deviations_N = logs_N - np.median(logs_N[known_N])
    spread = 1.4826 * float(np.median(np.abs(deviations_N[known_N])))  # the standard deviation of a normal distribution
    limit = max(np.log(_MIN_FACTOR), _MIN_DEVIATIONS * spread)
    group.suspect("too long for their text", known_N & (deviations_N < -limit))
    group.suspect("too short for their text", known_N & (deviations_N > limit))


def _find_duplicates(groups: list[ManifestGroup]) -> None:
    """Find texts that occur in several splits of a direction; they are counted outside train."""
    for group in groups:
        if group.split == "train":
            continue
        for other in groups:
            if (
                other is not group
                and other.direction == group.direction
                and (other.split, group.split) != ("test", "dev")
            ):
                shared = pc.and_(
                    pc.is_in(group.texts, value_set=other.texts.combine_chunks()), pc.is_valid(group.texts)
                )
                group.suspect(f"text also in {other.split}", shared.to_numpy(zero_copy_only=False))
