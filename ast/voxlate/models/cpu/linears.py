"""Linear layers for translation on a CPU: with weights laid out for oneDNN's products, or with weights of 8 bits.

torch lays weights of less than float32 out again at every call, and runs an activation over memory of its own; the
encoder's layers take a quarter less time without either. Shape letters: N rows of states, I inputs, O outputs.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn


class PackedLinear(nn.Module):
    """A linear layer with bias and activation (none, relu, gelu) in one pass, by the operators of `torch.compile`."""

    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None, activation: str = "none") -> None:
        super().__init__()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight_OI.detach())
        self._bias = None if bias_O is None else bias_O.detach()
        self._activation = activation

    @classmethod
    def of(cls, linear: nn.Linear, activation: str = "none") -> "PackedLinear":
        """Return the packed form of a layer."""
        return cls(linear.weight, linear.bias, activation)

    def forward(self, states: Tensor) -> Tensor:
        """Return the layer's output (..., O) for states (..., I)."""
        operator: Any = torch.ops.mkldnn._linear_pointwise
        return cast("Tensor", operator(states, self._weight, self._bias, self._activation, [], "none"))


class Int8Linear(nn.Module):
    """A linear layer in a quarter of the memory. Its states keep their precision outside.

    Each row of the weights has a scale, and each row of the states gets one when it comes (dynamic quantisation,
    symmetric; Jacob et al. 2018).
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight_OI, self.scale_O = rounded_rows(linear.weight.detach().float())
        self.scale_O = self.scale_O[:, 0]
        self.bias = linear.bias

    def forward(self, states: Tensor) -> Tensor:
        """Return the layer's output (..., O) for states (..., I)."""
        rows_NI, scale_N1 = rounded_rows(states.reshape(-1, states.shape[-1]))
        product_NO = torch._int_mm(rows_NI, self.weight_OI.T).float().mul_(scale_N1).mul_(self.scale_O)
        if self.bias is not None:
            product_NO += self.bias
        return product_NO.to(states.dtype).view(*states.shape[:-1], -1)


def rounded_rows(rows_NI: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows as whole numbers from -127 to 127, and what these are multiples of, (N, 1) in float32."""
    scale_N1 = rows_NI.abs().amax(1, keepdim=True).float().clamp(min=1e-12) / 127
    return (rows_NI.float() / scale_N1).round_().to(torch.int8), scale_N1
