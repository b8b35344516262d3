"""One update: forward and backward passes over the batches of all processes, and one optimizer step.

The host only launches an update, and waits for the device when it reads the results of several updates.
"""

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from voxlate.data.batching import Batch
from voxlate.models.encoder import on_device
from voxlate.training.distributed import autocast, full_tensor
from voxlate.training.optimizer import skip_step
from voxlate.training.run_log import LogSums
from voxlate.training.training_run import TrainingRun


def sum_over_processes(run: TrainingRun, batches: Sequence[Batch], interrupts: int) -> dict[str, float]:
    """Return the totals of an update over the batches of all processes. Losses are divided by them once."""
    counts = {
        "tokens": sum(batch.target_tokens for batch in batches),
        "characters": sum(batch.characters for batch in batches),
        "seconds": sum(batch.seconds for batch in batches),
        "skipped": sum(len(batch.skipped) for batch in batches),
        "interrupts": interrupts,
    }
    sums = torch.tensor([float(count) for count in counts.values()], dtype=torch.float64)
    if run.accelerator.num_processes > 1:
        torch.distributed.all_reduce(sums, group=run.host_group)
    return dict(zip(counts, sums.tolist(), strict=True))


def train_update(
    run: TrainingRun, update: int, batches: Sequence[Batch], totals: dict[str, float], lr: float
) -> Tensor:
    """Take an optimizer step at learning rate `lr`, with this process's batches of an update, counted from 0.

    Return three numbers on the device: the sums of the two losses over the batches of this process, and the norm of the
    gradient before clipping. If the norm is not finite, the step changes nothing.
    """
    config, accelerator, working_copy = run.config, run.accelerator, run.working_copy
    # DDP averages the gradients of processes; multiplying by their number turns the average into a sum.
    scale = torch.tensor(
        [
            accelerator.num_processes / max(1.0, totals["tokens"]),
            accelerator.num_processes * config.loss.ctc_weight / max(1.0, totals["characters"]),
        ]
    )
    scale = on_device(scale, accelerator.device)
    freeze_encoder = update < config.trainable.freeze_encoder_updates
    ctc_only = update < config.loss.ctc_only_updates
    sums = torch.zeros(2, device=accelerator.device)
    for number, batch in enumerate(batches, start=1):
        torch.manual_seed(_batch_seed(config.seed, batch.sampler_state.number))
        is_last = number == len(batches)
        # The gradients of a working copy are in bfloat16: they are summed in float32, batch by batch.
        with nullcontext() if is_last or working_copy is not None else accelerator.no_sync(run.wrapped):
            with autocast(config, accelerator.device) if working_copy is None else nullcontext():
                losses = run.wrapped(batch.to(accelerator.device), freeze_encoder=freeze_encoder, ctc_only=ctc_only)
            accelerator.backward((losses * scale).sum())
        if working_copy is not None:
            working_copy.move_gradients()
        sums += losses.detach()
    parameters = [parameter for parameter in run.objective.parameters() if parameter.requires_grad]
    gradient_norm = full_tensor(torch.nn.utils.clip_grad_norm_(parameters, config.optimizer.clip_norm))
    for group in run.optimizer.param_groups:
        group["lr"] = lr
    skip_step(run.optimizer, ~gradient_norm.isfinite())
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    if working_copy is not None:
        working_copy.round_weights()
    return torch.cat([sums, gradient_norm.to(sums).view(1)])


def read_updates(run: TrainingRun, pending: list[tuple[Tensor, dict[str, float]]], log_sums: LogSums) -> None:
    """Add updates, as results of `train_update` and totals, to the sums of the log, and remove them from the list.

    This waits until the device has computed them. Every process must call it after the same updates.
    """
    if not pending:
        return
    results = torch.stack([numbers for numbers, _ in pending])
    if results.device.type != "mps":  # which has no float64
        results = results.double()
    losses = run.accelerator.reduce(results[:, :2].contiguous())
    rows = torch.cat([losses, results[:, 2:]], dim=1).tolist()
    for (cross_entropy, ctc, gradient_norm), (_, totals) in zip(rows, pending, strict=True):
        log_sums.add({"cross_entropy": cross_entropy, "ctc": ctc}, totals, gradient_norm)
    pending.clear()


def _batch_seed(seed: int, number: int) -> int:
    """Return the seed of a batch, hashed so that the random numbers of successive batches are independent."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> 1)
