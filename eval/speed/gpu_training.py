"""Stages of `gpu.py` that train the random model: `voxlate train`, and transformers' Trainer with its best settings."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from speed.card_run import CardRun
from speed.cost import training_flops
from speed.gpu_rates import gemm_flops_per_s
from speed.training import write_data
from voxlate.manifest.reading import read_manifest
from voxlate.manifest.writing import write_manifest

_HERE = Path(__file__).resolve().parent


def training(run: CardRun) -> dict[str, Any]:
    """Measure `voxlate train` with several batch sizes."""
    return {f"batch_seconds={size}": _train(run, size) for size in run.amounts.batch_seconds}


def training_busy(run: CardRun) -> dict[str, Any]:
    """Profile the measured updates, which makes them slower."""
    return _train(run, run.amounts.batch_seconds[0], "--profile")


def training_bfloat16_weights(run: CardRun) -> dict[str, Any]:
    """Measure training with a bfloat16 copy of the model, next to the default, autocast."""
    size = run.amounts.batch_seconds[0]
    result = _train(run, size, "precision=bfloat16-weights")
    autocast = run.results.get("training", {}).get(f"batch_seconds={size}", {})
    if "speed" in result and "speed" in autocast:
        result["as fast as autocast, times"] = result["speed"] / autocast["speed"]
    return result


def training_compiled(run: CardRun) -> dict[str, Any]:
    """Measure training with a compiled encoder; not in a quick run."""
    if run.arguments.quick:
        return {"skipped": "compiling takes too long for a quick run"}
    return _train(run, run.amounts.batch_seconds[0], "compile_encoder=true")


def _train(run: CardRun, batch_seconds: float | str, *more: str) -> dict[str, Any]:
    """Run `voxlate train`; return its result, with the share of the card's rate."""
    manifest = run.work / "data" / "repeated.jsonl"
    places = _places(run)
    if not manifest.exists():
        clips = [*read_manifest(places[1])]
        numbers = range(run.amounts.training_repeats)
        write_manifest(manifest, [replace(clip, id=f"{clip.id}-{number}") for number in numbers for clip in clips])
    places[1] = str(manifest)
    settings = [f"data.num_workers={run.amounts.workers}", f"data.batch_seconds={batch_seconds}"]
    result = _run(run, ["training_voxlate.py", *places, "--discard", *settings, *more])
    if "speed" in result and not run.is_tiny:
        flops = training_flops(run.arguments.size) * result["speed"]
        result |= {"tflop_per_s": flops / 1e12, "share_of_gemm_rate": flops / gemm_flops_per_s(run)}
    return result


def trainer(run: CardRun) -> dict[str, Any]:
    """Measure Trainer with its best settings at several batch sizes."""
    results: dict[str, Any] = {}
    for size in run.amounts.trainer_batch_sizes:
        if results and run.seconds_left() < 40:
            results[f"batch {size}"] = {"skipped": "no time left"}
            continue
        command = ["training_trainer.py", *_places(run), "--best", "--batch-size", str(size)]
        results[f"batch {size}"] = _run(run, [*command, "--workers", str(run.amounts.workers)])
    best = max(result.get("speed", 0.0) for result in results.values())
    own = {name: result["speed"] for name, result in run.results.get("training", {}).items() if "speed" in result}
    ratios = {name: speed / best for name, speed in own.items()} if best else {}
    return {**results, "voxlate is as fast, times": ratios}


def _places(run: CardRun) -> list[str]:
    """Return the common arguments of both sides; write the clips once."""
    data = run.work / "data"
    manifest = data / "train.jsonl"
    if not manifest.exists():
        write_data(data, run.amounts.training_clips)
    counts = ["--updates", str(run.amounts.updates), "--warmup", str(run.amounts.updates)]
    return [str(run.model()), str(manifest), str(run.work / "output"), *counts, "--device", str(run.device)]


def _run(run: CardRun, command: list[str]) -> dict[str, Any]:
    """Run a script in its own process; return its result, or the last lines of its error."""
    script, *arguments = command
    process = subprocess.run(
        [sys.executable, str(_HERE / script), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        timeout=max(60.0, run.seconds_left() + 60.0),
    )
    if process.returncode:
        return {"error": process.stderr[-1500:]}
    result: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return {name: value for name, value in result.items() if name != "loss"} | {"loss": float(np.mean(result["loss"]))}
