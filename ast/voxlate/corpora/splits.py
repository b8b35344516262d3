"""From the rows of a corpus to its train, dev and test manifests, with a count of all that is left out.

Train loses what cannot be trained on. Dev and test lose nothing: a clip that cannot be read stays, as a row with its
error, since scores over fewer rows would not be those of the split.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from voxlate.corpora.clip_checks import Finding
from voxlate.corpora.preparation import add_drops, remove_parts
from voxlate.manifest.utterance import Utterance
from voxlate.manifest.writing import write_manifest

SPLITS = ("train", "dev", "test")
SPOKEN = "spoken_"  # begins the names of clips that `prepare spoken` made: they are not CoVoST-2's
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a corpus before its clip was looked at; `name` becomes part of its id, `clip` names its clip."""

    name: str
    clip: str
    split: str
    source_text: str | None
    target_text: str | None
    speaker: str | None


@dataclass
class Tally:
    """What became of a split's rows."""

    rows: int = 0
    errors: int = 0  # rows that are kept with one
    failed: int = 0  # clips that could not be read, whether their rows are kept or not
    seconds: list[float] = field(default_factory=list)
    left_out: dict[str, dict[str, Any]] = field(default_factory=dict)
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)

    def leave_out(self, reason: str, name: str) -> None:
        _count(self.left_out, reason, name)

    def keep(self, remark: str, name: str) -> None:
        _count(self.kept, remark, name)

    def report(self, official: int | None) -> dict[str, Any]:
        """Return the counts as they are written to drops.json."""
        hours = round(math.fsum(self.seconds) / 3600, 4)
        counts: dict[str, Any] = {"rows": self.rows, "hours": hours, "errors": self.errors, "failed": self.failed}
        if official is not None:
            counts |= {"official": official, "difference": self.rows - official}
        return {**counts, "left_out": self.left_out, "kept": self.kept}


def _count(counts: dict[str, dict[str, Any]], reason: str, name: str) -> None:
    entry = counts.setdefault(reason, {"count": 0, "first": []})
    entry["count"] += 1
    if len(entry["first"]) < _SHOWN:
        entry["first"].append(name)


class Tallies(dict[str, Tally]):
    """The tallies of all splits."""

    def __init__(self) -> None:
        super().__init__({split: Tally() for split in SPLITS})


@lru_cache(1)
def official_rows() -> dict[str, dict[str, int]]:
    """Return how many rows the splits of each pair of CoVoST-2 have."""
    with Path(__file__).with_name("covost2_splits.csv").open(encoding="utf-8") as file:
        next(file)  # names the source
        return {row.pop("pair"): {split: int(row[split]) for split in SPLITS} for row in csv.DictReader(file)}


def unique(rows: Iterable[Row], tallies: Tallies) -> list[Row]:
    """Take clips out of train that occur twice or are in dev or test; number the others' names."""
    rows = list(rows)
    held_out = {row.clip for row in rows if row.split != "train"}
    seen: dict[str, int] = {}
    result = []
    for row in rows:
        count = seen[row.name] = seen.get(row.name, 0) + 1
        if row.split == "train" and row.clip in held_out:
            tallies["train"].leave_out("its clip is in dev or test", row.clip)
            seen[row.name] -= 1
        elif row.split == "train" and count > 1:
            tallies["train"].leave_out("duplicate of an earlier row's path", row.clip)
        elif count > 1:
            tallies[row.split].keep("path is there more than once", row.clip)
            numbered = f"{row.name}#{count}"
            result.append(Row(numbered, row.clip, row.split, row.source_text, row.target_text, row.speaker))
        else:
            result.append(row)
    return result


def settle(utterance: Utterance, clip: str, found: Finding, error: str | None, tally: Tally) -> Utterance | None:
    """Give an utterance the seconds or the error of its clip, or another error; None where train loses it."""
    if found.error is not None:
        tally.failed += 1
        error = found.error
    if error is not None and utterance.split == "train":
        tally.leave_out(_reason(error), clip)
        return None
    if found.warning is not None:
        tally.keep(f"clip is {found.warning.split(':')[0]}", clip)
    if error is not None:
        tally.errors += 1
        tally.keep(_reason(error), clip)
    tally.rows += 1
    tally.seconds.append(found.seconds or 0.0)
    return replace(utterance, seconds=found.seconds, error=error)


def write_splits(
    folder: Path,
    pair: str,
    splits: Iterable[str],
    rows: list[Row],
    tallies: Tallies,
    finding: Callable[[str], Finding],
    audio: Callable[[str], Path],
    inputs: dict[str, Any],
) -> dict[str, Any]:
    """Write the manifests of a pair's splits and drops.json into its folder; return what drops.json holds."""
    source, target = pair.split("-")
    remove_parts(folder)

    def utterances(split: str) -> Iterator[Utterance]:
        for row in rows:
            if row.split == split:
                name, texts = f"{pair}/{row.name}", (row.source_text, row.target_text, row.speaker, split)
                utterance = Utterance(name, audio(row.clip), None, source, target, *texts)
                error = None if (row.target_text or "").strip() else "its translation is empty"
                settled = settle(utterance, row.clip, finding(row.clip), error, tallies[split])
                if settled is not None:
                    yield settled

    ours = bool(rows) and all(row.clip.startswith(SPOKEN) for row in rows)
    official = {} if ours else official_rows().get(pair, {})
    report = {}
    for split in splits:
        path = folder / f"{split}.jsonl"
        write_manifest(path, utterances(split))
        if not tallies[split].rows:
            path.unlink()  # an empty manifest is taken for a mistake
        report[split] = tallies[split].report(official.get(split))
    return add_drops(folder / "drops.json", pair, report, inputs)


def _reason(error: str) -> str:
    """Return the kind of an error, so that like ones are counted together."""
    kinds = {"no such file": "clip missing", "empty file": "clip of 0 bytes", "translation is empty": "no translation"}
    return next(
        (kind for text, kind in kinds.items() if error.endswith(text) or f"{text} (" in error), "clip unreadable"
    )
