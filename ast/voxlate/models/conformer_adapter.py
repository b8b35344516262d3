"""The conformer length adapter of SeamlessM4T and w2v-BERT 2.0: attention and a feed-forward network over fewer states.

Weights have the names that they have in transformers. Shape letters: B utterances, S frames, D width, H heads,
C channels of a head.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, cast

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers.activations import ACT2FN

from voxlate.models.adapter import AdapterConfig
from voxlate.models.encoder import conv_lengths, valid_mask, zero_padding


@dataclass(frozen=True)
class ConformerAdapterConfig(AdapterConfig):
    """Widths and strides; the defaults are SeamlessM4T v2's, one state per 160 ms.

    `final_norm` is a layer norm after the last layer, which SeamlessM4T has, and w2v-BERT 2.0 has not.
    """

    layers: int = 1
    kernel: int = 8
    stride: int = 8
    heads: int = 16
    ffn_width: int = 4096
    activation: str = "relu"
    norm_eps: float = 1e-5
    final_norm: bool = False
    dropout: float = 0.1
    attention_dropout: float = 0.0
    activation_dropout: float = 0.1
    ffn_dropout: float = 0.1


class ConformerAttention(nn.Module):
    """Self-attention without positions."""

    def __init__(self, config: ConformerAdapterConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.attention_dropout
        self.linear_q, self.linear_k, self.linear_v, self.linear_out = (
            nn.Linear(config.output_dim, config.output_dim) for _ in range(4)
        )

    def forward(self, states_BSD: Tensor, mask_B11S: Tensor) -> Tensor:
        """Return the attended states, (B, S, D); the mask is true at valid states."""
        queries, keys, values = (
            linear(states_BSD).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for linear in (self.linear_q, self.linear_k, self.linear_v)
        )
        dropout = self.dropout if self.training else 0.0
        attended_BHSC = F.scaled_dot_product_attention(queries, keys, values, mask_B11S, dropout)
        return cast("Tensor", self.linear_out(attended_BHSC.transpose(1, 2).flatten(2)))


class ConformerFeedForward(nn.Module):
    """A feed-forward network with one hidden layer."""

    def __init__(self, config: ConformerAdapterConfig) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(config.output_dim, config.ffn_width)
        self.output_dense = nn.Linear(config.ffn_width, config.output_dim)
        self.activation: Any = ACT2FN[config.activation]
        self.intermediate_dropout, self.output_dropout = (
            nn.Dropout(config.activation_dropout),
            nn.Dropout(config.ffn_dropout),
        )

    def forward(self, states_BSD: Tensor) -> Tensor:
        """Return the states, (B, S, D)."""
        hidden = self.intermediate_dropout(self.activation(self.intermediate_dense(states_BSD)))
        return cast("Tensor", self.output_dropout(self.output_dense(hidden)))


class ConformerAdapterLayer(nn.Module):
    """Two strided convolutions with GLU, one for the residual and one for attention; then a feed-forward network."""

    def __init__(self, config: ConformerAdapterConfig) -> None:
        super().__init__()
        width, shape = config.output_dim, (config.kernel, config.stride, config.stride // 2)
        self.residual_layer_norm, self.self_attn_layer_norm, self.ffn_layer_norm = (
            nn.LayerNorm(width, eps=config.norm_eps) for _ in range(3)
        )
        self.residual_conv = nn.Conv1d(width, 2 * width, *shape)
        self.self_attn_conv = nn.Conv1d(width, 2 * width, *shape)
        self.self_attn = ConformerAttention(config)
        self.self_attn_dropout = nn.Dropout(config.dropout)
        self.ffn = ConformerFeedForward(config)
        self.min_frames = max(1, config.kernel - 2 * (config.stride // 2))
        for convolution in (self.residual_conv, self.self_attn_conv):  # as in transformers
            nn.init.kaiming_normal_(convolution.weight)

    def forward(self, states_BSD: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return the shortened states, (B, S', D), and their lengths."""
        shorter_B = conv_lengths(lengths_B.clamp(min=self.min_frames), self.residual_conv)
        residual_BSD = self._shorten(self.residual_conv, self.residual_layer_norm(states_BSD), lengths_B)
        states_BSD = self._shorten(self.self_attn_conv, self.self_attn_layer_norm(states_BSD), lengths_B)
        mask_B11S = valid_mask(shorter_B, states_BSD.shape[1])[:, None, None, :]
        states_BSD = self.self_attn_dropout(self.self_attn(states_BSD, mask_B11S)) + residual_BSD
        states_BSD = states_BSD + self.ffn(self.ffn_layer_norm(states_BSD))
        return zero_padding(states_BSD, shorter_B), shorter_B

    def _shorten(self, convolution: nn.Conv1d, states_BSD: Tensor, lengths_B: Tensor) -> Tensor:
        states_BSD = zero_padding(states_BSD, lengths_B)
        states_BSD = F.pad(states_BSD, (0, 0, 0, max(0, self.min_frames - states_BSD.shape[1])))
        return F.glu(convolution(states_BSD.transpose(1, 2)), dim=1).transpose(1, 2)


class ConformerAdapter(nn.Module):
    """The adapter of SeamlessM4T (Barrault et al. 2023), and of transformers' `Wav2Vec2BertModel`.

    Padding is zeroed before each convolution, so that the last states of an utterance do not depend on the rest of the
    batch. There is no layerdrop: skipping a stride would make the lengths wrong.
    """

    KIND: ClassVar[str] = "conformer"
    CONFIG: ClassVar[type[AdapterConfig]] = ConformerAdapterConfig

    def __init__(self, config: ConformerAdapterConfig) -> None:
        super().__init__()
        self.config = config
        self.proj: nn.Linear | None = None
        self.proj_layer_norm: nn.LayerNorm | None = None
        if config.input_dim != config.output_dim:
            self.proj = nn.Linear(config.input_dim, config.output_dim)
            self.proj_layer_norm = nn.LayerNorm(config.output_dim, eps=config.norm_eps)
        self.layers = nn.ModuleList(ConformerAdapterLayer(config) for _ in range(config.layers))
        self.layer_norm = nn.LayerNorm(config.output_dim) if config.final_norm else None

    def forward(self, states_BSD: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return the shortened states, (B, S', D), and their lengths."""
        states_BSD = zero_padding(states_BSD, lengths_B)
        if self.proj is not None and self.proj_layer_norm is not None:
            states_BSD = self.proj_layer_norm(self.proj(states_BSD))
        for layer in self.layers:
            states_BSD, lengths_B = layer(states_BSD, lengths_B)
        if self.layer_norm is not None:
            states_BSD = self.layer_norm(states_BSD)
        return zero_padding(states_BSD, lengths_B), lengths_B
