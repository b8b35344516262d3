"""Compare translation speed of voxlate and transformers in seconds of audio per second, with the same weights.

    python eval/speed/translation.py MODEL [--clips 64] [--rounds 3] [--device cuda] [--keep]

MODEL is a folder, such as a random model of a published size from `build_full_size.py`. All sides translate the same
clips with the same maximum length. Each run is a process of its own, the sides alternate, and the results are medians
over rounds. Loading and a warm-up translation are not counted.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speed.record import median, save_result
from speed.synthetic import clip_seconds, write_clips

_HERE = Path(__file__).resolve().parent
CARD, TUNED = "transformers, as on its model card", "transformers, tuned"


def run(command: list[str]) -> dict[str, Any]:
    """Run one side; return the result that it prints as the last line."""
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if process.returncode:
        raise SystemExit(f"failed: {' '.join(command)}")
    result: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return result


def agreement(one: list[str], other: list[str]) -> float:
    """Return the share of texts that are identical."""
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)


def main() -> None:
    """Write clips, alternate between the sides, and print the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--to", default="de")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beam-size", type=int, default=5)
    parser.add_argument(
        "--max-length", type=int, default=20, help="maximum number of tokens; a random model rarely ends a hypothesis"
    )
    parser.add_argument("--batch-size", type=int, nargs="+", default=[8], help="batch sizes of tuned transformers")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--shortlist", action="store_true", help="also measure voxlate with the model's shortlist")
    parser.add_argument("--int8", action="store_true", help="also measure voxlate in int8, on a CPU")
    parser.add_argument(
        "--float32",
        action="store_true",
        help="also measure voxlate in float32, and compare the texts of all sides with it",
    )
    parser.add_argument("--sides", nargs="+", help="run only the sides whose names start with one of these")
    parser.add_argument("--keep", action="store_true", help="write results/translation.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        generator = np.random.default_rng(0)
        seconds_N = clip_seconds(arguments.clips, generator)
        clips = Path(temporary) / "clips"
        write_clips(clips, seconds_N, ".flac", 16_000, generator)
        options = [
            "--to",
            arguments.to,
            "--beam-size",
            str(arguments.beam_size),
            "--max-length",
            str(arguments.max_length),
            "--device",
            arguments.device,
        ]
        common = [str(arguments.model), str(clips), *options]
        voxlate = [sys.executable, str(_HERE / "translation_voxlate.py"), *common]
        transformers = [sys.executable, str(_HERE / "translation_transformers.py"), *common]
        sides = {"voxlate": voxlate, "voxlate, profiled": [*voxlate, "--profile"]}
        if arguments.shortlist:
            sides["voxlate, shortlist"] = [*voxlate, "--shortlist"]
        if arguments.int8:
            sides["voxlate, int8"] = [*voxlate, "--dtype", "int8"]
        if arguments.float32:
            sides["voxlate, float32"] = [*voxlate, "--dtype", "float32"]
        sides[CARD] = transformers
        sides |= {
            f"{TUNED}, {size}": [*transformers, "--tuned", "--batch-size", str(size)] for size in arguments.batch_size
        }
        if arguments.sides:
            sides = {name: sides[name] for name in sides if name.startswith(tuple(arguments.sides))}
        print(f"{arguments.clips} clips, {seconds_N.sum():.0f} s of audio", flush=True)
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
    save_result("translation", arguments, {"sound_seconds": float(seconds_N.sum()), "runs": results})


def show(results: dict[str, list[dict[str, Any]]]) -> None:
    """Print medians, ratios, and the time of each part of voxlate."""
    for name, runs in results.items():
        each = " ".join(f"{one['speed']:.2f}" for one in runs)
        own = {side: median(results[side], "speed") for side in ("voxlate", "voxlate, int8") if side in results}
        ratio = "".join(
            f"   {side} is {speed / median(runs, 'speed'):.2f} x" for side, speed in own.items() if side != name
        )
        print(f"{name:36} {median(runs, 'speed'):7.2f} s of audio per second ({each}){ratio}")
    for part in results.get("voxlate, profiled", [{"parts": {}}])[0]["parts"]:
        seconds = median([one["parts"] for one in results["voxlate, profiled"]], part)
        print(f"  {part:36} {seconds:7.2f} s of {median(results['voxlate, profiled'], 'seconds'):.2f}")


if __name__ == "__main__":
    main()
