"""The optimiser and its learning rate, which is a function of the update alone: nothing to save or to restore."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from voxlate.config.schema import OptimizerConfig

_INITIAL_SCALE = 0.01  # of tri_stage, as fairseq has it


def make_optimizer(model: nn.Module, settings: OptimizerConfig, *, fused: bool) -> torch.optim.AdamW:
    """Return AdamW over the parameters that learn; norms, biases and embeddings have no weight decay."""
    decayed: list[nn.Parameter] = []
    other: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                matrix = parameter.ndim > 1 and name != "bias" and not isinstance(module, nn.Embedding)
                (decayed if matrix else other).append(parameter)
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": other, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=fused,
    )


def learning_rate(update: int, settings: OptimizerConfig, *, begins_again: int = 0) -> float:
    """Return the learning rate of an update, counted from 0; at the update `begins_again` it warms up once more."""
    rate = settings.lr * SCHEDULES[settings.schedule](update, settings)
    if 0 < begins_again <= update:
        rate *= min(1.0, (update - begins_again + 1) / (warmup(settings) + 1))
    return rate


def warmup(settings: OptimizerConfig) -> int:
    """Return the updates of warm-up: a tenth of all where nothing is said."""
    return settings.updates // 10 if settings.warmup_updates is None else settings.warmup_updates


def _tri_stage(update: int, settings: OptimizerConfig) -> float:
    """Warm up linearly, hold, decay exponentially (Park et al. 2019; fairseq's defaults 0.1, 0.4, 0.5)."""
    rising = warmup(settings)
    holding = settings.hold_updates
    if holding is None:
        holding = min(settings.updates * 2 // 5, settings.updates - rising)
    if update < rising:
        return _INITIAL_SCALE + (1 - _INITIAL_SCALE) * update / rising
    if update < rising + holding:
        return 1.0
    falling = settings.updates - rising - holding
    return float(max(settings.final_lr_scale, 1e-9) ** min(1.0, (update - rising - holding) / max(1, falling)))


def _inverse_sqrt(update: int, settings: OptimizerConfig) -> float:
    """Warm up linearly, then fall with the square root of the update (Vaswani et al. 2017)."""
    rising = max(1, warmup(settings))
    return min((update + 1) / rising, math.sqrt(rising / (update + 1)))


def _linear(update: int, settings: OptimizerConfig) -> float:
    """Warm up linearly, then fall linearly to 0."""
    rising = warmup(settings)
    if update < rising:
        return (update + 1) / rising
    return max(0.0, (settings.updates - update) / max(1, settings.updates - rising))


def _constant(update: int, settings: OptimizerConfig) -> float:
    """Warm up linearly, then stay."""
    return min(1.0, (update + 1) / max(1, warmup(settings)))


SCHEDULES: dict[str, Callable[[int, OptimizerConfig], float]] = {
    "tri_stage": _tri_stage,
    "inverse_sqrt": _inverse_sqrt,
    "linear": _linear,
    "constant": _constant,
}
