"""Measure how time and memory grow with the number and the length of files.

    python eval/speed/scaling.py MODEL [--counts 100 1000 10000] [--hours 2] [--short 5000] [--keep]

Each run is `voxlate translate` as a process of its own, into an empty folder; peak memory is its resident set. The
model should be small, such as the demo's: what is measured is what does not depend on it. First a folder of as many
clips of random lengths as `--counts` says, then one file of `--hours` beside `--short` clips.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from speed.record import keep
from speed.synthetic import clip_seconds, sound, write_clip

_DIFFERENT = 200  # clips that are made; more are links to them


def write_folder(folder: Path, count: int) -> float:
    """Make a folder of clips; return their seconds."""
    generator = np.random.default_rng(0)
    seconds_N = clip_seconds(min(count, _DIFFERENT), generator)
    folder.mkdir(parents=True)
    for number in range(count):
        path, kind = folder / f"{number:06}.flac", number % _DIFFERENT
        if number < _DIFFERENT:
            write_clip(path, sound(seconds_N[kind], 16_000, generator), 16_000)
        else:
            os.link(folder / f"{kind:06}.flac", path)
    return float(sum(seconds_N[number % _DIFFERENT] for number in range(count)))


def write_long(folder: Path, hours: float) -> float:
    """Make a folder of one long file, with a pause after each sentence; return its seconds."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(1)
    parts = []
    for seconds in clip_seconds(60, generator).tolist():
        parts += [sound(seconds, 16_000, generator), np.zeros(24_000, np.float32)]
    minutes = np.concatenate(parts)
    times = max(1, round(hours * 3600 * 16_000 / len(minutes)))
    write_clip(folder / "long.flac", np.tile(minutes, times), 16_000)
    return times * len(minutes) / 16_000


def measure(arguments: argparse.Namespace, source: Path, output: Path) -> tuple[float, float]:
    """Translate; return seconds and peak memory in MiB."""
    command = [sys.executable, "-m", "voxlate", "translate", str(source), "--model", str(arguments.model)]
    command += ["--to", arguments.to, "--output-dir", str(output), "--max-length", "24"]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"failed: {' '.join(command)}")
    shutil.rmtree(output)
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    """Parse the command line, make the files, translate them, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--to", default="en")
    parser.add_argument("--counts", type=int, nargs="*", default=[100, 1000, 10_000])
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--short", type=int, default=5000)
    parser.add_argument("--keep", action="store_true", help="write results/scaling.json")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        sources = [(f"{count} clips", count) for count in arguments.counts]
        for name, count in [
            *sources,
            (f"{arguments.hours:g} hours in one file", 0),
            (f"{arguments.short} clips", arguments.short),
        ]:
            folder = Path(temporary) / "source"
            make, size = (write_folder, count) if count else (write_long, arguments.hours)
            with ProcessPoolExecutor(1, get_context("spawn")) as apart:  # a child's peak begins with its parent's
                sound_seconds = apart.submit(make, folder, size).result()
            seconds, mebibytes = measure(arguments, folder, Path(temporary) / "output")
            shutil.rmtree(folder)
            rows.append(
                {"name": name, "files": count or 1, "sound": sound_seconds, "seconds": seconds, "peak_mib": mebibytes}
            )
            print(
                f"{name:22} {seconds:8.1f} s   {1000 * seconds / (count or 1):8.1f} ms a file   "
                f"{sound_seconds / seconds:6.1f} s of sound a second   {mebibytes:6.0f} MiB at the peak",
                flush=True,
            )
    keep("scaling", arguments, {"runs": rows})


if __name__ == "__main__":
    main()
