"""Attention as two matrix products: on a CPU, faster than torch's fused kernel for few or short sequences.

Shape letters: N utterances, H heads, Q queries, M keys, C channels of a head.
"""

from math import sqrt

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from voxlate.models.cpu.operators import softmax

_MAX_QUERIES = 512  # with more, the fused kernel is faster


def attention(
    queries_NHQC: Tensor,
    keys_NHMC: Tensor,
    values_NHMC: Tensor,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    *,
    is_causal: bool = False,
) -> Tensor:
    """Replace `scaled_dot_product_attention`; a boolean mask is true where queries may attend to keys."""
    unfused = not (torch.is_grad_enabled() or dropout or is_causal) and queries_NHQC.shape[-2] <= _MAX_QUERIES
    if unfused:
        return plain_attention(queries_NHQC, keys_NHMC, values_NHMC, mask)
    return F.scaled_dot_product_attention(queries_NHQC, keys_NHMC, values_NHMC, mask, dropout, is_causal=is_causal)


def plain_attention(queries_NHQC: Tensor, keys_NHMC: Tensor, values_NHMC: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the attended values, (N, H, Q, C), by two matrix products and a softmax."""
    utterances, heads, rows, channels = queries_NHQC.shape
    queries, keys, values = (table.flatten(0, 1) for table in (queries_NHQC, keys_NHMC, values_NHMC))
    scores_NHQM = torch.bmm(queries / sqrt(channels), keys.transpose(1, 2)).view(utterances, heads, rows, -1)
    if mask is not None:
        scores_NHQM = scores_NHQM.masked_fill(~mask, -torch.inf)
    return torch.bmm(softmax(scores_NHQM).flatten(0, 1), values).view(utterances, heads, rows, channels)
