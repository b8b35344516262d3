"""Stages of `gpu.py` about the card: matrix products, the least time of a translation, and how busy the card is."""

import statistics
import time
from collections import Counter
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.profiler import ProfilerActivity, profile

from speed.card_run import TO, CardRun, audio_seconds
from speed.gpu_translation import options, texts
from speed.roofline import count_work
from voxlate import Translator

_SHAPES = {"8192 x 8192 x 8192": (8192, 8192, 8192), "12800 x 1024 x 4096": (12_800, 1024, 4096)}
_WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "aten::_local_scalar_dense")


def rates(run: CardRun) -> dict[str, Any]:
    """Measure matrix products in bfloat16 and float32, in TFLOP/s, and reading memory, in GB/s."""
    scale = 32 if run.is_tiny else 1
    measured: dict[str, Any] = {}
    for dtype in (torch.bfloat16, torch.float32):
        for name, (rows, inputs, outputs) in _SHAPES.items():
            states = torch.randn(rows // scale, inputs // scale, device=run.device, dtype=dtype)
            weight = torch.randn(outputs // scale, inputs // scale, device=run.device, dtype=dtype)
            seconds = _median_seconds(run, partial(F.linear, states, weight))
            flops = 2 * states.shape[0] * weight.numel()
            measured[f"{str(dtype).removeprefix('torch.')}, {name}"] = flops / seconds / 1e12
    large = torch.ones(2**20 if run.is_tiny else 2**28, device=run.device)
    measured["reading, GB/s"] = large.numel() * 4 / _median_seconds(run, large.sum) / 1e9
    return measured


def gemm_flops_per_s(run: CardRun) -> float:
    """Return the rate of large matrix products in bfloat16, in FLOP/s."""
    return float(run.results["rates"]["bfloat16, 8192 x 8192 x 8192"]) * 1e12


def roofline(run: CardRun) -> dict[str, Any]:
    """Return the least seconds of each part of the translation at the measured rates, and the share that is reached."""
    if run.is_tiny:
        return {"skipped": "the work is counted for published sizes"}
    seconds_N = torch.tensor([len(waveform_T) / 16_000 for waveform_T in run.waveforms]).numpy()
    reached = {name: one for name, one in run.results["translation"].items() if "speed" in one}
    least: dict[str, Any] = {}
    for name, measured in reached.items():
        pool = measured["batch_size"] or 256
        work = count_work(run.arguments.size, seconds_N, 18, measured["beam_size"], pool, 2)
        bandwidth = run.results["rates"]["reading, GB/s"] * 1e9
        seconds = {part: stage.seconds(gemm_flops_per_s(run), bandwidth) for part, stage in work.items()}
        total = sum(seconds.values())
        least[name] = {
            "least_seconds": seconds,
            "limit_speed": audio_seconds(run.waveforms) / total,
            "share_reached": total / measured["seconds"],
        }
    return least


def busy(run: CardRun) -> dict[str, Any]:
    """Measure how long the card computes during a translation: by the profiler's kernels, and the same without it."""
    translator = Translator(run.model(), device=str(run.device), dtype="bfloat16")
    waveforms = run.waveforms[: run.amounts.profiled_clips]
    search = options(5)
    texts(translator, waveforms, TO, search)  # warm up
    started = time.perf_counter()
    texts(translator, waveforms, TO, search)
    seconds = time.perf_counter() - started
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if run.device.type == "cuda" else [])]
    with profile(activities=activities) as profiler:
        texts(translator, waveforms, TO, search)
        run.synchronize()
    return {
        "clips": len(waveforms),
        "seconds": seconds,
        "speed": audio_seconds(waveforms) / seconds,
        **kernel_summary(profiler, seconds),
    }


def kernel_summary(profiler: Any, seconds: float) -> dict[str, Any]:
    """Return the time of kernels by name, the share of `seconds` in which one runs, and the host's waits."""
    events = profiler.profiler.kineto_results.events()
    waits = Counter(event.name() for event in events if event.name() in _WAITS)
    kernels = [
        (event.start_ns(), event.duration_ns(), event.name()) for event in events if event.device_type().name == "CUDA"
    ]
    union = end = 0
    by_name: Counter[str] = Counter()
    for start, duration, name in sorted(kernels):
        union += max(0, start + duration - max(start, end))
        end = max(end, start + duration)
        by_name[name] += duration
    return {
        "kernels": len(kernels),
        "busy_share": union / 1e9 / seconds if kernels else None,  # of the run without the profiler, which slows it
        "host_waits": dict(waits),
        "longest_ms": {name[:90]: duration / 1e6 for name, duration in by_name.most_common(25)},
    }


def _median_seconds(run: CardRun, action: Any, runs: int = 9, repeats: int = 5) -> float:
    """Return the median seconds of an action, in groups of `repeats` between which the host waits."""
    action()
    seconds = []
    for _ in range(runs):
        run.synchronize()
        started = time.perf_counter()
        for _ in range(repeats):
            action()
        run.synchronize()
        seconds.append((time.perf_counter() - started) / repeats)
    return statistics.median(seconds)
