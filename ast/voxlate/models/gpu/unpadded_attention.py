"""Attention of wav2vec 2.0 and HuBERT without a mask, which flash attention does not take.

With a mask, torch falls back to a slower kernel. Here, the frames of a batch are one long row, cut into the clips and
the padding after each of them, and every part attends to itself alone: what is computed for padding is never used.
torch's own `varlen_attn` calls the same operator, but without the dropout that training needs. It was never run on a
GPU, only with an equivalent of the operator.

Shape letters: B clips, S frames, N = B·S, H heads, C channels of a head.
"""

from typing import Any

import torch
from torch import Tensor
from torch.backends.cuda import SDPAParams, can_use_flash_attention
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers import AttentionInterface

UNPADDED = "voxlate_unpadded"  # the name of this attention in transformers
_ALIGNMENT = 8  # channels of a head


def can_attend_unpadded(states_BSD: Tensor, heads: int) -> bool:
    """Return whether flash attention takes states of this width, precision and device."""
    device = states_BSD.device
    dtype = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else states_BSD.dtype
    table = torch.empty(1, heads, 1, states_BSD.shape[2] // heads, device=device, dtype=dtype)
    takes = can_use_flash_attention(SDPAParams(table, table, table, None, 0.0, False, False))
    return takes and table.shape[3] % _ALIGNMENT == 0


def cumulative_lengths(mask_BS: Tensor) -> Tensor:
    """Return where the clips and the padding after each of them begin in the row of all frames, and the end of it."""
    frames = mask_BS.numel()
    starts_B = torch.arange(0, frames, mask_BS.shape[1], device=mask_BS.device)
    ends_B = starts_B + mask_BS.sum(1)
    return F.pad(torch.stack([starts_B, ends_B], 1).flatten(), (0, 1), value=frames).int()


def unpadded_attention(
    _: Any,
    queries_BHSC: Tensor,
    keys_BHSC: Tensor,
    values_BHSC: Tensor,
    attention_mask: Tensor,
    dropout: float = 0.0,
    scaling: float | None = None,
    **__: Any,
) -> tuple[Tensor, None]:
    """Return the attended values, (B, S, H, C), as an attention function of transformers.

    `attention_mask` are the `cumulative_lengths`.
    """
    clips, _, frames, _ = queries_BHSC.shape
    tables_NHC = (table_BHSC.transpose(1, 2).flatten(0, 1) for table_BHSC in (queries_BHSC, keys_BHSC, values_BHSC))
    attended_NHC, *_ = torch.ops.aten._flash_attention_forward(
        *tables_NHC, attention_mask, attention_mask, frames, frames, dropout, False, False, scale=scaling
    )
    return attended_NHC.unflatten(0, (clips, frames)), None


AttentionInterface.register(UNPADDED, unpadded_attention)
