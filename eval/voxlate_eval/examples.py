"""Example sentences for a report page: those of all runs side by side, with word-level differences and audio."""

import heapq
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from voxlate_eval.long_work import ProgressBar, no_progress
from voxlate_eval.page_clips import PageClips
from voxlate_eval.policy import CHARACTERS, tokenizers
from voxlate_eval.score_files import read_sentences
from voxlate_eval.tables import EvaluatedRun

_MAX_WORD_PAIRS = 1_000_000  # no differences are computed for longer texts, which would take minutes
MarkedText = list[tuple[str, str]]  # HTML element ("" for none) and its text
Key = tuple[str, str]  # id and reference


@dataclass(frozen=True)
class Examples:
    """Sets of sentences, one per direction, and a note on how they were selected."""

    sets: list[dict[str, Any]]
    note: str


def read_examples(
    runs: Sequence[EvaluatedRun], clips: PageClips, count: int, progress: ProgressBar = no_progress
) -> Examples:
    """Read sentences of all runs and add the clips that may be shown, starting with the worst sentences."""
    sets: list[dict[str, Any]] = []
    total = 0
    directions = dict.fromkeys(direction for run in runs for direction in run.sentences)
    with progress("directions whose sentences are read", len(directions)) as advance:
        for direction in directions:
            having = [run for run in runs if direction in run.sentences]
            rows, found = _select(direction, having, count)
            allowed = [folder for run in having for folder in clips.allowed(run.scores[direction])]
            total += found
            names = [run.name for run in having] if len(runs) > 1 else [""]
            sets.append({"direction": direction, "systems": names, "rows": rows, "allowed": allowed})
            advance(1)
    shown = sum(len(one["rows"]) for one in sets)
    places = [(row, one["allowed"]) for one in sets for row in one["rows"]]
    for row, allowed in sorted(places, key=lambda place: float(place[0]["chrF"])):
        source = clips.source(row.pop("audio", None), allowed)
        if source is not None:
            row["audio"] = source
    for one in sets:
        del one["allowed"]
    note = f"{shown:,} of {total:,}: for each direction, the worst by sentence chrF and as many at random."
    if shown == total:
        note = f"All {total:,}."
    if not sets:
        return Examples(sets, "None: voxlate evaluate and voxlate score --output write them next to the scores.")
    return Examples(sets, " ".join([note, *clips.notes()]))


def as_script(sets: list[dict[str, Any]]) -> str:
    """Return JSON that is safe inside a script element, which no text in it can close."""
    return json.dumps(sets, ensure_ascii=False).replace("<", "\\u003c")


def _select(direction: str, runs: Sequence[EvaluatedRun], count: int) -> tuple[list[dict[str, Any]], int]:
    """Return the worst sentences of a direction and as many random ones, and the number of all.

    The score of a sentence is the lowest of all runs. Sentences are in the order of the first run that has them.
    """
    worst_of: dict[Key, float] = {}
    for run in runs:
        for row in read_sentences(run.sentences[direction]):
            key = row["id"], row["reference"]
            worst_of[key] = min(row["chrF"], worst_of.get(key, row["chrF"]))
    keys = list(worst_of)
    worst = heapq.nsmallest((count + 1) // 2, range(len(keys)), key=lambda index: worst_of[keys[index]])
    others = sorted({*range(len(keys))} - {*worst})
    indices = {*worst, *random.Random(1).sample(others, min(count - len(worst), len(others)))}  # noqa: S311
    chosen: dict[Key, dict[str, Any]] = {keys[index]: {} for index in sorted(indices)}
    language = runs[0].scores[direction]["target_language"]
    for number, run in enumerate(runs):
        for row in read_sentences(run.sentences[direction]):
            merged = chosen.get((row["id"], row["reference"]))
            if merged is not None:
                _merge(merged, row, number, len(runs), language)
    return list(chosen.values()), len(keys)


def _merge(merged: dict[str, Any], row: dict[str, Any], number: int, count: int, language: str) -> None:
    """Add a run's row to the entry of its sentence."""
    if not merged:
        length = len(row["reference"] if _is_in_characters(language) else row["reference"].split())
        merged |= {"id": row["id"], "reference": row["reference"], "length": length, "outputs": [None] * count}
        merged["chrF"] = row["chrF"]
    for name in ("source", "seconds", "speaker", "audio"):
        if name in row:
            merged.setdefault(name, row[name])
    marked = _with_differences(row["reference"], row["hypothesis"], language)
    output = {"text": row["hypothesis"], "chrF": row["chrF"], "marked": marked[1], "of_reference": marked[0]}
    merged["outputs"][number] = output | ({"error": row["error"]} if "error" in row else {})
    merged["chrF"] = min(merged["chrF"], row["chrF"])


def _is_in_characters(language: str) -> bool:
    return tokenizers(language)[0] == CHARACTERS


def _with_differences(reference: str, hypothesis: str, language: str) -> tuple[MarkedText, MarkedText]:
    """Return both texts with marks: `del` for words only in the reference, `ins` for words only in the hypothesis."""
    separator = "" if _is_in_characters(language) else " "
    expected, found = (list(text) if separator == "" else text.split() for text in (reference, hypothesis))
    of_reference: MarkedText = []
    of_hypothesis: MarkedText = []
    if len(expected) * len(found) > _MAX_WORD_PAIRS:
        return [("", reference)], [("", hypothesis)]
    for _, a, b, c, d in SequenceMatcher(None, expected, found, autojunk=False).get_opcodes():
        same = expected[a:b] == found[c:d]
        for marked, words, element in ((of_reference, expected[a:b], "del"), (of_hypothesis, found[c:d], "ins")):
            if words:
                marked.extend([("", separator)] if marked and separator else [])
                marked.append(("" if same else element, separator.join(words)))
    return of_reference, of_hypothesis
