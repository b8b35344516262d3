"""Sentences for a report's page: the worst and some at random, with word-level differences and clips."""

import base64
import heapq
import json
import mimetypes
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any
from urllib.parse import quote

from voxlate_eval.policy import CHARACTERS, tokenizers
from voxlate_eval.tables import Run

Parts = list[tuple[str, str]]  # an element's name ("" for none) and its text


@dataclass(frozen=True)
class Examples:
    """Sets of sentences, one for each run and direction, and what a reader should know of their choice."""

    sets: list[dict[str, Any]]
    note: str


def read_examples(runs: Sequence[Run], output: Path | None, count: int, embed_bytes: int) -> Examples:
    """Read sentences of all runs; clips go into them as data up to `embed_bytes`, then as links from `output`."""
    sets, total = [], 0
    for run in runs:
        for direction, path in run.sentences.items():
            language = run.scores[direction]["target_language"]
            rows = [_with_differences(row, language) for row in _choose(path, count)]
            total += run.scores[direction]["n"]
            sets.append({"run": run.name if len(runs) > 1 else "", "direction": direction, "rows": rows})
    shown = sum(len(found["rows"]) for found in sets)
    linked = _add_clips(sets, output, embed_bytes)
    note = f"{shown:,} of {total:,}: of each direction the worst by chrF of the sentence, and as many at random."
    if shown == total:
        note = f"All {total:,}."
    if linked:
        note += f" {linked:,} clips are links to where they were; they play while they are there."
    return Examples(sets, note if sets else "None: voxlate evaluate writes them beside the scores.")


def as_script(sets: list[dict[str, Any]]) -> str:
    """Return JSON that may stand in a script element: no text of it can end that."""
    return json.dumps(sets, ensure_ascii=False).replace("<", "\\u003c")


def _choose(path: Path, count: int) -> list[dict[str, Any]]:
    """Return half of them the worst, half at random, in the file's order."""
    with path.open(encoding="utf-8") as file:
        scores = [json.loads(line)["chrF"] for line in file]
    worst = heapq.nsmallest((count + 1) // 2, range(len(scores)), key=scores.__getitem__)
    others = sorted({*range(len(scores))} - {*worst})
    chosen = {*worst, *random.Random(1).sample(others, min(count - len(worst), len(others)))}  # noqa: S311
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for number, line in enumerate(file) if number in chosen]


def _with_differences(row: dict[str, Any], language: str) -> dict[str, Any]:
    """Add both texts as parts: what only the reference has is deleted, what only the hypothesis has inserted."""
    joint = "" if tokenizers(language)[0] == CHARACTERS else " "
    reference, hypothesis = (
        list(row[name]) if joint == "" else row[name].split() for name in ("reference", "hypothesis")
    )
    of_reference: Parts = []
    of_hypothesis: Parts = []
    for _, a, b, c, d in SequenceMatcher(None, reference, hypothesis, autojunk=False).get_opcodes():
        same = reference[a:b] == hypothesis[c:d]
        for parts, words, kind in ((of_reference, reference[a:b], "del"), (of_hypothesis, hypothesis[c:d], "ins")):
            if words:
                parts.extend([("", joint)] if parts and joint else [])
                parts.append(("" if same else kind, joint.join(words)))
    return {**row, "of_reference": of_reference, "of_hypothesis": of_hypothesis}


def _add_clips(sets: list[dict[str, Any]], output: Path | None, embed_bytes: int) -> int:
    """Put clips into the rows, the worst sentences first; return how many became links."""
    linked = 0
    for row in _worst_first(sets):
        path = Path(row.pop("audio"))
        try:
            size = path.stat().st_size
        except OSError:
            continue
        if size <= embed_bytes:
            embed_bytes -= size
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            row["audio"] = f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
        elif output is not None:
            linked += 1
            row["audio"] = quote(Path(os.path.relpath(path, output)).as_posix())
    return linked


def _worst_first(sets: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    rows = [row for found in sets for row in found["rows"] if row.get("audio")]
    yield from sorted(rows, key=lambda row: float(row["chrF"]))
