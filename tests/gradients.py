"""Record gradients: ``python gradients.py SETTINGS OUTPUT SIZES`` trains an update with batches of the given sizes."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import safetensors.torch
import torch
from rich.console import Console

from voxlate.config.schema import read_config
from voxlate.data import batch_sampler
from voxlate.training import train as train_module
from voxlate.training.training_run import TrainingRun
from voxlate.training.update import train_update

Gradients = list[dict[str, torch.Tensor]]


def recording_update(gradients: Gradients) -> Callable[..., Any]:
    """Return a `train_update` that appends the clipped gradients of each update, by the names of the parameters."""

    def update(run: TrainingRun, *arguments: Any) -> Any:
        def record(*_: Any) -> None:
            parameters = run.objective.named_parameters()
            gradients.append({name: part.grad.clone() for name, part in parameters if part.grad is not None})

        handle = run.optimizer.register_step_pre_hook(record)
        try:
            return train_update(run, *arguments)
        finally:
            handle.remove()

    return update


def batches_of(sizes: list[int]) -> Callable[..., Any]:
    """Return a `make_batches` that makes batches of these sizes, in the order in which utterances were drawn."""
    return lambda indices, *_, **__: np.split(indices, np.cumsum(sizes)[:-1])


def main() -> None:
    """Train one update and save its gradients."""
    gradients: Gradients = []
    vars(train_module)["train_update"] = recording_update(gradients)
    vars(batch_sampler)["make_batches"] = batches_of([int(size) for size in sys.argv[3].split(",")])
    train_module.train(read_config(sys.argv[1]), Console(quiet=True))
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        safetensors.torch.save_file(gradients[0], sys.argv[2])


if __name__ == "__main__":
    main()
