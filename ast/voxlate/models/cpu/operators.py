"""torch's private operators that the CPU path calls, each with a plain fallback that gives the same results.

They may change or disappear in any release of torch, so they are looked up only here, and only when they are called.
"""

from functools import cache
from typing import Any, cast

import torch
from torch import Tensor

INT8_SHIFT = 128  # added to int8 states, as processors multiply unsigned by signed integers


def _private(name: str) -> Any:
    """Return `torch.{name}`, or None where this build of torch lacks it."""
    attribute: Any = torch
    for part in name.split("."):
        attribute = getattr(attribute, part, None)
    return attribute


@cache
def onednn_supports_bfloat16() -> bool:
    """Return whether oneDNN's own operators take bfloat16 on this processor, which needs AVX-512."""
    check = _private("ops.mkldnn._is_mkldnn_bf16_supported")
    return bool(_private("_C._has_mkldnn") and check is not None and check())


def can_pack_linears() -> bool:
    """Return whether `pack_weight` and `packed_linear` work here. If not, the caller keeps its own layer."""
    operators = ("ops.mkldnn._reorder_linear_weight", "ops.mkldnn._linear_pointwise")
    return onednn_supports_bfloat16() and all(_private(name) is not None for name in operators)


def pack_weight(weight_OI: Tensor) -> Tensor:
    """Return a bfloat16 weight in the memory layout of oneDNN's matrix products."""
    return cast("Tensor", _private("ops.mkldnn._reorder_linear_weight")(weight_OI))


def packed_linear(states: Tensor, packed: Tensor, bias_O: Tensor | None, activation: str) -> Tensor:
    """Return a linear layer and its activation (none, relu, gelu) in one operator, as `torch.compile` does."""
    return cast("Tensor", _private("ops.mkldnn._linear_pointwise")(states, packed, bias_O, activation, [], "none"))


def softmax(scores: Tensor) -> Tensor:
    """Return the softmax over the last dimension, in bfloat16 by oneDNN, which is faster than torch's own."""
    if scores.dtype == torch.bfloat16 and onednn_supports_bfloat16() and _private("Tensor.to_mkldnn") is not None:
        return scores.to_mkldnn().softmax(-1).to_dense()
    return scores.softmax(-1)


def has_int8_products() -> bool:
    """Return whether torch multiplies int8 matrices; without it, `int8_product` is exact but slow."""
    return _private("_int_mm") is not None


def int8_product(rows_NI: Tensor, weight_IO: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the product of two int8 matrices, (N, O) in int32, written to `out` if given."""
    if has_int8_products():
        return torch._int_mm(rows_NI, weight_IO, out=out) if out is not None else torch._int_mm(rows_NI, weight_IO)
    product_NO = (rows_NI.double() @ weight_IO.double()).to(torch.int32)  # exact: float64 holds integers up to 2^53
    return product_NO if out is None else out.copy_(product_NO)


@cache
def int8_weight_limit() -> int:
    """Return the largest int8 weight for which oneDNN's int8 layers are exact on this processor, or 0 without them.

    It is 127, or 64 on x86 processors without VNNI: they add two products in 16 bits and clip the sum, silently.
    """
    if _private("ops.onednn.qlinear_prepack") is None or _private("ops.onednn.qlinear_pointwise") is None:
        return 0
    states = torch.full((64, 256), 255, dtype=torch.uint8)
    for limit in (127, 64):
        weight = torch.full((64, 256), limit, dtype=torch.int8)
        try:
            product = _onednn_int8_linear(states, _pack_int8_weight(weight), torch.ones(64), torch.zeros(64))
        except (RuntimeError, TypeError):  # a build without oneDNN, or other arguments
            return 0
        if bool((product == 256 * 255 * limit).all()):
            return limit
    return 0


def pack_int8_weight(weight_OI: Tensor) -> Tensor:
    """Return an int8 weight as `int8_linear` takes it; no value may exceed `int8_weight_limit`."""
    return _pack_int8_weight(weight_OI) if int8_weight_limit() else weight_OI


def int8_linear(shifted_NI: Tensor, packed: Tensor, scale_O: Tensor, shift_O: Tensor) -> Tensor:
    """Return the product of states and a packed int8 weight times `scale_O`, in float32, (N, O).

    States are uint8, with `INT8_SHIFT` added; `shift_O` is the result for states of -INT8_SHIFT, which undoes that.
    """
    if int8_weight_limit():
        return _onednn_int8_linear(shifted_NI, packed, scale_O, shift_O)
    rows_NI = (shifted_NI ^ INT8_SHIFT).view(torch.int8)  # subtracts it
    return int8_product(rows_NI, packed.T).float().mul_(scale_O)


def _pack_int8_weight(weight_OI: Tensor) -> Tensor:
    states_shape = [256, weight_OI.shape[1]]  # typical; any other number of rows works, too
    return cast("Tensor", _private("ops.onednn.qlinear_prepack")(weight_OI, states_shape))


def _onednn_int8_linear(states_NI: Tensor, packed: Tensor, scale_O: Tensor, bias_O: Tensor) -> Tensor:
    zeros_O = torch.zeros_like(scale_O, dtype=torch.int32)
    quantization = (1.0, 0, torch.float32)  # of the output: none
    linear = _private("ops.onednn.qlinear_pointwise")
    return cast("Tensor", linear(states_NI, 1.0, 0, packed, scale_O, zeros_O, bias_O, *quantization, "none", [], ""))
