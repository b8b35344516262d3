"""AdamW and its learning rate. The rate depends only on the update, so there is no scheduler state to save."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from voxlate.config.sections import OptimizerConfig

SKIPPING_DEVICES = ("cpu", "cuda")  # whose fused AdamW reads `found_inf`
_INITIAL_SCALE = 0.01  # of the peak, at the start of tri_stage; as in fairseq


def make_optimizer(model: nn.Module, settings: OptimizerConfig) -> torch.optim.AdamW:
    """Return AdamW over the trained parameters, without weight decay for norms, biases and embeddings.

    It is torch's fused one, a single pass over parameters and moments, which `skip_step` relies on.
    """
    decayed: list[nn.Parameter] = []
    not_decayed: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                is_matrix = parameter.ndim > 1 and name != "bias" and not isinstance(module, nn.Embedding)
                (decayed if is_matrix else not_decayed).append(parameter)
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": not_decayed, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def skip_step(optimizer: torch.optim.Optimizer, skip: Tensor) -> None:
    """Let the next step of a fused optimizer change nothing if `skip`, a scalar on its device, is true.

    The device decides, as after an overflow of torch's GradScaler: the host need not know the value. Elsewhere than on
    the devices where this is known to work, the host looks.
    """
    if skip.device.type in SKIPPING_DEVICES:
        vars(optimizer)["found_inf"] = skip.float()
    elif skip:
        optimizer.zero_grad(set_to_none=True)  # parameters without a gradient are left alone


def learning_rate(update: int, settings: OptimizerConfig, *, second_warmup: int = 0) -> float:
    """Return the learning rate of an update, counted from 0.

    If `second_warmup` is above 0, the learning rate warms up once more from that update, within the schedule.
    """
    rate = settings.lr * SCHEDULES[settings.lr_scheduler](update, settings)
    if 0 < second_warmup <= update:
        rate *= min(1.0, (update - second_warmup + 1) / (warmup_updates(settings) + 1))
    return rate


def warmup_updates(settings: OptimizerConfig) -> int:
    """Return the number of warm-up updates, by default a tenth of all."""
    return settings.max_updates // 10 if settings.warmup_updates is None else settings.warmup_updates


def _tri_stage(update: int, settings: OptimizerConfig) -> float:
    """Warm up linearly, hold, decay exponentially (Park et al. 2019; fairseq's default phases 0.1, 0.4, 0.5)."""
    warmup = warmup_updates(settings)
    hold = settings.hold_updates
    if hold is None:
        hold = min(settings.max_updates * 2 // 5, settings.max_updates - warmup)
    if update < warmup:
        return _INITIAL_SCALE + (1 - _INITIAL_SCALE) * update / warmup
    if update < warmup + hold:
        return 1.0
    decay = settings.max_updates - warmup - hold
    return float(max(settings.final_lr_scale, 1e-9) ** min(1.0, (update - warmup - hold) / max(1, decay)))


def _inverse_sqrt(update: int, settings: OptimizerConfig) -> float:
    """Warm up linearly, then decay with the inverse square root of the update (Vaswani et al. 2017)."""
    warmup = max(1, warmup_updates(settings))
    return min((update + 1) / warmup, math.sqrt(warmup / (update + 1)))


def _linear(update: int, settings: OptimizerConfig) -> float:
    """Warm up linearly, then decay linearly to 0."""
    warmup = warmup_updates(settings)
    if update < warmup:
        return (update + 1) / warmup
    return max(0.0, (settings.max_updates - update) / max(1, settings.max_updates - warmup))


def _constant(update: int, settings: OptimizerConfig) -> float:
    """Warm up linearly, then stay constant."""
    return min(1.0, (update + 1) / max(1, warmup_updates(settings)))


# Factor of the peak learning rate at an update, by the name of the schedule.
SCHEDULES: dict[str, Callable[[int, OptimizerConfig], float]] = {
    "tri_stage": _tri_stage,
    "inverse_sqrt": _inverse_sqrt,
    "linear": _linear,
    "constant": _constant,
}
