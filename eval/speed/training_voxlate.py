"""voxlate's side of `training.py`: run `voxlate train`; print its speed and the time of each part as one JSON line.

    python eval/speed/training_voxlate.py MODEL MANIFEST OUTPUT --updates 6 --warmup 2 [--device cuda] [key=value ...]

On a CPU, the time of each part is measured by torch's global hooks for modules and optimizers, so the training loop is
unchanged. On a GPU, the host is ahead of the device, and only the whole is measured: all updates after the warm-up,
between two lines of the log.
"""

import argparse
import json
import math
import statistics
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from voxlate.models.cpu.malloc import ask_for_huge_pages

ask_for_huge_pages()  # as the command line does, before torch is imported

# ruff: noqa: E402
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.profiler import profile

from speed.gpu_rates import kernel_summary
from voxlate.config.schema import TrainConfig, read_config
from voxlate.data.batch_sampler import SamplerState
from voxlate.training import train as train_module
from voxlate.training.batch_size import BATCH_SIZE_FILE
from voxlate.training.run_log import LOG
from voxlate.training.setup import read_data
from voxlate.training.train import train

# Parts of an update. Each interval between two events belongs to the part that ends with the second event:
# the start of a module's forward pass (_BEFORE), its end (_FORWARD), or the gradient of its output (_BACKWARD).
_BEFORE = {"Objective": "data and the rest", "Wav2Vec2FeatureProjection": "front end"}
_FORWARD = {
    "Wav2Vec2FeatureProjection": "projection",
    "Wav2Vec2EncoderStableLayerNorm": "encoder layers",
    "LengthAdapter": "adapter",
    "MBartDecoder": "decoder",
    "Objective": "loss",
}
_BACKWARD = {
    "Objective": "accelerator",  # between the forward and the backward pass
    "MBartDecoder": "loss, backward",
    "LengthAdapter": "decoder, backward",
    "Wav2Vec2EncoderStableLayerNorm": "adapter, backward",
    "Wav2Vec2FeatureProjection": "encoder layers, backward",
}


class TrainingTimer:
    """Measures the seconds of each part, with one entry of `updates` per update."""

    def __init__(self) -> None:
        self.updates: list[dict[str, float]] = []
        self._current: dict[str, float] = defaultdict(float)
        self._last = time.perf_counter()
        register_module_forward_pre_hook(self._before)
        register_module_forward_hook(self._after)
        register_optimizer_step_pre_hook(lambda *_: self._mark("embedding and front end, backward; clipping"))
        register_optimizer_step_post_hook(lambda *_: self._end())

    def _before(self, module: nn.Module, _: Any) -> None:
        if type(module).__name__ in _BEFORE:
            self._mark(_BEFORE[type(module).__name__])

    def _after(self, module: nn.Module, _: Any, output: Any) -> None:
        name = type(module).__name__
        if name in _FORWARD:
            self._mark(_FORWARD[name])
        tensor = output if isinstance(output, Tensor) else output[0] if name in _BACKWARD else None
        if name in _BACKWARD and isinstance(tensor, Tensor) and tensor.requires_grad:
            tensor.register_hook(lambda _: self._mark(_BACKWARD[name]))  # type: ignore[no-untyped-call]

    def _mark(self, part: str) -> None:
        now = time.perf_counter()
        self._current[part] += now - self._last
        self._last = now

    def _end(self) -> None:
        self._mark("optimizer")
        self.updates.append(dict(self._current))
        self._current.clear()

    def medians(self, warmup: int) -> dict[str, float]:
        """Return the median seconds of each part over the updates after the warm-up."""
        measured = self.updates[warmup:]
        return {part: statistics.median(update.get(part, 0.0) for update in measured) for part in measured[0]}


class UpdateProfiler:
    """Profiles the updates after the warm-up, between two optimizer steps."""

    def __init__(self, warmup: int, updates: int) -> None:
        self._steps, self._warmup, self._updates = 0, warmup, updates
        self._started = 0.0
        self.summary: dict[str, Any] = {}
        self._profile = profile()
        register_optimizer_step_post_hook(lambda *_: self._step())

    def _step(self) -> None:
        self._steps += 1
        if self._steps == self._warmup:
            self._synchronize()
            self._profile.start()
            self._started = time.perf_counter()
        elif self._steps == self._warmup + self._updates:
            self._synchronize()
            seconds = time.perf_counter() - self._started
            self._profile.stop()
            self.summary = kernel_summary(self._profile, seconds)

    def _synchronize(self) -> None:
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()


def settings(arguments: argparse.Namespace) -> TrainConfig:
    """Return the configuration of the run: the defaults, except for what a benchmark must set."""
    path = arguments.output.with_suffix(".yaml")
    path.write_text(
        json.dumps(
            {
                "output_dir": str(arguments.output),
                "model": {"init_from": str(arguments.model)},
                "data": {"train": [str(arguments.manifest)]},
                "optimizer": {"max_updates": arguments.warmup + arguments.updates, "lr": 1e-5},
                "precision": "bfloat16",
                "device": arguments.device,
                "log_every": 1 if arguments.device == "cpu" else math.gcd(arguments.warmup, arguments.updates),
            }
        )
    )
    return read_config(path, arguments.overrides)


def _nothing(*_: Any, **__: Any) -> None:
    """Take the place of what writes the trained model."""


def main() -> None:
    """Train and print the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--updates", type=int, default=6)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--discard", action="store_true", help="do not write the trained model")
    parser.add_argument("--profile", action="store_true", help="measure how busy a GPU is, which slows training down")
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_intermixed_args()
    config = settings(arguments)
    timer = TrainingTimer() if arguments.device == "cpu" else None
    profiler = UpdateProfiler(arguments.warmup, arguments.updates) if arguments.profile else None
    if arguments.discard:
        vars(train_module).update(write_checkpoint=_nothing, write_frozen_weights=_nothing, export_model=_nothing)
    train(config, Console(stderr=True), keep_freed_memory=True)

    events = [json.loads(line) for line in (arguments.output / LOG).read_text().splitlines()]
    speeds = [event["audio_s/s"] for event in events if event["event"] == "train"]
    sampler = read_data(config).batch_sampler
    if config.data.batch_seconds == "auto":
        chosen = json.loads((arguments.output / BATCH_SIZE_FILE).read_text())["batch_seconds"]
        sampler = replace(sampler, batch_seconds=chosen)
    batches_per_line = config.data.batches_per_update * config.log_every
    batches = zip(range(len(speeds) * batches_per_line), sampler.batches(SamplerState()), strict=False)
    audio = [0.0] * len(speeds)
    for number, (_, indices) in batches:
        audio[number // batches_per_line] += float(sampler.seconds_N[indices].sum())
    measured = list(zip(audio, speeds, strict=True))[arguments.warmup // config.log_every :]
    result = {
        "speed": sum(seconds for seconds, _ in measured) / sum(seconds / speed for seconds, speed in measured),
        "seconds_per_update": statistics.median(seconds / speed for seconds, speed in measured) / config.log_every,
        "sound_per_update": statistics.mean(seconds for seconds, _ in measured) / config.log_every,
        "loss": [event["loss"] for event in events if event["event"] == "train"],
        "parts": timer.medians(arguments.warmup) if timer else {},
        "threads": torch.get_num_threads(),
        "batch_seconds": sampler.batch_seconds,
        **(profiler.summary if profiler else {}),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
