"""Compare training speed of voxlate and transformers' Trainer on the same model, in seconds of audio per second.

    python eval/speed/training.py --vocabulary sentencepiece.bpe.model [--encoder-layers 3] [--decoder-layers 2]

A random model with the widths of the 300M model and fewer layers is trained on synthetic clips with the lengths of
CoVoST-2:

- by `voxlate train` (bfloat16, its own batches),
- by Trainer with its defaults (float32, batches of 8 clips in random order),
- by Trainer with its best settings (bfloat16, grouped by length, larger batches, a worker).

Each run is a process of its own, the sides alternate, and the results are medians over rounds. Audio is counted without
padding, and warm-up updates are not counted.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speed.build_full_size import random_model
from speed.synthetic import clip_seconds, sentence, write_clips
from voxlate.checkpoints.model_folder import save_checkpoint
from voxlate.manifest.utterance import Utterance
from voxlate.manifest.writing import write_manifest
from voxlate.models.decoder import DecoderConfig
from voxlate.tokenizer import Tokenizer

_HERE = Path(__file__).resolve().parent


def write_model(folder: Path, arguments: argparse.Namespace) -> int:
    """Save a random model with fewer layers than the published one; return its number of parameters."""
    torch.manual_seed(0)
    tokenizer = Tokenizer(arguments.vocabulary)
    width = arguments.width
    decoder = DecoderConfig(tokenizer.vocabulary_size, width, arguments.decoder_layers, 16, 4 * width)
    model = random_model(width, arguments.encoder_layers, decoder, convolution_width=arguments.convolution_width)
    save_checkpoint(folder, model, tokenizer, {"en": tokenizer.tag_id("en_XX")})
    return sum(parameter.numel() for parameter in model.parameters())


def write_data(folder: Path, clips: int) -> tuple[Path, float]:
    """Write clips (16 kHz FLAC) and their manifest; return its path and the total duration in seconds."""
    generator = np.random.default_rng(0)
    seconds_N = clip_seconds(clips, generator)
    paths = write_clips(folder / "clips", seconds_N, ".flac", 16_000, generator)
    rows = [
        Utterance(path.stem, path, seconds, "de", "en", target_text=sentence(seconds, generator))
        for path, seconds in zip(paths, seconds_N.tolist(), strict=True)
    ]
    write_manifest(folder / "train.jsonl", rows)
    return folder / "train.jsonl", float(seconds_N.sum())


def run(command: list[str], output: Path) -> dict[str, Any]:
    """Run one side; return the result that it prints as the last line."""
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=_environment())
    shutil.rmtree(output, ignore_errors=True)
    if process.returncode:
        raise SystemExit(f"failed: {' '.join(command)}")
    result: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return result


def _environment() -> dict[str, str]:
    return os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def show(results: dict[str, list[dict[str, Any]]]) -> None:
    """Print medians, ratios, and the time of each part of voxlate."""
    speeds = {name: statistics.median(one["speed"] for one in runs) for name, runs in results.items()}
    for name, runs in results.items():
        each = " ".join(f"{one['speed']:.2f}" for one in runs)
        audio, seconds = (
            statistics.median(one[key] for one in runs) for key in ("sound_per_update", "seconds_per_update")
        )
        ratio = f"   voxlate is {speeds['voxlate'] / speeds[name]:.2f} x" if name != "voxlate" else ""
        print(f"{name:16} {speeds[name]:7.2f} audio-s/s   {audio:5.0f} s of audio in {seconds:6.2f} s ({each}){ratio}")
    parts = {
        part: statistics.median(one["parts"][part] for one in results["voxlate"])
        for part in results["voxlate"][0]["parts"]
    }
    if parts:  # measured on a CPU only
        print("\nparts of an update of voxlate (medians)")
    for part, seconds in parts.items():
        print(f"  {part:44} {seconds:6.3f} s  {seconds / sum(parts.values()):4.0%}")


def main() -> None:
    """Write model and data, alternate between the sides, and print the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--vocabulary", type=Path, required=True, help="an mBART SentencePiece model")
    parser.add_argument("--encoder-layers", type=int, default=3)
    parser.add_argument("--decoder-layers", type=int, default=2)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--convolution-width", type=int, default=512)
    parser.add_argument("--clips", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=4)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument(
        "--batch-size", type=int, nargs="+", default=[24], help="batch sizes of Trainer's best settings"
    )
    parser.add_argument("--sides", nargs="+", default=["defaults", "best"], help="sides of Trainer to run")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1, help="workers that load data, of both sides")
    parser.add_argument("--work", type=Path, help="folder for model and clips, which are kept and reused")
    parser.add_argument("overrides", nargs="*", help="settings of voxlate train, such as data.workers=0")
    arguments = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        model, data = work / "model", work / "data"
        if not (model / "model.safetensors").exists():
            print(f"{write_model(model, arguments) / 1e6:.0f}M parameters", flush=True)
        manifest, seconds = write_data(data, arguments.clips)
        print(f"{arguments.clips} clips, {seconds:.0f} s", flush=True)
        counts = ["--updates", str(arguments.updates), "--warmup", str(arguments.warmup), "--device", arguments.device]
        places = [str(model), str(manifest), str(work / f"output-{os.getpid()}"), *counts]
        trainer = [sys.executable, str(_HERE / "training_trainer.py"), *places, "--workers", str(arguments.workers)]
        overrides = [f"data.num_workers={arguments.workers}", *arguments.overrides]
        sides = {
            "voxlate": [sys.executable, str(_HERE / "training_voxlate.py"), *places, *overrides],
            "defaults": trainer,
        } | {f"best, batch {size}": [*trainer, "--best", "--batch-size", str(size)] for size in arguments.batch_size}
        sides = {
            name: command for name, command in sides.items() if name.partition(",")[0] in ["voxlate", *arguments.sides]
        }
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
        for _ in range(arguments.rounds):
            for name, command in sides.items():
                results[name].append(run(command, work / f"output-{os.getpid()}"))
                print(name, json.dumps(results[name][-1]), flush=True)
        show(results)


if __name__ == "__main__":
    main()
