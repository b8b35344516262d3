"""Sums of states in float32 between weights of any precision.

Layer upon layer of sums rounded to bfloat16 would change a translation in thirty; matrices in bfloat16 change few.
"""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from voxlate.errors import VoxlateError


def normed(norm: nn.LayerNorm, states: Tensor) -> Tensor:
    """Return states normalised in float32, in the precision of the weights that take them."""
    return normed_float(norm, states).to(norm.weight.dtype)


def normed_float(norm: nn.LayerNorm, states: Tensor) -> Tensor:
    """Return states normalised in float32."""
    return F.layer_norm(states.float(), norm.normalized_shape, norm.weight.float(), norm.bias.float(), norm.eps)


def not_numbers(dtype: torch.dtype) -> VoxlateError:
    """Return the error of a model whose scores are NaN; float32 is advice only where less was used."""
    where = "the model's scores are not numbers in"
    if dtype == torch.float32:
        return VoxlateError(f"{where} float32: its weights are damaged; fetch the model again")
    name = str(dtype).removeprefix("torch.")
    return VoxlateError(f"{where} {name}: the weights are damaged, or overflow in it; try --dtype float32")


@cache
def onednn_takes_bfloat16() -> bool:
    """Return whether oneDNN's own operators take bfloat16 here: not on processors of less than AVX-512."""
    return bool(torch._C._has_mkldnn and torch.ops.mkldnn._is_mkldnn_bf16_supported())
