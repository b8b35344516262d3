"""The strided length adapter between encoder and decoder: convolutions that shorten the states.

`SpeechAdapter` is the interface of all length adapters. Shape letters: B utterances, S frames, D width.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from voxlate.models.encoder import conv_lengths, zero_padding


class SpeechAdapter(Protocol):
    """An `nn.Module` that shortens states, with true lengths in and out.

    The content of the padding (even NaN) affects no output, and the states of an utterance do not depend on the other
    utterances of the batch.
    """

    KIND: ClassVar[str]  # its name in `ADAPTERS`

    @property
    def config(self) -> "AdapterConfig":
        """Its widths, number of layers, kernel and stride."""
        ...

    def __call__(self, states_BSD: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return the shortened states, (B, S', D), and their lengths."""
        ...


@dataclass(frozen=True)
class AdapterConfig:
    """Widths and strides. The published models have 3 layers of kernel 3 and stride 2: one state per 160 ms.

    If `input_dim` differs from `output_dim` (1B and 2B), a projection with layer norm precedes the convolutions, as in
    transformers. With no layers and equal widths the adapter passes the states through.
    """

    input_dim: int
    output_dim: int
    layers: int = 3
    kernel: int = 3
    stride: int = 2


class AdapterLayer(nn.Module):
    """One strided convolution with GLU."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        # A padding of 1 for every kernel size, as in the published models.
        self.conv = nn.Conv1d(config.output_dim, 2 * config.output_dim, config.kernel, config.stride, padding=1)
        self.min_frames = max(1, config.kernel - 2)
        # As in transformers. torch's default would shrink the magnitude of states to less than a third per layer, and
        # a decoder trained from scratch would not learn to attend to them.
        nn.init.kaiming_normal_(self.conv.weight)

    def forward(self, states_BSD: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return the shortened states, (B, S', D), and their lengths."""
        states_BSD = F.pad(states_BSD, (0, 0, 0, max(0, self.min_frames - states_BSD.shape[1])))
        lengths_B = conv_lengths(lengths_B.clamp(min=self.min_frames), self.conv)
        states_BSD = F.glu(self.conv(states_BSD.transpose(1, 2)), dim=1).transpose(1, 2)
        return zero_padding(states_BSD, lengths_B), lengths_B


class LengthAdapter(nn.Module):
    """Convolutions with GLU (Li et al. 2021; fairseq's Conv1dAdaptor).

    Padding is zeroed before the first convolution and after each, so that the last states of an utterance do not
    depend on the rest of the batch. There is no layerdrop: skipping a stride would make the lengths wrong.
    """

    KIND: ClassVar[str] = "strided"
    CONFIG: ClassVar[type[AdapterConfig]] = AdapterConfig

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.config = config
        self.proj: nn.Linear | None = None
        self.proj_layer_norm: nn.LayerNorm | None = None
        if config.input_dim != config.output_dim:
            self.proj = nn.Linear(config.input_dim, config.output_dim)
            self.proj_layer_norm = nn.LayerNorm(config.output_dim)
        self.layers = nn.ModuleList(AdapterLayer(config) for _ in range(config.layers))

    def forward(self, states_BSD: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return the shortened states, (B, S', D), and their lengths."""
        if self.proj is not None and self.proj_layer_norm is not None:
            states_BSD = self.proj_layer_norm(self.proj(zero_padding(states_BSD, lengths_B)))
        states_BSD = zero_padding(states_BSD, lengths_B)
        for layer in self.layers:
            states_BSD, lengths_B = layer(states_BSD, lengths_B)
        return states_BSD, lengths_B
