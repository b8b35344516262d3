"""Attention as two products of matrices, for few or short sequences on a CPU, where the fused one is slower.

Shape letters: N utterances, H heads, Q queries, M keys, C channels of a head.
"""

from math import sqrt

import torch
from torch import Tensor


def plain_is_faster(queries: Tensor) -> bool:
    """Return whether attention from such queries, without gradients, is faster as two products of matrices."""
    return queries.device.type == "cpu" and not torch.is_grad_enabled() and queries.shape[-2] <= 512


def plain_attention(queries_NHQC: Tensor, keys_NHMC: Tensor, values_NHMC: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return what the queries read of the values, (N, H, Q, C); a mask is true where they may."""
    scores_NHQM = (queries_NHQC / sqrt(queries_NHQC.shape[-1])).matmul(keys_NHMC.transpose(-1, -2))
    if mask is not None:
        scores_NHQM = scores_NHQM.masked_fill(~mask, -torch.inf)
    return scores_NHQM.softmax(-1).matmul(values_NHMC)
