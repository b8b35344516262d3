"""Copy the trained model into a folder, with a model card that has its scores on all test sets.

    python recipes/demo/card.py run/best scores --output model

`scores` contains one folder per test set, as `voxlate evaluate` writes it.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from safetensors import safe_open

from voxlate.checkpoints.segmenter_files import SEGMENTER_FILE, read_about
from voxlate.files import write_text

HERE = Path(__file__).resolve().parent
SETS = ("test", "test-babble", "test-voices", "test-voices-babble")
# "sets": set -> direction -> BLEU, chrF, n; "signatures": metric -> signatures; "recipe"; "segmenter": its training
Scores = dict[str, Any]


def collect(folder: Path) -> Scores:
    """Return the scores of all test sets, with the parts of their recipes that are common to all."""
    sets: dict[str, dict[str, Any]] = {}
    signatures: dict[str, set[str]] = {}
    recipes = []
    for name in SETS:
        for path in sorted((folder / name).glob("*/scores.json"), key=lambda path: _order(path.parent.name)):
            scores = json.loads(path.read_text(encoding="utf-8"))
            cells = sets.setdefault(name, {})[scores["direction"]] = {"n": scores["n"]}
            for metric in ("BLEU", "chrF"):
                cells[metric] = round(scores["metrics"][metric]["value"], 2)
                signatures.setdefault(metric, set()).add(scores["metrics"][metric]["signature"])
            recipes.append(scores["recipe"])
    common = {key: value for key, value in recipes[0].items() if all(recipe.get(key) == value for recipe in recipes)}
    return {"sets": sets, "signatures": {name: sorted(found) for name, found in signatures.items()}, "recipe": common}


def _order(direction: str) -> tuple[bool, str]:
    return not direction.endswith("-en"), direction


def means(scores: Scores, metric: str = "BLEU") -> dict[str, dict[str, float]]:
    """Return the means over X→en and over en→X for each set."""
    return {
        name: {
            side: sum(found[direction][metric] for direction in group) / len(group)
            for side, group in _sides(found).items()
        }
        for name, found in scores["sets"].items()
    }


def _sides(directions: Any) -> dict[str, list[str]]:
    sides = {
        "X→en": [direction for direction in directions if direction.endswith("-en")],
        "en→X": [direction for direction in directions if direction.startswith("en-")],
    }
    return {side: group for side, group in sides.items() if group}


def table(scores: Scores) -> str:
    """Return a Markdown table of BLEU / chrF: one column per set, one row per direction and per mean of a side."""
    sets = scores["sets"]
    bleu, chrf = means(scores), means(scores, "chrF")
    rows = [["direction", *sets], ["---", *["---:"] * len(sets)]]
    for side, group in _sides(next(iter(sets.values()))).items():
        for direction in group:
            cells = (f"{found[direction]['BLEU']:.1f} / {found[direction]['chrF']:.1f}" for found in sets.values())
            rows.append([direction.replace("-", "→"), *cells])
        rows.append([f"**{side}**", *(f"**{bleu[name][side]:.1f} / {chrf[name][side]:.1f}**" for name in sets)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def boundary_table(segmenter: dict[str, Any]) -> str:
    """Return a Markdown table of the precision and recall of sentence boundaries, from the head's own description."""
    percent = {name: f"{100 * value:.1f} %" for name, value in segmenter["scores"].items()}
    rows = [["", *percent], ["---", *["---:"] * len(percent)], ["held-out clips, joined", *percent.values()]]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def card(scores: Scores, millions: float) -> str:
    """Return the model card: card.md with its placeholders filled in. `millions` is the number of parameters."""
    signatures = "".join(
        f"- {metric}: `{signature}`\n" for metric, found in scores["signatures"].items() for signature in found
    )
    count = next(iter(next(iter(scores["sets"].values())).values()))["n"]
    text = (HERE / "card.md").read_text(encoding="utf-8")
    segmenter = scores["segmenter"]
    for name, value in (
        ("table", table(scores)),
        ("signatures", signatures),
        ("n", f"{count:,}"),
        ("boundaries", boundary_table(segmenter)),
        ("layers", str(segmenter["layers"])),
        ("hours", f"{segmenter['hours']:g}"),
    ):
        text = text.replace(f"{{{name}}}", value.rstrip("\n"))
    return text.replace("{millions}", f"{millions:.1f}")


def main() -> None:
    """Copy the model, and write scores.json and README.md next to it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("scores", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="folder for the model and its card")
    arguments = parser.parse_args()
    shutil.copytree(arguments.model, arguments.output, dirs_exist_ok=True)
    with safe_open(arguments.output / "model.safetensors", "np") as weights:
        count = sum(weights.get_tensor(name).size for name in weights.keys())  # noqa: SIM118 (not a dict)
    scores = collect(arguments.scores) | {"segmenter": read_about(arguments.output / SEGMENTER_FILE)}
    write_text(arguments.output / "scores.json", json.dumps(scores, indent=1, ensure_ascii=False) + "\n")
    write_text(arguments.output / "README.md", card(scores, count / 1e6))
    print(table(scores))


if __name__ == "__main__":
    main()
