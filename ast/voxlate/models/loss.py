"""Label-smoothed cross-entropy, summed over target tokens, without the logits of a whole batch in memory.

Shape letters: N rows (tokens), C rows of a chunk, P rows of a part of it, D width, V vocabulary.
"""

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function

CHUNK_SCORES = 1 << 26  # logits in memory at a time: 256 MiB in float32; fewer would take more passes over the gradient
GPU_CHUNK_SCORES = 1 << 28
PART_SCORES = 1 << 22  # of these in float32 at a time on a CPU, to stay in its cache and reuse the same memory
WEIGHT_ROWS = 8192  # rows of the weight's gradient at a time on a CPU, for the same reason


def smoothed_cross_entropy(states_ND: Tensor, weight_VD: Tensor, labels_N: Tensor, smoothing: float) -> Tensor:
    """Return the sum over rows of the label-smoothed cross-entropy (Szegedy et al. 2016) of `states @ weight.T`.

    The target distribution has 1 - smoothing on the label and smoothing spread over the whole vocabulary, as in
    `torch.nn.functional.cross_entropy` (fairseq spreads it over all other pieces: a factor of V / (V - 1)). Every row
    has a label: selecting rows here would make the host wait for a GPU. Logits and their gradients are computed in
    chunks of rows, so that N × V logits never exist (as in Liger Kernel's fused linear cross-entropy, Hsu et al. 2024).
    Under autocast, products have its precision; probabilities are always in float32. Second derivatives are not
    supported.
    """
    return cast("Tensor", _SmoothedCrossEntropy.apply(states_ND, weight_VD, labels_N, smoothing))  # type: ignore[no-untyped-call]


class _SmoothedCrossEntropy(Function):
    @staticmethod
    def forward(ctx: Any, states_ND: Tensor, weight_VD: Tensor, labels_N: Tensor, smoothing: float) -> Tensor:
        device = states_ND.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight_VD.dtype
        with torch.autocast(device, enabled=False):
            weight = weight_VD.to(dtype)
            needs_states, needs_weight = ctx.needs_input_grad[:2]
            grad_states_ND = torch.empty_like(states_ND) if needs_states else None
            grad_weight_VD = torch.empty_like(weight_VD, dtype=torch.float32) if needs_weight else None
            total = torch.zeros((), dtype=torch.float32, device=states_ND.device)
            rows = max(1, (CHUNK_SCORES if device == "cpu" else GPU_CHUNK_SCORES) // len(weight))
            for first in range(0, len(labels_N), rows):
                states_CD = states_ND[first : first + rows].to(dtype)
                scores_CV = states_CD @ weight.T
                total += _replace_by_gradient(scores_CV, labels_N[first : first + rows], smoothing)
                if grad_states_ND is not None:
                    grad_states_ND[first : first + rows] = scores_CV @ weight
                if grad_weight_VD is not None:
                    _add_product(grad_weight_VD, scores_CV, states_CD, overwrite=first == 0)
                del scores_CV  # before those of the next chunk are allocated
        if grad_weight_VD is not None:
            if not len(labels_N):
                grad_weight_VD.zero_()
            grad_weight_VD = grad_weight_VD.to(weight_VD.dtype)
        ctx.save_for_backward(grad_states_ND, grad_weight_VD)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        grad_states_ND, grad_weight_VD = ctx.saved_tensors
        scale = grad_outputs[0]
        # In place: nothing else refers to these tensors, and one is as large as the embeddings.
        scaled = (None if grad is None else grad.mul_(scale) for grad in (grad_states_ND, grad_weight_VD))
        return (*scaled, None, None)


def _add_product(sum_VD: Tensor, scores_CV: Tensor, states_CD: Tensor, *, overwrite: bool) -> None:
    """Add `scores.T @ states` to a sum in float32; or `overwrite` the sum with it."""
    if scores_CV.dtype == sum_VD.dtype:
        sum_VD.addmm_(scores_CV.T, states_CD, beta=0.0 if overwrite else 1.0)
        return
    rows = WEIGHT_ROWS if sum_VD.device.type == "cpu" else len(sum_VD)
    for first in range(0, len(sum_VD), rows):
        part = slice(first, first + rows)
        product = scores_CV[:, part].T @ states_CD
        sum_VD[part] = product if overwrite else sum_VD[part] + product


def _replace_by_gradient(scores_CV: Tensor, labels_C: Tensor, smoothing: float) -> Tensor:
    """Return the sum of the losses of some rows; replace their scores by the gradients, softmax - target."""
    total = torch.zeros((), dtype=torch.float32, device=scores_CV.device)
    vocabulary = scores_CV.shape[1]
    rows = max(1, PART_SCORES // vocabulary) if scores_CV.device.type == "cpu" else len(scores_CV)
    for first in range(0, len(scores_CV), rows):
        part = slice(first, first + rows)
        scores_PV, labels_P = scores_CV[part].float(), labels_C[part, None]
        largest_P = scores_PV.amax(1, keepdim=True)
        target_P = (1 - smoothing) * scores_PV.gather(1, labels_P)
        total -= target_P.sum() + smoothing / vocabulary * scores_PV.sum()
        scores_PV = scores_PV.sub_(largest_P).exp_()
        mass_P = scores_PV.sum(1, keepdim=True)
        total += (mass_P.log() + largest_P).sum()
        scores_PV.div_(mass_P).sub_(smoothing / vocabulary)
        scores_PV.scatter_add_(1, labels_P, torch.full_like(mass_P, smoothing - 1))
        scores_CV[part] = scores_PV
    return total
