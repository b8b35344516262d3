"""Measure whether the cost of an input stays flat: many short clips, one long file, and a large manifest.

    python eval/speed/scaling.py MODEL [--counts 1000 10000 100000] [--hours 3 24] [--rows 1000000] [--keep]

Use a small model, such as the demo's, and clips of half a second, to measure what does not depend on the model. Each
run is a process of its own, `voxlate translate` into an empty folder, and then again when all is done. Memory and file
descriptors are the largest sums over the process and its children, asked for several times a second.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]

from speed.manifest_scale import measure_manifest
from speed.record import save_result
from speed.synthetic import clip_seconds, synthetic_speech, write_clip

_UNIQUE_CLIPS = 200  # further clips are hard links to these
_PASSAGE_SENTENCES = 60  # after which a long file repeats
_POLL_SECONDS = 0.1


def write_folder(folder: Path, count: int, seconds: float) -> float:
    """Write a folder of clips of about `seconds`; return their total duration in seconds."""
    generator = np.random.default_rng(0)
    seconds_N = generator.uniform(0.7 * seconds, 1.3 * seconds, min(count, _UNIQUE_CLIPS))
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
    for seconds in clip_seconds(_PASSAGE_SENTENCES, generator).tolist():
        parts += [synthetic_speech(seconds, 16_000, generator), np.zeros(24_000, np.float32)]
    passage = np.concatenate(parts)
    repeats = max(1, round(hours * 3600 * 16_000 / len(passage)))
    # A view of the passage that repeats without a copy: 24 hours of samples are 5 GB.
    write_clip(folder / "long.flac", _Repeated(passage, repeats), 16_000)  # type: ignore[arg-type]
    return repeats * len(passage) / 16_000


class _Repeated:
    """A waveform that repeats, of which `write_clip` takes slices."""

    def __init__(self, passage_T: Any, repeats: int) -> None:
        self._passage_T, self._samples = passage_T, repeats * len(passage_T)

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, key: tuple[None, slice]) -> Any:
        start, stop, _ = key[1].indices(self._samples)
        return self._passage_T[None, np.arange(start, stop) % len(self._passage_T)]


def measure(command: list[str]) -> dict[str, float]:
    """Run a command; return its seconds, those of processors, peak memory in MiB and most file descriptors."""
    started = time.perf_counter()
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peaks = {"mebibytes": 0.0, "descriptors": 0.0}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_POLL_SECONDS):
            try:
                tree = [process, *process.children(recursive=True)]
                peaks["mebibytes"] = max(peaks["mebibytes"], sum(one.memory_info().rss for one in tree) / 2**20)
                peaks["descriptors"] = max(peaks["descriptors"], sum(one.num_fds() for one in tree))
            except psutil.Error:  # a process has ended
                continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    before = os.times()
    errors = process.stderr.read().decode()
    status = process.wait()
    after = os.times()
    ended.set()
    watcher.join()
    if status != 0:
        raise SystemExit(f"failed: {' '.join(command)}\n{errors[-2000:]}")
    computed = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": time.perf_counter() - started, "processor_seconds": computed, **peaks}


def translate(arguments: argparse.Namespace, source: Path, output: Path, options: list[str]) -> dict[str, Any]:
    """Translate a folder, and again; return the figures of both."""
    command = [sys.executable, "-m", "voxlate", "translate", str(source), "--model", str(arguments.model)]
    command += ["--to", arguments.to, "--output-dir", str(output), "--beam-size", "1", "--max-length", "8"]
    command += ["--device", arguments.device, *options]
    first, again = measure(command), measure(command)
    shutil.rmtree(output)
    return {**first, "rerun_seconds": again["seconds"], "rerun_mebibytes": again["mebibytes"]}


def in_another_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a new process, so that its memory does not count for what follows."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def main() -> None:
    """Write the files, translate them, and print the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--to", default="en")
    parser.add_argument("--counts", type=int, nargs="*", default=[1000, 10_000, 100_000])
    parser.add_argument("--clip-seconds", type=float, default=0.5)
    parser.add_argument("--hours", type=float, nargs="*", default=[3.0, 24.0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the manifest; 0 for none")
    parser.add_argument("--device", default="cpu", help="memory is that of the processes, not of a GPU")
    parser.add_argument("--keep", action="store_true", help="write results/scaling.json")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    manifest: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        source, output = Path(temporary) / "source", Path(temporary) / "output"
        runs: list[tuple[str, int, float]] = [(f"{count} clips", count, 0.0) for count in arguments.counts]
        for name, count, hours in runs + [(f"{hours:g} hours in one file", 1, hours) for hours in arguments.hours]:
            if hours:
                audio_seconds, options = in_another_process(write_long, source, hours), []
            else:
                audio_seconds = in_another_process(write_folder, source, count, arguments.clip_seconds)
                options = ["--no-vad"]  # synthetic clips this short are not always taken for speech
            result = translate(arguments, source, output, options)
            shutil.rmtree(source)
            rows.append({"name": name, "files": count, "hours": hours, "sound": audio_seconds, **result})
            cost, unit = (
                (result["seconds"] / hours, "s per hour")
                if hours
                else (1000 * result["seconds"] / count, "ms per clip")
            )
            print(
                f"{name:22} {cost:8.2f} {unit:11}   "
                f"{result['mebibytes']:6.0f} MiB   {result['descriptors']:3.0f} descriptors   "
                f"rerun {result['rerun_seconds']:6.1f} s",
                flush=True,
            )
        if arguments.rows:
            manifest = in_another_process(measure_manifest, Path(temporary), arguments.rows)
            print(f"manifest of {arguments.rows:,} rows: {manifest}", flush=True)
    save_result("scaling", arguments, {"runs": rows, "manifest": manifest})


if __name__ == "__main__":
    main()
