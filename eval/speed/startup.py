"""Measure start-up as complete processes: `--help`, imports, and a first translation by voxlate and transformers.

    python eval/speed/startup.py MODEL CLIP [--to de] [--runs 5] [--device cuda] [--keep]

Files and bytecode are in the page cache. The first translation is limited to 4 tokens, so that loading dominates.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from speed.memory import TRANSFORMERS, measure
from speed.record import median, save_result


def main() -> None:
    """Run all commands repeatedly and print medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--to", default="de")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--keep", action="store_true", help="write results/startup.json")
    arguments = parser.parse_args()
    model, clip, python = str(arguments.model), str(arguments.clip), sys.executable
    translate = [
        python,
        "-m",
        "voxlate",
        "translate",
        clip,
        "--model",
        model,
        "--to",
        arguments.to,
        "--max-length",
        "4",
        "--device",
        arguments.device,
    ]
    sides = {
        "python -c pass": [python, "-c", "pass"],
        "voxlate --help": [python, "-m", "voxlate", "--help"],
        "import voxlate": [python, "-c", "import voxlate"],
        "import transformers and torch": [
            python,
            "-c",
            "import torch\nfrom transformers import SpeechEncoderDecoderModel",
        ],
        "first translation, float32": [*translate, "--dtype", "float32"],
        "first translation, auto": translate,
        "first translation by transformers": [
            python,
            "-c",
            TRANSFORMERS,
            model,
            clip,
            "4",
            arguments.to,
            arguments.device,
        ],
    }
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for number in range(arguments.runs + (arguments.runs > 1)):
        for name, command in sides.items():
            gibibytes, seconds = measure(command)
            if number or arguments.runs == 1:  # the first of several rounds is a warm-up
                results[name].append({"seconds": seconds, "peak_mib": 1024 * gibibytes})
    for name, runs in results.items():
        print(f"{name:36} {median(runs, 'seconds'):7.2f} s   {median(runs, 'peak_mib'):6.0f} MiB peak")
    save_result("startup", arguments, {"runs": results})


if __name__ == "__main__":
    main()
