"""Sentences for a report's page: the worst and some at random, with word-level differences and clips."""

import heapq
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from voxlate_eval.page_clips import Clips
from voxlate_eval.policy import CHARACTERS, tokenizers
from voxlate_eval.score_files import read_sentences
from voxlate_eval.tables import Run

_COMPARED = 1_000_000  # pairs of words, over which differences would take minutes
Parts = list[tuple[str, str]]  # an element's name ("" for none) and its text


@dataclass(frozen=True)
class Examples:
    """Sets of sentences, one for each run and direction, and what a reader should know of their choice."""

    sets: list[dict[str, Any]]
    note: str


def read_examples(runs: Sequence[Run], clips: Clips, count: int) -> Examples:
    """Read sentences of all runs, and add the clips that may be shown, those of the worst sentences first."""
    sets: list[dict[str, Any]] = []
    total = 0
    for run in runs:
        for direction, path in run.sentences.items():
            language = run.scores[direction]["target_language"]
            allowed = clips.allowed(run.scores[direction])
            rows = [_with_differences(row, language) | {"allowed": allowed} for row in _choose(path, count)]
            total += run.scores[direction]["n"]
            sets.append({"run": run.name if len(runs) > 1 else "", "direction": direction, "rows": rows})
    shown = sum(len(found["rows"]) for found in sets)
    for row in sorted((row for found in sets for row in found["rows"]), key=lambda row: float(row["chrF"])):
        source = clips.source(row.pop("audio", None), row.pop("allowed"))
        if source is not None:
            row["audio"] = source
    note = f"{shown:,} of {total:,}: of each direction the worst by chrF of the sentence, and as many at random."
    if shown == total:
        note = f"All {total:,}."
    if not sets:
        return Examples(sets, "None: voxlate evaluate writes them beside the scores.")
    return Examples(sets, " ".join([note, *clips.notes()]))


def as_script(sets: list[dict[str, Any]]) -> str:
    """Return JSON that may stand in a script element: no text of it can end that."""
    return json.dumps(sets, ensure_ascii=False).replace("<", "\\u003c")


def _choose(path: Path, count: int) -> list[dict[str, Any]]:
    """Return half of them the worst, half at random, in the file's order."""
    scores = [row["chrF"] for row in read_sentences(path)]
    worst = heapq.nsmallest((count + 1) // 2, range(len(scores)), key=scores.__getitem__)
    others = sorted({*range(len(scores))} - {*worst})
    chosen = {*worst, *random.Random(1).sample(others, min(count - len(worst), len(others)))}  # noqa: S311
    return [row for number, row in enumerate(read_sentences(path)) if number in chosen]


def _with_differences(row: dict[str, Any], language: str) -> dict[str, Any]:
    """Add both texts as parts: what only the reference has is deleted, what only the hypothesis has inserted."""
    joint = "" if tokenizers(language)[0] == CHARACTERS else " "
    reference, hypothesis = (
        list(row[name]) if joint == "" else row[name].split() for name in ("reference", "hypothesis")
    )
    of_reference: Parts = []
    of_hypothesis: Parts = []
    if len(reference) * len(hypothesis) > _COMPARED:
        return {**row, "of_reference": [("", row["reference"])], "of_hypothesis": [("", row["hypothesis"])]}
    for _, a, b, c, d in SequenceMatcher(None, reference, hypothesis, autojunk=False).get_opcodes():
        same = reference[a:b] == hypothesis[c:d]
        for parts, words, kind in ((of_reference, reference[a:b], "del"), (of_hypothesis, hypothesis[c:d], "ins")):
            if words:
                parts.extend([("", joint)] if parts and joint else [])
                parts.append(("" if same else kind, joint.join(words)))
    return {**row, "of_reference": of_reference, "of_hypothesis": of_hypothesis}
