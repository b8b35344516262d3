"""Masking of spans in time and over channels (SpecAugment, Park et al. 2019; as in wav2vec 2.0, Baevski et al. 2020).

Shape letters: B utterances, S positions.
"""

import torch
from torch import Tensor

from voxlate.models.encoder import valid_mask


def span_mask(lengths_B: Tensor, size: int, *, probability: float, span: int) -> Tensor:
    """Return a boolean (B, size) mask of random spans, by torch's CPU generator.

    About `probability` of each length is covered if spans do not overlap, which they may. Spans start at different
    places and end within the length; what is shorter than one span is not masked.
    """
    lengths_B = lengths_B.cpu()
    expected_B = probability * lengths_B / span
    spans_B = (expected_B + torch.rand(len(lengths_B))).floor()
    order_BS = torch.rand(len(lengths_B), size)
    order_BS = order_BS.masked_fill(~valid_mask(lengths_B - span + 1, size), 2.0)  # no span can start there
    rank_BS = order_BS.argsort(dim=1).argsort(dim=1)
    starts_BS = (rank_BS < spans_B[:, None]) & (order_BS < 2.0)
    begun_BS = starts_BS.cumsum(dim=1)
    ended_BS = torch.nn.functional.pad(begun_BS, (span, 0))[:, :size]
    return begun_BS > ended_BS
