"""Print the effect of single options on BLEU, from the scores of ablations.sh.

    python recipes/demo/ablations.py scores/ablations

BLEU is the mean over seeds and directions. The change is relative to the same seeds of `base`, with a 95 % Student's t
interval.
"""

import argparse
import json
import math
import statistics
from pathlib import Path

# 97.5 % quantiles of Student's t distribution, by degrees of freedom.
_STUDENT_T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


def bleu(run: Path) -> float:
    """Return the mean BLEU over the directions of a run."""
    values: list[float] = [
        json.loads(path.read_text(encoding="utf-8"))["metrics"]["BLEU"]["value"]
        for path in sorted(run.glob("*/scores.json"))
    ]
    return sum(values) / len(values)


def table(folder: Path) -> str:
    """Return a Markdown table with one row per option. `folder` contains one run `OPTION-SEED` per option and seed."""
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
    changes = {name: [by_seed[seed] - base[seed] for seed in by_seed] for name, by_seed in scores.items()}
    for name, differences in sorted(changes.items(), key=lambda item: -statistics.mean(item[1])):
        change = f"{round(statistics.mean(differences), 1) + 0.0:+.1f}"  # + 0.0: no minus sign before zero
        if len(differences) > 1:
            half_width = _STUDENT_T[len(differences) - 1] * statistics.stdev(differences) / math.sqrt(len(differences))
            change += f" ± {half_width:.1f}"
        lines.append(f"| {name} | {statistics.mean(scores[name].values()):.1f} | {change} | {len(differences)} |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scores", type=Path)
    print(table(parser.parse_args().scores))


if __name__ == "__main__":
    main()
