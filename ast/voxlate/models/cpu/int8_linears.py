"""Linear layers with int8 weights, for inference on a CPU.

Rounding, scaling, bias and activation are passes over memory around the integer product. Each layer therefore computes
a few rows at a time, which stay in the processor's cache.
Shape letters: N rows of states, I inputs, O outputs.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from voxlate.models.cpu.operators import INT8_SHIFT, int8_linear, int8_weight_limit, pack_int8_weight

_PART_ROWS = 256
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"none": lambda states: states, "relu": F.relu, "gelu": F.gelu}


class Int8Linear(nn.Module):
    """A linear layer with int8 weights and an activation (none, relu, gelu). Inputs and outputs keep their dtype.

    Weights have one scale for each output, states one for each row, computed at each call (dynamic, symmetric
    quantization; Jacob et al. 2018), so that no row depends on the others.
    """

    def __init__(self, linear: nn.Linear, activation: str = "none") -> None:
        super().__init__()
        weight_OI, scale_O1 = quantize_rows(linear.weight.detach().float(), int8_weight_limit() or 127)
        self._weight = pack_int8_weight(weight_OI)
        self._scale_O = scale_O1[:, 0]
        self._shift_O = weight_OI.sum(1) * self._scale_O * -INT8_SHIFT
        self._bias_O = torch.zeros_like(self._scale_O) if linear.bias is None else linear.bias.detach().float()
        self._activation = _ACTIVATIONS[activation]

    def forward(self, states: "Tensor | QuantizedStates") -> Tensor:
        """Return the layer's output (..., O) for states (..., I)."""
        quantized = states if isinstance(states, QuantizedStates) else quantize_states(states)
        out_NO = torch.empty(len(quantized.scale_N1), len(self._bias_O), dtype=quantized.dtype)
        parts = (torch.split(table, _PART_ROWS) for table in (quantized.shifted_NI, quantized.scale_N1, out_NO))
        for shifted_NI, scale_N1, part_NO in zip(*parts, strict=True):
            product_NO = int8_linear(shifted_NI, self._weight, self._scale_O, self._shift_O)
            torch.addcmul(self._bias_O, product_NO, scale_N1, out=product_NO)
            part_NO.copy_(self._activation(product_NO))
        return out_NO.view(*quantized.shape[:-1], out_NO.shape[1])


class QuantizedStates(NamedTuple):
    """States as uint8 with `INT8_SHIFT` added, the scale of each row, and the shape and dtype that they had."""

    shifted_NI: Tensor
    scale_N1: Tensor
    shape: torch.Size
    dtype: torch.dtype


def quantize_states(states: Tensor) -> QuantizedStates:
    """Quantize each row of states (..., I), once for all int8 layers that take them."""
    rows_NI = states.reshape(-1, states.shape[-1])
    shifted_NI = torch.empty(rows_NI.shape, dtype=torch.uint8)
    scale_N1 = torch.empty(len(rows_NI), 1)
    rounding = torch.tensor(INT8_SHIFT + 0.5)  # conversion to integers truncates
    parts = (torch.split(table, _PART_ROWS) for table in (rows_NI, shifted_NI, scale_N1))
    for part_NI, shifted_part_NI, scale_part_N1 in zip(*parts, strict=True):
        scale_part_N1.copy_(_scales(part_NI))
        shifted_part_NI.copy_(torch.addcmul(rounding, part_NI.float(), 1 / scale_part_N1))
    return QuantizedStates(shifted_NI, scale_N1, states.shape, states.dtype)


def quantize_once(states: Tensor, linear: nn.Module) -> Any:
    """Return states as `linear` and the layers beside it take them: quantized if it is an int8 layer."""
    return quantize_states(states) if isinstance(linear, Int8Linear) else states


def quantize_rows(rows_NI: Tensor, limit: int = 127) -> tuple[Tensor, Tensor]:
    """Return rows as int8 from -limit to limit, and the scale of each row, (N, 1) in float32."""
    scale_N1 = _scales(rows_NI, limit)
    return (rows_NI.float() / scale_N1).round_().to(torch.int8), scale_N1


def _scales(rows_NI: Tensor, limit: int = 127) -> Tensor:
    return rows_NI.abs().amax(1, keepdim=True).float().clamp(min=1e-12) / limit
