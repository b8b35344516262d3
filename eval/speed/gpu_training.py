"""Stages of `gpu.py` that train the random model: `voxlate train`, and transformers' Trainer with its best settings."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from speed.card_run import CardRun
from speed.cost import training_flops
from speed.gpu_rates import gemm_flops_per_s
from speed.training import write_data

_HERE = Path(__file__).resolve().parent


def training(run: CardRun) -> dict[str, Any]:
    """Measure `voxlate train`: with several batch sizes, and compiled."""
    plain = [(f"batch_seconds={size}", [f"data.batch_seconds={size}"]) for size in run.amounts.batch_seconds]
    compiled = (f"{plain[0][0]}, compiled", [*plain[0][1], "compile_encoder=true"])
    results: dict[str, Any] = {}
    for name, overrides in [*plain, *([] if run.arguments.quick else [compiled])]:
        if results and run.seconds_left() < 0:
            results[name] = {"skipped": "no time left"}
            continue
        command = ["training_voxlate.py", *_places(run), "--discard", f"data.num_workers={run.amounts.workers}"]
        results[name] = _run(run, [*command, *overrides])
        if "speed" in results[name] and not run.is_tiny:
            flops = training_flops(run.arguments.size) * results[name]["speed"]
            results[name] |= {"tflop_per_s": flops / 1e12, "share_of_gemm_rate": flops / gemm_flops_per_s(run)}
    return results


def trainer(run: CardRun) -> dict[str, Any]:
    """Measure Trainer with its best settings at several batch sizes."""
    results: dict[str, Any] = {}
    for size in run.amounts.trainer_batch_sizes:
        if results and run.seconds_left() < 0:
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
