"""wav2vec 2.0's waveform convolutions as matrix products over channels last, for GPUs.

cuDNN's convolutions need the channels first, and layer norm needs them last: half of the encoder's time was spent on
transposes and on passes over the largest states of the network, for an eighth of its FLOPs.
Shape letters: B clips, T samples, S frames before, N frames after, I channels before, O channels after, K kernel,
W = K·I.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.utils.checkpoint import checkpoint

_LOG = logging.getLogger(__name__)

# Compiling fuses layer norm and activation into one pass. That saves an H100 about 13 MB of memory traffic, 4 µs, per
# second of audio, and takes about 5 s. Both are estimates, not measurements. After so much audio the plain path has
# lost as much as compiling costs: then it costs at most twice what the better choice would have cost, however long
# the job turns out to be.
COMPILE_AFTER_SECONDS = 1_000_000.0
_SAMPLE_RATE_HZ = 16_000
Backend = str | Callable[..., Any]  # of torch.compile
_ALIGNMENT = 8  # values: tensor cores need rows of 16 bytes


def norm_and_activation(
    states_BNO: Tensor, weight_O: Tensor, bias_O: Tensor, eps: float, activation: Callable[[Tensor], Tensor]
) -> Tensor:
    """Normalize over the channels, and apply the activation."""
    return activation(F.layer_norm(states_BNO, weight_O.shape, weight_O, bias_O, eps))


@dataclass
class FrontEnd:
    """Replaces the forward pass of a `Wav2Vec2FeatureEncoder` with layer norm: waveform_BT to features (B, O, N).

    Under autocast, it computes in the precision of autocast throughout: products, norm and activation. Norm and
    activation are compiled with `backend` after `compile_after_seconds` of audio; if that fails, they stay as they are.
    """

    extractor: Any
    backend: Backend = "inductor"
    compile_after_seconds: float = COMPILE_AFTER_SECONDS
    seconds: float = 0.0  # of audio so far, with padding
    _compiled: Callable[..., Tensor] | None = field(default=None, repr=False)

    def __call__(self, waveform_BT: Tensor) -> Tensor:
        """Return the features, (B, O, N)."""
        self.seconds += waveform_BT.numel() / _SAMPLE_RATE_HZ
        if self._compiled is None and self.seconds > self.compile_after_seconds:
            self._compiled = torch.compile(norm_and_activation, backend=self.backend, dynamic=True)
        device = waveform_BT.device.type
        autocast = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if autocast else self.extractor.conv_layers[0].conv.weight.dtype
        with torch.autocast(device, enabled=False):
            states_BSI = waveform_BT.to(dtype)[:, :, None]
            for layer in self.extractor.conv_layers:
                if layer.training and layer.gradient_checkpointing and layer.conv.weight.requires_grad:
                    states_BSI = checkpoint(self._layer, layer, states_BSI, use_reentrant=False)
                else:
                    states_BSI = self._layer(layer, states_BSI)
        return states_BSI.transpose(1, 2)

    def _layer(self, layer: Any, states_BSI: Tensor) -> Tensor:
        """Return the states after a layer, (B, N, O)."""
        norm, dtype = layer.layer_norm, states_BSI.dtype
        states_BNO = convolve(states_BSI, layer.conv)
        return self._normalize(states_BNO, norm.weight.to(dtype), norm.bias.to(dtype), norm.eps, layer.activation)

    def _normalize(self, *arguments: Any) -> Tensor:
        """Apply norm and activation, compiled if that is possible."""
        if self._compiled is not None:
            try:
                return self._compiled(*arguments)
            except Exception as error:  # such as no compiler, or a GPU that Triton does not support
                reason = str(error).strip().partition("\n")[0]
                _LOG.warning("layer norm stays uncompiled, which is slower (%s: %s)", type(error).__name__, reason)
                self._compiled, self.compile_after_seconds = None, float("inf")
        return norm_and_activation(*arguments)


def convolve(states_BSI: Tensor, convolution: Any) -> Tensor:
    """Return a 1-D convolution over channels last, (B, N, O), as one matrix product."""
    kernel, stride, channels = convolution.kernel_size[0], convolution.stride[0], states_BSI.shape[2]
    weight_OW = convolution.weight.transpose(1, 2).flatten(1).to(states_BSI.dtype)
    extra = -weight_OW.shape[1] % _ALIGNMENT if channels == 1 else 0
    if extra:  # zeros in the weights, and windows that are longer by as much
        weight_OW, states_BSI = F.pad(weight_OW, (0, extra)), F.pad(states_BSI, (0, 0, 0, extra))
    windows_BNW = states_BSI.unfold(1, kernel + extra, stride).transpose(2, 3).flatten(2).contiguous()
    bias_O = None if convolution.bias is None else convolution.bias.to(states_BSI.dtype)
    return F.linear(windows_BNW, weight_OW, bias_O)
