"""One update: forward and backward passes over the batches of all processes, and one optimizer step."""

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch

from voxlate.data.batching import Batch
from voxlate.training.distributed import autocast, full_tensor
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
    device = run.accelerator.device
    summed = run.accelerator.reduce(torch.tensor(list(counts.values()), dtype=torch.float64, device=device))
    return dict(zip(counts, summed.tolist(), strict=True))


def train_update(
    run: TrainingRun, update: int, batches: Sequence[Batch], totals: dict[str, float], lr: float
) -> tuple[dict[str, float], float]:
    """Take an optimizer step at learning rate `lr`, with this process's batches of an update, counted from 0.

    Return the sums of the losses over all processes, and the norm of the gradient before clipping. If the norm
    is not finite, the step is skipped.
    """
    config, accelerator = run.config, run.accelerator
    # DDP averages the gradients of processes; multiplying by their number turns the average into a sum.
    scale = torch.tensor(
        [
            accelerator.num_processes / max(1.0, totals["tokens"]),
            accelerator.num_processes * config.loss.ctc_weight / max(1.0, totals["characters"]),
        ],
        device=accelerator.device,
    )
    freeze_encoder = update < config.trainable.freeze_encoder_updates
    ctc_only = update < config.loss.ctc_only_updates
    sums = torch.zeros(2, device=accelerator.device)
    for number, batch in enumerate(batches, start=1):
        torch.manual_seed(_batch_seed(config.seed, batch.sampler_state.number))
        with nullcontext() if number == len(batches) else accelerator.no_sync(run.wrapped):
            with autocast(config, accelerator.device):
                losses = run.wrapped(batch.to(accelerator.device), freeze_encoder=freeze_encoder, ctc_only=ctc_only)
            accelerator.backward((losses * scale).sum())
        sums += losses.detach()
    parameters = [parameter for parameter in run.objective.parameters() if parameter.requires_grad]
    gradient_norm = float(full_tensor(torch.nn.utils.clip_grad_norm_(parameters, config.optimizer.clip_norm)))
    if np.isfinite(gradient_norm):
        for group in run.optimizer.param_groups:
            group["lr"] = lr
        run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    cross_entropy, ctc_loss = accelerator.reduce(sums.double()).tolist()
    return {"cross_entropy": cross_entropy, "ctc": ctc_loss}, gradient_norm


def _batch_seed(seed: int, number: int) -> int:
    """Return the seed of a batch, hashed so that the random numbers of successive batches are independent."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> 1)
