"""Example sentences for a report page: the worst and a random sample, with word-level differences and audio."""

import heapq
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from voxlate_eval.page_clips import PageClips
from voxlate_eval.policy import CHARACTERS, tokenizers
from voxlate_eval.score_files import read_sentences
from voxlate_eval.tables import EvaluatedRun

_MAX_WORD_PAIRS = 1_000_000  # no differences are computed for longer texts, which would take minutes
MarkedText = list[tuple[str, str]]  # HTML element ("" for none) and its text


@dataclass(frozen=True)
class Examples:
    """Sets of sentences, one per run and direction, and a note on how they were selected."""

    sets: list[dict[str, Any]]
    note: str


def read_examples(runs: Sequence[EvaluatedRun], clips: PageClips, count: int) -> Examples:
    """Read sentences of all runs and add the clips that may be shown, starting with the worst sentences."""
    sets: list[dict[str, Any]] = []
    total = 0
    for run in runs:
        for direction, path in run.sentences.items():
            language = run.scores[direction]["target_language"]
            allowed = clips.allowed(run.scores[direction])
            rows = [_with_differences(row, language) | {"allowed": allowed} for row in _select(path, count)]
            total += run.scores[direction]["n"]
            sets.append({"run": run.name if len(runs) > 1 else "", "direction": direction, "rows": rows})
    shown = sum(len(one["rows"]) for one in sets)
    for row in sorted((row for one in sets for row in one["rows"]), key=lambda row: float(row["chrF"])):
        source = clips.source(row.pop("audio", None), row.pop("allowed"))
        if source is not None:
            row["audio"] = source
    note = f"{shown:,} of {total:,}: for each direction, the worst by sentence chrF and as many at random."
    if shown == total:
        note = f"All {total:,}."
    if not sets:
        return Examples(sets, "None: voxlate evaluate writes them next to the scores.")
    return Examples(sets, " ".join([note, *clips.notes()]))


def as_script(sets: list[dict[str, Any]]) -> str:
    """Return JSON that is safe inside a script element, which no text in it can close."""
    return json.dumps(sets, ensure_ascii=False).replace("<", "\\u003c")


def _select(path: Path, count: int) -> list[dict[str, Any]]:
    """Return the worst rows and as many random ones, in the order of the file."""
    scores = [row["chrF"] for row in read_sentences(path)]
    worst = heapq.nsmallest((count + 1) // 2, range(len(scores)), key=scores.__getitem__)
    others = sorted({*range(len(scores))} - {*worst})
    chosen = {*worst, *random.Random(1).sample(others, min(count - len(worst), len(others)))}  # noqa: S311
    return [row for number, row in enumerate(read_sentences(path)) if number in chosen]


def _with_differences(row: dict[str, Any], language: str) -> dict[str, Any]:
    """Add both texts with marks: `del` for words only in the reference, `ins` for words only in the hypothesis."""
    separator = "" if tokenizers(language)[0] == CHARACTERS else " "
    reference, hypothesis = (
        list(row[name]) if separator == "" else row[name].split() for name in ("reference", "hypothesis")
    )
    of_reference: MarkedText = []
    of_hypothesis: MarkedText = []
    if len(reference) * len(hypothesis) > _MAX_WORD_PAIRS:
        return {**row, "of_reference": [("", row["reference"])], "of_hypothesis": [("", row["hypothesis"])]}
    for _, a, b, c, d in SequenceMatcher(None, reference, hypothesis, autojunk=False).get_opcodes():
        same = reference[a:b] == hypothesis[c:d]
        for marked, words, element in ((of_reference, reference[a:b], "del"), (of_hypothesis, hypothesis[c:d], "ins")):
            if words:
                marked.extend([("", separator)] if marked and separator else [])
                marked.append(("" if same else element, separator.join(words)))
    return {**row, "of_reference": of_reference, "of_hypothesis": of_hypothesis}
