"""Weights of 8 bits on a CPU: linear layers whose products are of whole numbers.

Each row of the weights has a scale, and each row of the states gets one when it comes (dynamic quantisation, symmetric;
Jacob et al. 2018). Shape letters: N rows of states, I inputs, O outputs.
"""

from typing import cast

import torch
from torch import Tensor, nn

from voxlate.models.translator import SpeechTranslator


class Int8Linear(nn.Module):
    """A linear layer in a quarter of the memory. Its states keep their precision outside."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight_OI, self.scale_O = rounded_rows(linear.weight.detach().float())
        self.scale_O = self.scale_O[:, 0]
        self.bias = linear.bias

    def forward(self, states: Tensor) -> Tensor:
        """Return weights times states (..., I), plus bias: (..., O)."""
        rows_NI, scale_N1 = rounded_rows(states.reshape(-1, states.shape[-1]))
        product_NO = torch._int_mm(rows_NI, self.weight_OI.T).float().mul_(scale_N1).mul_(self.scale_O)
        if self.bias is not None:
            product_NO += self.bias
        return product_NO.to(states.dtype).view(*states.shape[:-1], -1)


def rounded_rows(rows_NI: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows as whole numbers from -127 to 127, and what these are multiples of, (N, 1) in float32."""
    scale_N1 = rows_NI.abs().amax(1, keepdim=True).float().clamp(min=1e-12) / 127
    return (rows_NI.float() / scale_N1).round_().to(torch.int8), scale_N1


def to_int8(model: SpeechTranslator) -> None:
    """Replace the linear layers of encoder and decoder; convolutions, embeddings and output layer stay.

    Encoders that reach for the weights of their layers (WavLM) stay, too.
    """
    own = [model.encoder.model.encoder.layers] if getattr(model.encoder, "PLAIN_LAYERS", True) else []
    for layers in (*own, model.decoder.layers):
        for module in [*cast("nn.Module", layers).modules()]:
            for name, child in [*module.named_children()]:
                if isinstance(child, nn.Linear):
                    setattr(module, name, Int8Linear(child))
