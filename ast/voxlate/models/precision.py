"""Layer norm and sums of states in float32, between weights of any precision.

Rounding the sums of every layer to bfloat16 would change one translation in thirty; bfloat16 matrix products alone
change few.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from voxlate.errors import VoxlateError


def layer_norm(norm: nn.LayerNorm, states: Tensor) -> Tensor:
    """Return states normalized in float32, in the precision of the norm's weights."""
    return layer_norm_float32(norm, states).to(norm.weight.dtype)


def layer_norm_float32(norm: nn.LayerNorm, states: Tensor) -> Tensor:
    """Return states normalized in float32."""
    return F.layer_norm(states.float(), norm.normalized_shape, norm.weight.float(), norm.bias.float(), norm.eps)


def nan_scores_error(dtype: torch.dtype) -> VoxlateError:
    """Return the error for a model whose scores are NaN; it recommends float32 if the model runs in less."""
    problem = "the model's scores are NaN in"
    if dtype == torch.float32:
        return VoxlateError(f"{problem} float32: its weights are damaged; fetch the model again")
    name = str(dtype).removeprefix("torch.")
    return VoxlateError(f"{problem} {name}: the weights are damaged, or overflow in it; try --dtype float32")
