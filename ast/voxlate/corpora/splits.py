"""Write the train, dev and test manifests of a corpus, and count the rows that are left out.

Rows that cannot be used are left out of train. Dev and test keep all rows: a clip that cannot be read stays as a row
with an error, since scores over fewer rows would not be comparable.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from voxlate.corpora.clip_checks import ClipResult
from voxlate.corpora.preparation import add_drops, remove_parts
from voxlate.manifest.utterance import Utterance
from voxlate.manifest.writing import write_manifest

SPLITS = ("train", "dev", "test")
SPOKEN = "spoken_"  # prefix of clips from `prepare spoken`, which are not part of CoVoST-2
_LISTED_NAMES = 20


@dataclass(frozen=True, slots=True)
class CorpusRow:
    """One row of a corpus before its clip is checked. `name` becomes part of its id, `clip` names its clip."""

    name: str
    clip: str
    split: str
    source_text: str | None
    target_text: str | None
    speaker: str | None


@dataclass
class SplitTally:
    """Counts of the rows of a split. `left_out` and `kept` map reasons to a count and the first names."""

    rows: int = 0
    errors: int = 0  # rows kept with an error
    failed: int = 0  # unreadable clips, whether or not their rows are kept
    seconds: list[float] = field(default_factory=list)
    left_out: dict[str, dict[str, Any]] = field(default_factory=dict)
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)

    def leave_out(self, reason: str, name: str) -> None:
        """Count a row that is left out."""
        _count(self.left_out, reason, name)

    def keep(self, remark: str, name: str) -> None:
        """Count a row that is kept with a remark."""
        _count(self.kept, remark, name)

    def report(self, official: int | None) -> dict[str, Any]:
        """Return the counts in the form of drops.json."""
        hours = round(math.fsum(self.seconds) / 3600, 4)
        counts: dict[str, Any] = {"rows": self.rows, "hours": hours, "errors": self.errors, "failed": self.failed}
        if official is not None:
            counts |= {"official": official, "difference": self.rows - official}
        return {**counts, "left_out": self.left_out, "kept": self.kept}


def _count(counts: dict[str, dict[str, Any]], reason: str, name: str) -> None:
    entry = counts.setdefault(reason, {"count": 0, "first": []})
    entry["count"] += 1
    if len(entry["first"]) < _LISTED_NAMES:
        entry["first"].append(name)


class SplitTallies(dict[str, SplitTally]):
    """The counts of all splits, by name."""

    def __init__(self) -> None:
        super().__init__({split: SplitTally() for split in SPLITS})


@lru_cache(1)
def official_rows() -> dict[str, dict[str, int]]:
    """Return the official number of rows in each split of each pair of CoVoST-2."""
    with Path(__file__).with_name("covost2_splits.csv").open(encoding="utf-8") as file:
        next(file)  # a comment with the source
        return {row.pop("pair"): {split: int(row[split]) for split in SPLITS} for row in csv.DictReader(file)}


def drop_duplicates(rows: Iterable[CorpusRow], tallies: SplitTallies) -> list[CorpusRow]:
    """Drop train rows whose clips are repeated or also in dev or test; number repeated names in dev and test."""
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
            tallies[row.split].keep("path occurs more than once", row.clip)
            numbered = f"{row.name}#{count}"
            result.append(CorpusRow(numbered, row.clip, row.split, row.source_text, row.target_text, row.speaker))
        else:
            result.append(row)
    return result


def apply_clip_result(
    utterance: Utterance, clip: str, result: ClipResult, error: str | None, tally: SplitTally
) -> Utterance | None:
    """Return an utterance with the duration or error of its clip, or with `error`; None if it is left out of train."""
    if result.error is not None:
        tally.failed += 1
        error = result.error
    if error is not None and utterance.split == "train":
        tally.leave_out(_reason(error), clip)
        return None
    if result.warning is not None:
        tally.keep(f"clip is {result.warning.split(':')[0]}", clip)
    if error is not None:
        tally.errors += 1
        tally.keep(_reason(error), clip)
    tally.rows += 1
    tally.seconds.append(result.seconds or 0.0)
    return replace(utterance, seconds=result.seconds, error=error)


def write_splits(
    folder: Path,
    pair: str,
    splits: Iterable[str],
    rows: list[CorpusRow],
    tallies: SplitTallies,
    clip_result: Callable[[str], ClipResult],
    audio: Callable[[str], Path],
    inputs: dict[str, Any],
) -> dict[str, Any]:
    """Write the manifests of a pair's splits and drops.json to its folder; return the contents of drops.json."""
    source, target = pair.split("-")
    remove_parts(folder)

    def utterances(split: str) -> Iterator[Utterance]:
        for row in rows:
            if row.split == split:
                name, texts = f"{pair}/{row.name}", (row.source_text, row.target_text, row.speaker, split)
                utterance = Utterance(name, audio(row.clip), None, source, target, *texts)
                error = None if (row.target_text or "").strip() else "its translation is empty"
                checked = apply_clip_result(utterance, row.clip, clip_result(row.clip), error, tallies[split])
                if checked is not None:
                    yield checked

    is_synthetic = bool(rows) and all(row.clip.startswith(SPOKEN) for row in rows)
    official = {} if is_synthetic else official_rows().get(pair, {})
    report = {}
    for split in splits:
        path = folder / f"{split}.jsonl"
        write_manifest(path, utterances(split))
        if not tallies[split].rows:
            path.unlink()  # reading an empty manifest is an error
        report[split] = tallies[split].report(official.get(split))
    return add_drops(folder / "drops.json", pair, report, inputs)


def _reason(error: str) -> str:
    """Return the reason under which an error is counted."""
    kinds = {"no such file": "clip missing", "empty file": "clip of 0 bytes", "translation is empty": "no translation"}
    return next(
        (kind for text, kind in kinds.items() if error.endswith(text) or f"{text} (" in error), "clip unreadable"
    )
