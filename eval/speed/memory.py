"""Compare peak memory and time of one translation by voxlate and by transformers, as complete processes.

    python eval/speed/memory.py FOLDER CLIP [--runs 3] [--max-length 20] [--device cuda]

Both sides load the same folder in float32 and search with beam size 5, alternating. A random model rarely ends a
hypothesis, so both have the same maximum length. Peak memory is the maximum resident set, file mappings included.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

# The Hub is not contacted, and the audio is decoded by voxlate on both sides, so that only the models differ.
TRANSFORMERS = """
import json, sys, torch
from pathlib import Path
from transformers import SpeechEncoderDecoderModel
from voxlate.audio.loading import load_audio
folder, clip, max_length, language, device = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
waveform = torch.from_numpy(load_audio(clip).waveform)
waveform = ((waveform - waveform.mean()) / (waveform.var(correction=0) + 1e-7).sqrt())[None].to(device)
model = SpeechEncoderDecoderModel.from_pretrained(folder, dtype=torch.float32).eval().to(device)
tag_id = json.loads(Path(folder, "languages.json").read_text())["targets"][language]
ids = model.generate(input_values=waveform, attention_mask=torch.ones_like(waveform).long(), num_beams=5,
    max_length=max_length, early_stopping=True, length_penalty=1.0, forced_bos_token_id=tag_id)
print(ids.tolist())
"""


def measure(command: list[str]) -> tuple[float, float]:
    """Run a command; return its peak resident memory in GiB and its duration in seconds."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"failed: {' '.join(command[:6])} …")
    return usage.ru_maxrss / 2**20, time.perf_counter() - started


def main() -> None:
    """Alternate between both sides and print medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--max-length", type=int, default=20)
    parser.add_argument("--device", default="cpu", help="memory is that of the process, not of a GPU")
    arguments = parser.parse_args()
    folder, clip, length = str(arguments.folder), str(arguments.clip), str(arguments.max_length)
    command = [
        sys.executable,
        "-m",
        "voxlate",
        "translate",
        clip,
        "--model",
        folder,
        "--to",
        "de",
        "--max-length",
        length,
        "--device",
        arguments.device,
    ]
    sides = {
        "voxlate": [*command, "--max-repeats", "0", "--dtype", "float32"],
        "transformers": [sys.executable, "-c", TRANSFORMERS, folder, clip, length, "de", arguments.device],
    }
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(arguments.runs):
        for name, side in sides.items():
            results[name].append(measure(side))
    for name, runs in results.items():
        gibibytes, seconds = (statistics.median(column) for column in zip(*runs, strict=True))
        print(f"{name:14} {gibibytes:5.2f} GiB peak   {seconds:6.1f} s   (medians of {len(runs)})")


if __name__ == "__main__":
    main()
