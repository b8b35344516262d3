"""Measure the decoding of clips and the detection of speech in them, in a thread and in processes.

    python eval/speed/decoding.py [--counts 3 2000] [--workers 1 2] [--rounds 3] [--keep]

The clips are 16 kHz FLAC with the lengths of CoVoST-2. Their caller does nothing else, as if the model took no time.
Sides alternate, and each includes the start of its processes. "default" is that of the commands: processes take over
when the caller waits.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the commands do; NumPy reads it when it is imported

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from speed.record import median, save_result
from speed.scaling import write_folder
from voxlate.audio.decoded_audio import DecodedAudio
from voxlate.audio.prefetch import read_ahead

_SECONDS = 5.0  # of a clip on average


def measure(clips: list[Path], workers: int | None) -> float:
    """Decode clips; return the seconds that it took."""
    started = time.perf_counter()
    decoded = sum(isinstance(result, DecodedAudio) for result in read_ahead(clips, num_workers=workers))
    if decoded != len(clips):
        raise SystemExit(f"failed: {len(clips) - decoded} of {len(clips)} clips")
    return time.perf_counter() - started


def main() -> None:
    """Write the clips, decode them on all sides, and print medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="*", default=[3, 2000])
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="write results/decoding.json")
    arguments = parser.parse_args()
    processes = {f"{count} process{'es' * (count > 1)}": count for count in arguments.workers}
    sides: dict[str, int | None] = {"thread": 0, "default": None, **processes}
    rows: list[dict[str, Any]] = []
    for count in arguments.counts:
        with tempfile.TemporaryDirectory() as temporary:
            audio_seconds = write_folder(Path(temporary) / "clips", count, _SECONDS)
            clips = sorted((Path(temporary) / "clips").iterdir())
            measure(clips[:3], 0)  # load the network
            runs: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
            for _ in range(arguments.rounds):
                for side, workers in sides.items():
                    runs[side].append({"seconds": measure(clips, workers)})
        for side in sides:
            seconds, thread = median(runs[side], "seconds"), median(runs["thread"], "seconds")
            rows.append({"clips": count, "side": side, "sound": audio_seconds, "runs": runs[side]})
            print(
                f"{count:6} clips   {side:12} {seconds:8.3f} s   {audio_seconds / seconds:7.0f} s of audio per second  "
                f" {thread / seconds:5.2f} times the thread's speed",
                flush=True,
            )
    save_result("decoding", arguments, {"runs": rows})


if __name__ == "__main__":
    main()
