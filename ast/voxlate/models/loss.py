"""Label-smoothed cross-entropy as a sum over target tokens, without the scores of a whole batch in memory.

Shape letters: N rows (tokens), D width, V vocabulary.
"""

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function

from voxlate.text import IGNORED_ID

_CHUNK_SCORES = 1 << 24  # logits held at once: 64 MiB in float32, and as much again for what is made of them


def smoothed_cross_entropy(states_ND: Tensor, weight_VD: Tensor, labels_N: Tensor, smoothing: float) -> Tensor:
    """Return the sum over rows of the label-smoothed cross-entropy (Szegedy et al. 2016) of `states @ weight.T`.

    The target is 1 - smoothing on the label and smoothing spread over the whole vocabulary, as in
    `torch.nn.functional.cross_entropy` (fairseq spreads it over all other pieces: a factor of V / (V - 1)). Rows
    labelled `IGNORED_ID` add nothing. Logits are made for some rows at a time, and their gradients with them, so that
    N × V scores never exist (the idea of Liger Kernel's fused linear cross-entropy, Hsu et al. 2024). Under autocast
    the products are made in its precision, the probabilities always in float32. No second derivatives.
    """
    kept_N = labels_N != IGNORED_ID
    states_ND, labels_N = states_ND[kept_N], labels_N[kept_N]
    return cast("Tensor", _SmoothedCrossEntropy.apply(states_ND, weight_VD, labels_N, smoothing))  # type: ignore[no-untyped-call]


class _SmoothedCrossEntropy(Function):
    @staticmethod
    def forward(ctx: Any, states_ND: Tensor, weight_VD: Tensor, labels_N: Tensor, smoothing: float) -> Tensor:
        device = states_ND.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight_VD.dtype
        with torch.autocast(device, enabled=False):
            weight = weight_VD.to(dtype)
            wants_states, wants_weight = ctx.needs_input_grad[:2]
            grad_states_ND = torch.empty_like(states_ND) if wants_states else None
            grad_weight_VD = torch.zeros_like(weight_VD, dtype=torch.float32) if wants_weight else None
            total = torch.zeros((), dtype=torch.float32, device=states_ND.device)
            vocabulary = weight.shape[0]
            rows = max(1, _CHUNK_SCORES // vocabulary)
            for first in range(0, len(labels_N), rows):
                states = states_ND[first : first + rows].to(dtype)
                labels = labels_N[first : first + rows, None]
                scores = (states @ weight.T).float()
                normalizer = torch.logsumexp(scores, dim=1, keepdim=True)
                total += (normalizer - (1 - smoothing) * scores.gather(1, labels)).sum() - (
                    smoothing / vocabulary * scores.sum()
                )
                if not (wants_states or wants_weight):
                    continue
                gradient = scores.sub_(normalizer).exp_().sub_(smoothing / vocabulary)  # softmax minus target
                gradient.scatter_add_(1, labels, torch.full_like(gradient[:, :1], smoothing - 1))
                gradient = gradient.to(dtype)
                if grad_states_ND is not None:
                    grad_states_ND[first : first + rows] = gradient @ weight
                if grad_weight_VD is not None:
                    if grad_weight_VD.dtype == dtype:
                        grad_weight_VD.addmm_(gradient.T, states)
                    else:
                        grad_weight_VD += gradient.T @ states
        if grad_weight_VD is not None:
            grad_weight_VD = grad_weight_VD.to(weight_VD.dtype)
        ctx.save_for_backward(grad_states_ND, grad_weight_VD)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        grad_states_ND, grad_weight_VD = ctx.saved_tensors
        scale = grad_outputs[0]
        # In place: these tensors are ours, and the weight's is as large as the vocabulary.
        scaled = (None if grad is None else grad.mul_(scale) for grad in (grad_states_ND, grad_weight_VD))
        return (*scaled, None, None)
