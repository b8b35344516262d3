"""SpecAugment of encoder states, in time and over channels (Park et al. 2019), as in wav2vec 2.0 (Baevski et al. 2020).

Shape letters: B utterances, S positions, D width.
"""

from typing import Any

import torch
from torch import Tensor

from voxlate.models.encoder import valid_mask


def mask_states(states_BSD: Tensor, lengths_B: Tensor, network: Any) -> Tensor:
    """Mask spans of frames and channels as set in the network's config; its embedding replaces masked frames.

    transformers' masking fails for batches shorter than one span.
    """
    config, size, width = network.config, states_BSD.shape[1], states_BSD.shape[2]
    if config.mask_time_prob > 0:
        mask_BS = span_mask(lengths_B, size, probability=config.mask_time_prob, span=config.mask_time_length)
        embedding_D = network.masked_spec_embed.to(states_BSD.dtype)
        states_BSD = torch.where(mask_BS[:, :, None], embedding_D, states_BSD)
    if config.mask_feature_prob > 0:
        width_B = torch.full((len(states_BSD),), width, device=states_BSD.device)
        mask_BD = span_mask(width_B, width, probability=config.mask_feature_prob, span=config.mask_feature_length)
        states_BSD = states_BSD.masked_fill(mask_BD[:, None, :], 0.0)
    return states_BSD


def span_mask(lengths_B: Tensor, size: int, *, probability: float, span: int) -> Tensor:
    """Return a boolean (B, size) mask of random spans, drawn from torch's generator of the lengths' device.

    About `probability` of each length is covered, less where spans overlap. Spans have distinct starts and end within
    the length; rows shorter than one span are not masked.
    """
    device = lengths_B.device
    expected_B = probability * lengths_B / span
    spans_B = (expected_B + torch.rand(len(lengths_B), device=device)).floor()
    order_BS = torch.rand(len(lengths_B), size, device=device)
    order_BS = order_BS.masked_fill(~valid_mask(lengths_B - span + 1, size), 2.0)  # no span can start there
    rank_BS = order_BS.argsort(dim=1).argsort(dim=1)
    starts_BS = (rank_BS < spans_B[:, None]) & (order_BS < 2.0)
    started_BS = starts_BS.cumsum(dim=1)
    ended_BS = torch.nn.functional.pad(started_BS, (span, 0))[:, :size]
    return started_BS > ended_BS
