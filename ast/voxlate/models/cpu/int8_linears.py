"""Linear layers with int8 weights, for inference on a CPU.

Rounding, scaling, bias and activation are passes over memory around the integer product. Each layer therefore computes
a few rows at a time, which stay in the processor's cache.
Shape letters: N rows of states, I inputs, O outputs.
"""

from collections.abc import Callable

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
        self._rounding = torch.tensor(INT8_SHIFT + 0.5)  # conversion to integers truncates
        self._activation = _ACTIVATIONS[activation]

    def forward(self, states: Tensor) -> Tensor:
        """Return the layer's output (..., O) for states (..., I)."""
        rows_NI = states.reshape(-1, states.shape[-1])
        out_NO = rows_NI.new_empty(len(rows_NI), len(self._bias_O))
        for first in range(0, len(rows_NI), _PART_ROWS):
            part_NI = rows_NI[first : first + _PART_ROWS]
            scale_N1 = _scales(part_NI)
            shifted_NI = torch.addcmul(self._rounding, part_NI.float(), 1 / scale_N1).to(torch.uint8)
            product_NO = int8_linear(shifted_NI, self._weight, self._scale_O, self._shift_O)
            torch.addcmul(self._bias_O, product_NO, scale_N1, out=product_NO)
            out_NO[first : first + _PART_ROWS] = self._activation(product_NO)
        return out_NO.view(*states.shape[:-1], out_NO.shape[1])


def quantize_rows(rows_NI: Tensor, limit: int = 127) -> tuple[Tensor, Tensor]:
    """Return rows as int8 from -limit to limit, and the scale of each row, (N, 1) in float32."""
    scale_N1 = _scales(rows_NI, limit)
    return (rows_NI.float() / scale_N1).round_().to(torch.int8), scale_N1


def _scales(rows_NI: Tensor, limit: int = 127) -> Tensor:
    return rows_NI.abs().amax(1, keepdim=True).float().clamp(min=1e-12) / limit
