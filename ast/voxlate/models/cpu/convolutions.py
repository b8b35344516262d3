"""Convolutions on the waveform as products of matrices: on a CPU the fastest way, and layer norm needs channels last.

Shape letters: B clips, S frames before, N frames after, I channels before, O channels after, K kernel, W = K·I.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from voxlate.models.cpu.linears import PackedLinear

_PART_FRAMES = 4_096  # what norm and activation go over again is still in the processor's cache


def convolve(layers: Any, waveform_BT: Tensor) -> Tensor:
    """Run transformers' convolutional layers with layer norm over waveforms; return states (B, S, D)."""
    states_BSI = waveform_BT[:, :, None].contiguous()
    for layer in layers:
        if isinstance(layer, PackedConvolution):
            states_BSI = layer(states_BSI)
            continue
        convolution = layer.conv
        found_BNO = _Convolution.apply(states_BSI, convolution.weight, convolution.bias, convolution.stride[0])  # type: ignore[no-untyped-call]
        states_BSI = layer.activation(layer.layer_norm(found_BNO))
    return states_BSI


class PackedConvolution(nn.Module):
    """A layer of the kind above for translation, over channels last: its weights packed, its frames in parts."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        weight_OIK = layer.conv.weight
        self._kernel, self._stride = weight_OIK.shape[2], layer.conv.stride[0]
        self._linear = PackedLinear(weight_OIK.transpose(1, 2).flatten(1), layer.conv.bias)
        self._norm, self._activation = layer.layer_norm, layer.activation

    def forward(self, states_BSI: Tensor) -> Tensor:
        """Return the states of fewer frames, (B, N, O)."""
        parts = torch.split(windows(states_BSI, self._kernel, self._stride), _PART_FRAMES, 1)
        return torch.cat([self._activation(self._norm(self._linear(part))) for part in parts], 1)


class _Convolution(torch.autograd.Function):
    """Windows of the states, which overlap in place, times the weights."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.bfloat16)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, states_BSI: Tensor, weight_OIK: Tensor, bias_O: Tensor | None, stride: int) -> Tensor:
        weight_OW = weight_OIK.transpose(1, 2).flatten(1)
        ctx.save_for_backward(states_BSI, weight_OW)
        ctx.stride, ctx.kernel, ctx.has_bias = stride, weight_OIK.shape[2], bias_O is not None
        return F.linear(windows(states_BSI, ctx.kernel, stride), weight_OW, bias_O)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient_BNO: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        states_BSI, weight_OW = ctx.saved_tensors
        needs_states, needs_weight, needs_bias, _ = ctx.needs_input_grad
        gradient_BNO = gradient_BNO.contiguous()
        frames, channels = gradient_BNO.shape[1], states_BSI.shape[2]
        of_states = of_weight = of_bias = None
        if needs_weight:
            windows_MW = windows(states_BSI, ctx.kernel, ctx.stride).flatten(0, 1)
            of_weight = gradient_BNO.flatten(0, 1).T @ windows_MW
            of_weight = of_weight.view(-1, ctx.kernel, channels).transpose(1, 2)
            of_weight = of_weight.clone(memory_format=torch.contiguous_format)  # laid out as DDP expects it
        if needs_bias:
            of_bias = gradient_BNO.sum((0, 1))
        if needs_states:
            of_states = torch.zeros_like(states_BSI)
            of_windows_BNW = gradient_BNO @ weight_OW
            for place in range(ctx.kernel):  # what the windows share is summed
                reached = slice(place, place + ctx.stride * (frames - 1) + 1, ctx.stride)
                of_states[:, reached] += of_windows_BNW[:, :, place * channels : (place + 1) * channels]
        return of_states, of_weight, of_bias, None


def windows(states_BSI: Tensor, kernel: int, stride: int) -> Tensor:
    """Return what each frame sees, (B, N, W). Windows overlap in place."""
    clips, frames, channels = states_BSI.shape
    shape = (clips, (frames - kernel) // stride + 1, kernel * channels)
    return states_BSI.contiguous().as_strided(shape, (frames * channels, stride * channels, 1))
