"""Record the gradients of each update: ``python gradients.py SETTINGS OUTPUT SIZES`` trains with batches of SIZES."""

import sys
from typing import Any

import numpy as np
import safetensors.torch
import torch
from rich.console import Console

from voxlate.config.schema import read_config
from voxlate.data import batch_sampler as planning
from voxlate.data.batching import Batch
from voxlate.training import train as loop

Gradients = list[dict[str, torch.Tensor]]


def record_gradients(found: Gradients) -> Any:
    """Return an `_update` that keeps the gradients it makes and changes no weight."""
    update = loop._update

    def recording(run: loop.Run, number: int, batches: list[Batch], totals: dict[str, float]) -> Any:
        def keep() -> None:
            parameters = run.objective.named_parameters()
            found.append({name: parameter.grad.clone() for name, parameter in parameters if parameter.grad is not None})

        vars(run.optimizer)["step"] = keep
        return update(run, number, batches, totals)

    return recording


def batches_of(sizes: list[int]) -> Any:
    """Return a `make_batches` that makes batches of these sizes, in the order in which utterances were drawn."""
    return lambda indices, *_, **__: np.split(indices, np.cumsum(sizes)[:-1])


def main() -> None:
    """Train one update and save its gradients."""
    found: Gradients = []
    vars(loop)["_update"] = record_gradients(found)
    vars(planning)["make_batches"] = batches_of([int(size) for size in sys.argv[3].split(",")])
    loop.train(read_config(sys.argv[1]), Console(quiet=True))
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        safetensors.torch.save_file(found[0], sys.argv[2])


if __name__ == "__main__":
    main()
