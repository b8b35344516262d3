"""Attention as two products of matrices, for few or short sequences on a CPU, where the fused one is slower.

Shape letters: N utterances, H heads, Q queries, M keys, C channels of a head.
"""

from math import sqrt

import torch
from torch import Tensor

from voxlate.models.precision import onednn_takes_bfloat16


def plain_is_faster(queries: Tensor) -> bool:
    """Return whether attention from such queries, without gradients, is faster as two products of matrices."""
    return queries.device.type == "cpu" and not torch.is_grad_enabled() and queries.shape[-2] <= 512


def plain_attention(queries_NHQC: Tensor, keys_NHMC: Tensor, values_NHMC: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return what the queries read of the values, (N, H, Q, C); a mask is true where they may."""
    utterances, heads, rows, channels = queries_NHQC.shape
    queries, keys, values = (table.flatten(0, 1) for table in (queries_NHQC, keys_NHMC, values_NHMC))
    scores_NHQM = torch.bmm(queries / sqrt(channels), keys.transpose(1, 2)).view(utterances, heads, rows, -1)
    if mask is not None:
        scores_NHQM = scores_NHQM.masked_fill(~mask, -torch.inf)
    return torch.bmm(_softmax(scores_NHQM).flatten(0, 1), values).view(utterances, heads, rows, channels)


def _softmax(scores: Tensor) -> Tensor:
    """Return the softmax over the last dimension; in bfloat16 oneDNN's, which is faster than torch's own."""
    if scores.dtype == torch.bfloat16 and onednn_takes_bfloat16():
        return scores.to_mkldnn().softmax(-1).to_dense()
    return scores.softmax(-1)
