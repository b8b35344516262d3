"""One side of `training.py`: run `voxlate train` itself, print its speed and where its time goes as one JSON line.

    python eval/speed/training_ours.py MODEL MANIFEST OUTPUT --updates 6 --warmup 2 [key=value ...]

Where the time goes is told by hooks that torch has for all modules and optimisers, so that the loop is the real one.
"""

import argparse
import json
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from voxlate.models.cpu.malloc import ask_for_huge_pages

ask_for_huge_pages()  # as the command does, before torch is loaded

# ruff: noqa: E402
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from voxlate.config.schema import TrainConfig, read_config
from voxlate.data.batch_sampler import SamplerState
from voxlate.training.run_log import LOG
from voxlate.training.setup import read_data
from voxlate.training.train import train

# The parts of a step by the class of module whose forward pass they are, and what the backward pass has done once
# the gradient of that module's output is there: each stretch of time belongs to the part that ends it.
_BEFORE = {"Objective": "data and the rest", "Wav2Vec2FeatureProjection": "front end"}  # whose call comes next
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


class Parts:
    """Seconds by part of an update, one list entry for each update."""

    def __init__(self) -> None:
        self.updates: list[dict[str, float]] = []
        self._own: dict[str, float] = defaultdict(float)
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
        self._own[part] += now - self._last
        self._last = now

    def _end(self) -> None:
        self._mark("optimizer")
        self.updates.append(dict(self._own))
        self._own.clear()

    def medians(self, warmup: int) -> dict[str, float]:
        """Return the median seconds of each part over the updates behind the warm-up."""
        measured = self.updates[warmup:]
        return {part: statistics.median(update.get(part, 0.0) for update in measured) for part in measured[0]}


def settings(arguments: argparse.Namespace) -> TrainConfig:
    """Return the settings of the run: the defaults but for what a benchmark must say."""
    path = arguments.output.with_suffix(".yaml")
    path.write_text(
        json.dumps(
            {
                "output": str(arguments.output),
                "model": {"init_from": str(arguments.model)},
                "data": {"train": [str(arguments.manifest)]},
                "optimizer": {"updates": arguments.warmup + arguments.updates, "lr": 1e-5},
                "precision": "bfloat16",
                "device": "cpu",
                "log_every": 1,
            }
        )
    )
    return read_config(path, arguments.overrides)


def main() -> None:
    """Parse the command line, train, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--updates", type=int, default=6)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_intermixed_args()
    config = settings(arguments)
    parts = Parts()
    train(config, Console(stderr=True))

    events = [json.loads(line) for line in (arguments.output / LOG).read_text().splitlines()]
    speeds = [event["audio_s/s"] for event in events if event["event"] == "train"]
    plan = read_data(config).plan
    batches = zip(range(len(speeds) * config.data.batches_per_update), plan.batches(SamplerState()), strict=False)
    sound = [0.0] * len(speeds)
    for number, (_, indices) in batches:
        sound[number // config.data.batches_per_update] += float(plan.seconds_N[indices].sum())
    measured = list(zip(sound, speeds, strict=True))[arguments.warmup :]
    result = {
        "speed": sum(seconds for seconds, _ in measured) / sum(seconds / speed for seconds, speed in measured),
        "seconds_per_update": statistics.median(seconds / speed for seconds, speed in measured),
        "sound_per_update": statistics.mean(seconds for seconds, _ in measured),
        "loss": [event["loss"] for event in events if event["event"] == "train"],
        "parts": parts.medians(arguments.warmup),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
