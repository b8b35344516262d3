"""Run folders in the format of `voxlate evaluate`, with synthetic hypotheses."""

import json
import random
from pathlib import Path
from typing import Any

from voxlate.evaluation.scoring import Scoring, evaluate_folder
from voxlate_eval.records import Hypotheses, HypothesisRow, ReferenceRow, References, join

ATTACK = "<script>window.hacked = true</script> & </script><img src=x onerror='window.hacked = true'>"
_WORDS = [
    "the",
    "train",
    "leaves",
    "at",
    "seven",
    "from",
    "platform",
    "two",
    "and",
    "my",
    "sister",
    "buys",
    "a",
    "coat",
    "for",
    "our",
    "neighbour",
]


def write_run(
    folder: Path, directions: list[str], *, rows: int = 30, errors: float = 0.3, audio: Path | None = None
) -> Path:
    """Write scores and sentences of synthetic hypotheses; the first of each direction is an injection attempt."""
    rng = random.Random(7)
    for direction in directions:
        source, target = direction.split("-")
        made, known = [], []
        for number in range(rows):
            words = rng.choices(_WORDS, k=rng.randint(3, 20))
            reference = "我七点坐火车去。" * rng.randint(1, 4) if target in ("zh", "ja") else " ".join(words)
            kept = [word for word in (list(reference) if target in ("zh", "ja") else words) if rng.random() > errors]
            text = ("" if target in ("zh", "ja") else " ").join(kept)
            made.append(HypothesisRow(f"{direction}/{number}", ATTACK if number == 0 else text))
            facts: dict[str, Any] = {"seconds": 1.0 + number % 9, "speaker": f"s{number % 3}", "split": "test"}
            clip = str(audio) if audio else None
            text = f"<b>{source}</b> {number}"
            known.append(ReferenceRow(f"{direction}/{number}", reference, text, source, target, audio=clip, **facts))
        meta = {"model": "made-up", "search_beam": 5, "direction": direction}
        records = join(Hypotheses(folder / "h", made, True, meta), References(folder / "r", known, True))
        (folder / direction).mkdir(parents=True, exist_ok=True)
        evaluate_folder(records, Scoring(samples=200), folder / direction)
    return folder


def edit_scores(folder: Path, direction: str, /, **changes: Any) -> None:
    """Overwrite entries of a run's scores for a direction."""
    path = folder / direction / "scores.json"
    found = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(found))
