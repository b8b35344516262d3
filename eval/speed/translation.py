"""Measure translation in seconds of sound per second: voxlate beside transformers, same weights, clips and lengths.

    python eval/speed/translation.py MODEL [--clips 64] [--rounds 3] [--keep]

MODEL is a folder, such as a random one of the published size by `build_full_size.py`. Each run is a process of its own,
the sides take turns, and what is printed are medians over rounds. Loading and a first translation are left out.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from speed.record import keep, median
from speed.synthetic import clip_seconds, write_clips

_HERE = Path(__file__).resolve().parent
CARD, TUNED = "transformers, as its card has it", "transformers, tuned"


def run(command: list[str]) -> dict[str, Any]:
    """Run one side to its end; return what it printed last."""
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if process.returncode:
        raise SystemExit(f"failed: {' '.join(command)}")
    result: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return result


def agreement(one: list[str], other: list[str]) -> float:
    """Return the share of texts that are the same."""
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)


def main() -> None:
    """Parse the command line, make clips, run the sides in turn, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--to", default="de")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--max-length", type=int, default=20, help="tokens; a random model rarely ends by itself")
    parser.add_argument("--batch-size", type=int, nargs="+", default=[8], help="of transformers' tuned setting")
    parser.add_argument("--shortlist", action="store_true", help="measure voxlate with the model's shortlist, too")
    parser.add_argument("--float32", action="store_true", help="measure voxlate in float32, too, and compare texts")
    parser.add_argument("--sides", nargs="+", help="only those whose names begin like this")
    parser.add_argument("--keep", action="store_true", help="write results/translation.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        generator = np.random.default_rng(0)
        seconds_N = clip_seconds(arguments.clips, generator)
        clips = Path(temporary) / "clips"
        write_clips(clips, seconds_N, ".flac", 16_000, generator)
        asked = ["--to", arguments.to, "--beam", str(arguments.beam), "--max-length", str(arguments.max_length)]
        places = [str(arguments.model), str(clips), *asked]
        ours = [sys.executable, str(_HERE / "translation_ours.py"), *places]
        theirs = [sys.executable, str(_HERE / "translation_transformers.py"), *places]
        sides = {"voxlate": ours, "voxlate, profiled": [*ours, "--profile"]}
        if arguments.shortlist:
            sides["voxlate, shortlist"] = [*ours, "--shortlist"]
        if arguments.float32:
            sides["voxlate, float32"] = [*ours, "--dtype", "float32"]
        sides[CARD] = theirs
        sides |= {f"{TUNED}, {size}": [*theirs, "--tuned", "--batch-size", str(size)] for size in arguments.batch_size}
        if arguments.sides:
            sides = {name: sides[name] for name in sides if name.startswith(tuple(arguments.sides))}
        print(f"{arguments.clips} clips, {seconds_N.sum():.0f} s of sound", flush=True)
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
        for _ in range(arguments.rounds):
            for name, command in sides.items():
                results[name].append(run(command))
                print(f"  {name}: {results[name][-1]['seconds']:.2f} s", file=sys.stderr, flush=True)
    show(results)
    texts = {name: runs[0].pop("texts") for name, runs in results.items()}
    for runs in results.values():
        for one in runs[1:]:
            one.pop("texts")
    for name, own in texts.items():
        if "voxlate, float32" in texts and name != "voxlate, float32":
            print(f"same texts as voxlate, float32: {agreement(texts['voxlate, float32'], own):4.0%} {name}")
    keep("translation", arguments, {"sound_seconds": float(seconds_N.sum()), "runs": results})


def show(results: dict[str, list[dict[str, Any]]]) -> None:
    """Print medians, ratios, and where our time goes."""
    for name, runs in results.items():
        each = " ".join(f"{one['speed']:.2f}" for one in runs)
        ratio = ""
        if name.startswith("transformers") and "voxlate" in results:
            ratio = f"   voxlate is {median(results['voxlate'], 'speed') / median(runs, 'speed'):.2f} x"
        print(f"{name:36} {median(runs, 'speed'):7.2f} s of sound a second ({each}){ratio}")
    for part in results.get("voxlate, profiled", [{"parts": {}}])[0]["parts"]:
        seconds = median([one["parts"] for one in results["voxlate, profiled"]], part)
        print(f"  {part:36} {seconds:7.2f} s of {median(results['voxlate, profiled'], 'seconds'):.2f}")


if __name__ == "__main__":
    main()
