"""wav2vec 2.0's waveform convolutions as matrix products, channels last: on a CPU faster than torch's convolutions.

Layer norm needs the channels last, too. The weights remain those of transformers' layers, and get gradients.
Shape letters: B clips, T samples, S frames before, N frames after, I channels before, O channels after, K kernel,
W = K·I.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from voxlate.models.cpu.linears import PackedLinear

_PART_FRAMES = 4_096  # few enough to stay in the processor's cache for norm and activation


def convolve(extractor: Any, waveform_BT: Tensor) -> Tensor:
    """Replace `Wav2Vec2FeatureEncoder.forward` if it has layer norm: return features (B, O, N)."""
    states_BSI = waveform_BT[:, :, None].contiguous()
    for layer in extractor.conv_layers:
        if isinstance(layer, PackedConvolution):
            states_BSI = layer(states_BSI)
            continue
        convolution = layer.conv
        states_BNO = _Convolution.apply(states_BSI, convolution.weight, convolution.bias, convolution.stride[0])  # type: ignore[no-untyped-call]
        states_BSI = layer.activation(layer.layer_norm(states_BNO))
    return states_BSI.transpose(1, 2)


class PackedConvolution(nn.Module):
    """A convolutional layer with layer norm, for inference in bfloat16: over channels last, with packed weights."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        weight_OIK = layer.conv.weight
        self._kernel, self._stride = weight_OIK.shape[2], layer.conv.stride[0]
        self._linear = PackedLinear(weight_OIK.transpose(1, 2).flatten(1), layer.conv.bias)
        self._norm, self._activation = layer.layer_norm, layer.activation

    def forward(self, states_BSI: Tensor) -> Tensor:
        """Return the layer's states, (B, N, O)."""
        parts = torch.split(_windows(states_BSI, self._kernel, self._stride), _PART_FRAMES, 1)
        return torch.cat([self._activation(self._norm(self._linear(part))) for part in parts], 1)


class _Convolution(torch.autograd.Function):
    """Windows of the states, which overlap in memory, times the weights."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.bfloat16)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, states_BSI: Tensor, weight_OIK: Tensor, bias_O: Tensor | None, stride: int) -> Tensor:
        weight_OW = weight_OIK.transpose(1, 2).flatten(1)
        ctx.save_for_backward(states_BSI, weight_OW)
        ctx.stride, ctx.kernel, ctx.has_bias = stride, weight_OIK.shape[2], bias_O is not None
        return F.linear(_windows(states_BSI, ctx.kernel, stride), weight_OW, bias_O)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient_BNO: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        states_BSI, weight_OW = ctx.saved_tensors
        needs_states, needs_weight, needs_bias, _ = ctx.needs_input_grad
        gradient_BNO = gradient_BNO.contiguous()
        frames, channels = gradient_BNO.shape[1], states_BSI.shape[2]
        grad_states = grad_weight = grad_bias = None
        if needs_weight:
            windows_MW = _windows(states_BSI, ctx.kernel, ctx.stride).flatten(0, 1)
            grad_weight = gradient_BNO.flatten(0, 1).T @ windows_MW
            grad_weight = grad_weight.view(-1, ctx.kernel, channels).transpose(1, 2)
            grad_weight = grad_weight.clone(memory_format=torch.contiguous_format)  # the layout that DDP expects
        if needs_bias:
            grad_bias = gradient_BNO.sum((0, 1))
        if needs_states:
            grad_states = torch.zeros_like(states_BSI)
            grad_windows_BNW = gradient_BNO @ weight_OW
            for offset in range(ctx.kernel):  # add up the gradients of states that windows share
                frames_at_offset = slice(offset, offset + ctx.stride * (frames - 1) + 1, ctx.stride)
                grad_states[:, frames_at_offset] += grad_windows_BNW[:, :, offset * channels : (offset + 1) * channels]
        return grad_states, grad_weight, grad_bias, None


def _windows(states_BSI: Tensor, kernel: int, stride: int) -> Tensor:
    """Return the states under the kernel at each frame, (B, N, W), as a view in which windows overlap."""
    clips, frames, channels = states_BSI.shape
    shape = (clips, (frames - kernel) // stride + 1, kernel * channels)
    return states_BSI.contiguous().as_strided(shape, (frames * channels, stride * channels, 1))
