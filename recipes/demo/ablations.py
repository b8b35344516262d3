"""Print what single options do, from the scores of ablations.sh: mean BLEU over seeds and directions, and the change.

    python recipes/demo/ablations.py scores/ablations

The interval of a change is Student's, of 95 %, over the differences to the same seed of `base`.
"""

import argparse
import json
import math
import statistics
from pathlib import Path

# Student's t for 97.5 %, by degrees of freedom.
_STUDENT = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


def bleu(run: Path) -> float:
    """Return the mean BLEU over the directions of a run."""
    values: list[float] = [
        json.loads(path.read_text(encoding="utf-8"))["metrics"]["BLEU"]["value"]
        for path in sorted(run.glob("*/scores.json"))
    ]
    return sum(values) / len(values)


def table(folder: Path) -> str:
    """Return the table as Markdown."""
    scores: dict[str, dict[str, float]] = {}
    for run in sorted(folder.iterdir()):
        name, _, seed = run.name.rpartition("-")
        scores.setdefault(name, {})[seed] = bleu(run)
    base = scores.pop("base")
    lines = [
        "| | BLEU | change | seeds |",
        "|---|---|---|---|",
        f"| base | {statistics.mean(base.values()):.1f} | | {len(base)} |",
    ]
    changes = {name: [found[seed] - base[seed] for seed in found] for name, found in scores.items()}
    for name, found in sorted(changes.items(), key=lambda item: -statistics.mean(item[1])):
        change = f"{round(statistics.mean(found), 1) + 0.0:+.1f}"  # no minus before nothing
        if len(found) > 1:
            width = _STUDENT[len(found) - 1] * statistics.stdev(found) / math.sqrt(len(found))
            change += f" ± {width:.1f}"
        lines.append(f"| {name} | {statistics.mean(scores[name].values()):.1f} | {change} | {len(found)} |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scores", type=Path)
    print(table(parser.parse_args().scores))


if __name__ == "__main__":
    main()
