"""Translate test manifests with a model; write hypotheses.jsonl, scores.json and a table of BLEU and chrF.

python recipes/demo/score.py run/best test/*/test.jsonl --output scores/test
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, cast

from voxlate import Translator
from voxlate.decoding.search import SearchOptions
from voxlate.errors import AudioError
from voxlate.files import write_text
from voxlate.manifest import read_manifest
from voxlate_eval.metrics.bleu import corpus_bleu
from voxlate_eval.metrics.chrf import corpus_chrf


def translate(translator: Translator, path: Path, beam: int) -> list[dict[str, Any]]:
    """Return a line for each row of a manifest; one that cannot be read has an empty hypothesis and its error."""
    rows = list(read_manifest(path))
    options = SearchOptions(beam=beam, max_length=100, max_repeats=4)
    texts, errors = [""] * len(rows), [""] * len(rows)
    targets = [row.target_language or "" for row in rows]
    for index, result in translator.stream([cast("Path", row.audio) for row in rows], to=targets, options=options):
        if isinstance(result, AudioError):
            errors[index] = str(result)
        else:
            texts[index] = result.text
    return [
        {"id": row.id, "text": text, "reference": row.target_text, "source": row.source_text}
        | ({"error": error} if error else {})
        for row, text, error in zip(rows, texts, errors, strict=True)
    ]


def main() -> None:
    """Score every manifest as a direction of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("manifests", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True, help="folder for hypotheses and scores")
    parser.add_argument("--beam", type=int, default=5)
    arguments = parser.parse_args()
    translator = Translator(arguments.model, dtype="float32")
    directions = [path.parent.name for path in arguments.manifests]
    scores: dict[str, Any] = {}
    for path, direction in zip(arguments.manifests, directions, strict=True):
        lines = translate(translator, path, arguments.beam)
        hypotheses, references = [line["text"] for line in lines], [line["reference"] for line in lines]
        bleu, chrf = corpus_bleu(hypotheses, references, direction.split("-")[1]), corpus_chrf(hypotheses, references)
        exact = sum(line["text"] == line["reference"] for line in lines)
        scores[direction] = {"bleu": bleu.value, "chrf": chrf.value, "n": bleu.n, "exact": exact}
        scores["signatures"] = {"bleu": bleu.signature, "chrf": chrf.signature}
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_text(arguments.output / f"{direction}.jsonl", text)
        print(f"{direction}  BLEU {bleu.value:5.1f}  chrF {chrf.value:5.1f}  {exact:,} of {bleu.n:,} exact", flush=True)
    scores["recipe"] = translator.recipe(SearchOptions(beam=arguments.beam, max_length=100, max_repeats=4))
    write_text(arguments.output / "scores.json", json.dumps(scores, indent=1) + "\n")
    for name, into_english in (("x-en", True), ("en-x", False)):
        values = [scores[direction]["bleu"] for direction in directions if direction.endswith("-en") is into_english]
        if values:
            print(f"{name}  BLEU {sum(values) / len(values):5.1f}  mean of {len(values)} directions")
    print(scores["signatures"]["bleu"], scores["signatures"]["chrf"], sep="\n", file=sys.stderr)


if __name__ == "__main__":
    main()
