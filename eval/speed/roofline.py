"""Measure the peak rates of this machine, and compare each stage of a translation with its theoretical minimum.

    python eval/speed/roofline.py [--size 300m] [--translation results/translation.json] [--keep]

Peak rates are medians over matrix products of the model's sizes and over reading a large tensor. FLOPs and bytes of a
stage follow from the shapes: two FLOPs per weight and state; weights are read once per group of clips, or once per
search step. With the JSON of `translation.py --keep`, the measured times are printed next to the minimum.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speed.build_full_size import SIZES
from speed.record import save_result
from speed.synthetic import clip_seconds

_CONVOLUTIONS = [(1, 10, 5), *[(512, 3, 2)] * 4, *[(512, 2, 2)] * 2]  # input channels, kernel and stride in XLS-R
_WIDTH, _DECODER_LAYERS, _FFN, _VOCABULARY = 1024, 12, 4096, 250_054


@dataclass(frozen=True)
class Work:
    """Minimum FLOPs and memory traffic of a stage."""

    flops: float
    bytes: float

    def seconds(self, flops_per_s: float, bytes_per_s: float) -> float:
        """Return the minimum time, if computing and reading overlap."""
        return max(self.flops / flops_per_s, self.bytes / bytes_per_s)


def median_seconds(action: Callable[[], Any], runs: int = 15) -> float:
    """Return the median duration of an action, after one warm-up run."""
    seconds = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        action()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def peak_rates(device: str) -> dict[str, float]:
    """Measure FLOP/s by precision, and bytes/s."""
    rates = {}
    for dtype in (torch.float32, torch.bfloat16):
        states, weights = torch.randn(1024, 1024).to(device, dtype), torch.randn(4096, 1024).to(device, dtype)
        seconds = median_seconds(partial(torch.nn.functional.linear, states, weights))
        rates[str(dtype).removeprefix("torch.")] = 2 * 1024 * 1024 * 4096 / seconds
    large = torch.ones(2**27, device=device)
    rates["bytes"] = large.numel() * 4 / median_seconds(large.sum)
    return rates


def convolution_flops(seconds: float) -> float:
    """Count the FLOPs of the convolutions on the waveform."""
    flops, length = 0.0, seconds * 16_000
    for inputs, kernel, stride in _CONVOLUTIONS:
        length /= stride
        flops += 2 * inputs * kernel * 512 * length
    return flops


def count_work(
    size: str, seconds_N: "np.ndarray[Any, Any]", tokens: int, beam: int, pool: int, width_bytes: int
) -> dict[str, Work]:
    """Count FLOPs and bytes of each stage for clips of given durations. `pool` is the number searched at once."""
    width, layers, ffn = SIZES[size]
    clips = len(seconds_N)
    convolutions = convolution_flops(float(seconds_N.sum()))
    frames_N = seconds_N * 50
    layer = 4 * width * width + 2 * width * ffn
    encoder = 2 * float(frames_N.sum()) * (layers * layer + 128 * width * width / 16 + 512 * width)
    encoder += 4 * layers * width * float((frames_N**2).sum())
    adapter = sum(2 * 3 * _WIDTH * 2 * _WIDTH * float(frames_N.sum()) / 2**index for index in (1, 2, 3))
    states = float(frames_N.sum()) / 8
    cross = 2 * states * _DECODER_LAYERS * 2 * _WIDTH**2
    decoder_weights = _DECODER_LAYERS * (6 * _WIDTH**2 + 2 * _WIDTH * _FFN)
    rows, steps = clips * beam * tokens, tokens * max(1.0, clips / pool)
    groups = max(1.0, clips / (pool / 4))
    return {
        "encoder and adapter": Work(convolutions + encoder + adapter, groups * width_bytes * layers * layer),
        "cross-attention keys and values": Work(cross, groups * width_bytes * _DECODER_LAYERS * 2 * _WIDTH**2),
        "decoder": Work(2 * rows * decoder_weights, steps * width_bytes * decoder_weights),
        "output layer": Work(2 * rows * _WIDTH * _VOCABULARY, steps * width_bytes * _WIDTH * _VOCABULARY),
    }


def main() -> None:
    """Measure the machine, count the work, and print both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="300m")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--beam-size", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=18)
    parser.add_argument("--pool", type=int, default=64, help="number of utterances searched at once")
    parser.add_argument("--translation", type=Path, help="JSON written by translation.py for the same clips")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--keep", action="store_true", help="write results/roofline.json")
    arguments = parser.parse_args()
    rates = peak_rates(arguments.device)
    for name, rate in rates.items():
        print(f"{name:10} {rate / 1e9:10.1f} G{'B' if name == 'bytes' else 'FLOP'}/s")
    seconds_N = clip_seconds(arguments.clips, np.random.default_rng(0))
    stages = count_work(arguments.size, seconds_N, arguments.tokens, arguments.beam_size, arguments.pool, 2)
    measured: dict[str, float] = {}
    if arguments.translation:
        runs = json.loads(arguments.translation.read_text())["runs"]["voxlate, profiled"]
        measured = {part: statistics.median(run["parts"][part] for run in runs) for part in runs[0]["parts"]}
    minimum = {name: stage.seconds(rates["bfloat16"], rates["bytes"]) for name, stage in stages.items()}
    for name, stage in stages.items():
        comparison = (
            f"   took {measured[name]:6.2f} s: {minimum[name] / measured[name]:4.0%}" if name in measured else ""
        )
        print(
            f"{name:34} {stage.flops / 1e12:7.3f} TFLOP {stage.bytes / 1e9:7.2f} GB   "
            f"{minimum[name]:6.2f} s minimum{comparison}"
        )
    speed = float(seconds_N.sum()) / sum(minimum.values())
    print(f"at best {speed:.1f} s of audio per second")
    save_result(
        "roofline", arguments, {"rates": rates, "least_seconds": minimum, "measured_seconds": measured, "speed": speed}
    )


if __name__ == "__main__":
    main()
