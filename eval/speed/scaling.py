"""Measure time and memory of translation by number and length of files.

    python eval/speed/scaling.py MODEL [--counts 100 1000 10000] [--hours 2] [--short 5000] [--device cuda] [--keep]

Each run is a process of its own, `voxlate translate` into an empty folder; peak memory is its maximum resident set.
Use a small model, such as the demo's, to measure the costs that do not depend on the model. The inputs are folders with
`--counts` clips of random lengths, one file of `--hours`, and a folder of `--short` clips.
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

from speed.record import save_result
from speed.synthetic import clip_seconds, synthetic_speech, write_clip

_UNIQUE_CLIPS = 200  # further clips are hard links to these


def write_folder(folder: Path, count: int) -> float:
    """Write a folder of clips; return their total duration in seconds."""
    generator = np.random.default_rng(0)
    seconds_N = clip_seconds(min(count, _UNIQUE_CLIPS), generator)
    folder.mkdir(parents=True)
    for number in range(count):
        path, original = folder / f"{number:06}.flac", number % _UNIQUE_CLIPS
        if number < _UNIQUE_CLIPS:
            write_clip(path, synthetic_speech(seconds_N[original], 16_000, generator), 16_000)
        else:
            os.link(folder / f"{original:06}.flac", path)
    return float(sum(seconds_N[number % _UNIQUE_CLIPS] for number in range(count)))


def write_long(folder: Path, hours: float) -> float:
    """Write a folder with one long file, with a pause after each sentence; return its duration in seconds."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(1)
    parts = []
    for seconds in clip_seconds(60, generator).tolist():
        parts += [synthetic_speech(seconds, 16_000, generator), np.zeros(24_000, np.float32)]
    passage = np.concatenate(parts)
    repeats = max(1, round(hours * 3600 * 16_000 / len(passage)))
    write_clip(folder / "long.flac", np.tile(passage, repeats), 16_000)
    return repeats * len(passage) / 16_000


def measure(arguments: argparse.Namespace, source: Path, output: Path) -> tuple[float, float]:
    """Translate a folder; return seconds and peak memory in MiB."""
    command = [sys.executable, "-m", "voxlate", "translate", str(source), "--model", str(arguments.model)]
    command += ["--to", arguments.to, "--output-dir", str(output), "--max-length", "24"]
    command += ["--device", arguments.device]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"failed: {' '.join(command)}")
    shutil.rmtree(output)
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    """Write the files, translate them, and print the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--to", default="en")
    parser.add_argument("--counts", type=int, nargs="*", default=[100, 1000, 10_000])
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--short", type=int, default=5000)
    parser.add_argument("--device", default="cpu", help="memory is that of the process, not of a GPU")
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
            with ProcessPoolExecutor(1, get_context("spawn")) as apart:  # a child's peak memory starts at its parent's
                audio_seconds = apart.submit(make, folder, size).result()
            seconds, mebibytes = measure(arguments, folder, Path(temporary) / "output")
            shutil.rmtree(folder)
            rows.append(
                {"name": name, "files": count or 1, "sound": audio_seconds, "seconds": seconds, "peak_mib": mebibytes}
            )
            print(
                f"{name:22} {seconds:8.1f} s   {1000 * seconds / (count or 1):8.1f} ms per file   "
                f"{audio_seconds / seconds:6.1f} s of audio per second   {mebibytes:6.0f} MiB peak",
                flush=True,
            )
    save_result("scaling", arguments, {"runs": rows})


if __name__ == "__main__":
    main()
