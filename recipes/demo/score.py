"""Translate the demo's test sets with a model: hypotheses, scores.json, and a table of BLEU and chrF.

    python recipes/demo/score.py run/best test test-voices --output scores

A test set is a folder of DIRECTION/test.jsonl.
"""

import argparse
import json
from pathlib import Path
from typing import Any, cast

from voxlate import Translator
from voxlate.decoding.search import SearchOptions
from voxlate.errors import AudioError
from voxlate.files import write_text
from voxlate.manifest import read_manifest
from voxlate_eval.metrics.bleu import corpus_bleu
from voxlate_eval.metrics.chrf import corpus_chrf

Scores = dict[str, Any]  # set -> direction -> bleu, chrf, n, exact; and what they depend on
OPTIONS = SearchOptions(beam=5, max_length=100, max_repeats=4)


def translate(translator: Translator, path: Path) -> list[dict[str, Any]]:
    """Return a line for each row of a manifest; one that cannot be read has an empty hypothesis and its error."""
    rows = list(read_manifest(path))
    texts, errors = [""] * len(rows), [""] * len(rows)
    targets = [row.target_language or "" for row in rows]
    clips = [cast("Path", row.audio) for row in rows]
    for index, result in translator.stream(clips, to=targets, options=OPTIONS):
        if isinstance(result, AudioError):
            errors[index] = str(result)
        else:
            texts[index] = result.text
    return [
        {"id": row.id, "text": text, "reference": row.target_text, "source": row.source_text}
        | ({"error": error} if error else {})
        for row, text, error in zip(rows, texts, errors, strict=True)
    ]


def score(lines: list[dict[str, Any]], direction: str) -> dict[str, Any]:
    """Return BLEU and chrF of a direction with their signatures."""
    hypotheses, references = [line["text"] for line in lines], [line["reference"] for line in lines]
    bleu, chrf = corpus_bleu(hypotheses, references, direction.split("-")[1]), corpus_chrf(hypotheses, references)
    return {
        "bleu": round(bleu.value, 2),
        "chrf": round(chrf.value, 2),
        "n": bleu.n,
        "exact": sum(hypothesis == reference for hypothesis, reference in zip(hypotheses, references, strict=True)),
        "signatures": {"bleu": bleu.signature, "chrf": chrf.signature},
    }


def table(scores: Scores) -> str:
    """Return BLEU / chrF of all sets as Markdown: a row for each direction and for the mean of each group."""
    sets = scores["sets"]
    directions = list(next(iter(sets.values())))
    rows = [["direction", *sets], ["---", *["---:"] * len(sets)]]
    for title, group in (
        ("**X→en**", [direction for direction in directions if direction.endswith("-en")]),
        ("**en→X**", [direction for direction in directions if not direction.endswith("-en")]),
    ):
        for direction in group:
            cells = (f"{found[direction]['bleu']:.1f} / {found[direction]['chrf']:.1f}" for found in sets.values())
            rows.append([direction.replace("-", "→"), *cells])
        if group:
            means = [
                [sum(found[direction][metric] for direction in group) / len(group) for metric in ("bleu", "chrf")]
                for found in sets.values()
            ]
            rows.append([title, *(f"**{bleu:.1f} / {chrf:.1f}**" for bleu, chrf in means)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main() -> None:
    """Score every direction of every set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True, help="folder for hypotheses and scores")
    arguments = parser.parse_args()
    translator = Translator(arguments.model, dtype="float32")
    scores: Scores = {"sets": {}, "recipe": translator.recipe(OPTIONS)}
    for folder in arguments.sets:
        for path in sorted(folder.glob("*/test.jsonl"), key=lambda path: (not path.parent.name.endswith("-en"), path)):
            direction = path.parent.name
            lines = translate(translator, path)
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            write_text(arguments.output / folder.name / f"{direction}.jsonl", text)
            found = scores["sets"].setdefault(folder.name, {})[direction] = score(lines, direction)
            print(
                f"{folder.name} {direction}: BLEU {found['bleu']}, {found['exact']} of {found['n']} exact", flush=True
            )
    write_text(arguments.output / "scores.json", json.dumps(scores, indent=1) + "\n")
    print(f"BLEU / chrF\n\n{table(scores)}")


if __name__ == "__main__":
    main()
