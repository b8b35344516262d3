"""What all text decoders have in common: one implementation for training and search.

Shape letters: U utterances, T tokens, K rows (hypotheses) of each utterance in search, S encoder states, D width,
H heads, C channels of a head, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.utils.checkpoint import checkpoint

from voxlate.models.caches import CrossAttentionCache, KVCache
from voxlate.models.encoder import valid_mask, zero_padding
from voxlate.models.precision import layer_norm, layer_norm_float32
from voxlate.models.score_table import OutputRows
from voxlate.tokenizer import EOS_ID, PAD_ID

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu}


@dataclass(frozen=True)
class DecoderConfig:
    """Hyperparameters of a text decoder; the defaults are mBART-50's (459M parameters).

    `activation` must be the one that the weights were trained with: gelu for mbart-large-50, relu for its -mmt models,
    M2M-100, NLLB, SeamlessM4T, and the published speech translation models. `eos_id` also starts a decoder input.
    """

    vocabulary_size: int = 250_054
    width: int = 1024
    layers: int = 12
    heads: int = 16
    ffn_width: int = 4096
    activation: str = "relu"
    max_positions: int = 1024
    scale_embedding: bool = True
    tie_embeddings: bool = True
    dropout: float = 0.1
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    layerdrop: float = 0.0
    pad_id: int = PAD_ID
    eos_id: int = EOS_ID


class DecoderAttention(nn.Module):
    """Multi-head attention of the decoder, over its tokens or over the encoder states."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.attention_dropout
        self.q_proj = nn.Linear(config.width, config.width)
        self.k_proj = nn.Linear(config.width, config.width)
        self.v_proj = nn.Linear(config.width, config.width)
        self.out_proj = nn.Linear(config.width, config.width)
        self.attention: Callable[..., Tensor] = F.scaled_dot_product_attention

    def keys_values(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values of states (N, M, D), each (N, H, M, C)."""
        return self._heads(self.k_proj(states)), self._heads(self.v_proj(states))

    def attend(self, states: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, *, causal: bool) -> Tensor:
        """Attend from states (N, Q, D) to keys and values (N, H, M, C); the mask is true where a state may attend."""
        dropout = self.dropout if self.training else 0.0
        attended = self.attention(self._heads(self.q_proj(states)), keys, values, mask, dropout, is_causal=causal)
        return cast("Tensor", self.out_proj(attended.transpose(1, 2).reshape(states.shape)))

    def weights(self, states: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
        """Return the weights with which states (N, Q, D) attend to keys (N, H, M, C), (N, H, Q, M) in float32."""
        queries = self._heads(self.q_proj(states)).float()
        scores = queries @ keys.float().transpose(2, 3) / sqrt(queries.shape[3])
        return (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(3)

    def _heads(self, states: Tensor) -> Tensor:
        return states.view(*states.shape[:-1], self.heads, -1).transpose(1, 2)


class DecoderLayer(nn.Module):
    """A pre-norm layer: self-attention, cross-attention, feed-forward network."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.self_attn = DecoderAttention(config)
        self.self_attn_layer_norm = nn.LayerNorm(config.width)
        self.encoder_attn = DecoderAttention(config)
        self.encoder_attn_layer_norm = nn.LayerNorm(config.width)
        self.fc1: nn.Module = nn.Linear(config.width, config.ffn_width)
        self.fc2 = nn.Linear(config.ffn_width, config.width)
        self.final_layer_norm = nn.LayerNorm(config.width)
        self.activation = _ACTIVATIONS[config.activation]
        self.dropout = nn.Dropout(config.dropout)
        self.activation_dropout = nn.Dropout(config.activation_dropout)

    def forward(
        self, states_UTD: Tensor, cross_cache: CrossAttentionCache, index: int, kv_cache: KVCache | None
    ) -> Tensor:
        """Return the states after this layer, the decoder's layer `index`; without a KV cache, attention is causal."""
        states_UTD = self.attend_to_tokens(states_UTD, index, kv_cache)
        normalized_UTD = layer_norm(self.encoder_attn_layer_norm, states_UTD)
        attended_UTD = self.encoder_attn.attend(
            normalized_UTD, cross_cache.keys[index], cross_cache.values[index], cross_cache.mask_U11S, causal=False
        )
        states_UTD = states_UTD + self.dropout(attended_UTD)

        hidden = self.activation_dropout(self.activation(self.fc1(layer_norm(self.final_layer_norm, states_UTD))))
        return states_UTD + cast("Tensor", self.dropout(self.fc2(hidden)))

    def attend_to_tokens(self, states_UTD: Tensor, index: int, kv_cache: KVCache | None) -> Tensor:
        """Return the states after self-attention."""
        normalized_UTD = layer_norm(self.self_attn_layer_norm, states_UTD)
        keys, values = self.self_attn.keys_values(normalized_UTD)
        if kv_cache is None:
            attended_UTD = self.self_attn.attend(normalized_UTD, keys, values, None, causal=True)
        else:
            keys, values = kv_cache.write(index, keys, values)
            attended_UTD = self.self_attn.attend(normalized_UTD, keys, values, kv_cache.mask, causal=False)
        return states_UTD + cast("Tensor", self.dropout(attended_UTD))


class TextDecoder(nn.Module):
    """A text decoder of pre-norm layers, with output tied to the input embeddings; kinds differ in their positions.

    A kind derives from this class, adds what `with_positions` needs, and calls `initialize` at the end of its
    constructor. Its weights have the names that transformers' decoder has.
    """

    MODEL_TYPE: ClassVar[str]  # of transformers' config

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocabulary_size, config.width, padding_idx=config.pad_id)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.layer_norm = nn.LayerNorm(config.width)
        self.lm_head: nn.Linear | None = None
        if not config.tie_embeddings:
            self.lm_head = nn.Linear(config.width, config.vocabulary_size, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self.gradient_checkpointing = False
        self.sparse_embedding_gradient = False  # see `_embed`
        self.output_rows_class: type[OutputRows] = OutputRows
        self._scale = sqrt(config.width) if config.scale_embedding else 1.0

    def with_positions(self, states_UTD: Tensor, positions: Tensor) -> Tensor:
        """Return the embedded tokens with their positions, (U, T, D), in float32; positions are (T,) or (U, T)."""
        raise NotImplementedError

    def cross_attention_cache(self, states_USD: Tensor, lengths_U: Tensor) -> CrossAttentionCache:
        """Return the cross-attention keys and values of encoder states."""
        states_USD = zero_padding(states_USD, lengths_U)
        pairs = [cast("DecoderLayer", layer).encoder_attn.keys_values(states_USD) for layer in self.layers]
        mask_U11S = valid_mask(lengths_U, states_USD.shape[1])[:, None, None, :]
        return CrossAttentionCache(tuple(keys for keys, _ in pairs), tuple(values for _, values in pairs), mask_U11S)

    def forward(self, tokens_UT: Tensor, cross_cache: CrossAttentionCache) -> Tensor:
        """Return the states of the tokens, (U, T, D), with causal attention."""
        return self._states(tokens_UT, torch.arange(tokens_UT.shape[1], device=tokens_UT.device), cross_cache, None)

    def cross_attention(self, tokens_UT: Tensor, cross_cache: CrossAttentionCache, layers: Sequence[int]) -> Tensor:
        """Return the cross-attention weights of some layers, (U, layers x H, T, S), which fused attention hides.

        Layers after the last of `layers` are not computed.
        """
        states_UTD = self._embedded(tokens_UT, torch.arange(tokens_UT.shape[1], device=tokens_UT.device))
        weights = []
        for index in range(max(layers) + 1):
            layer = cast("DecoderLayer", self.layers[index])
            if index in layers:
                attending_UTD = layer.attend_to_tokens(states_UTD, index, None)
                attending_UTD = layer_norm(layer.encoder_attn_layer_norm, attending_UTD)
                weights.append(
                    layer.encoder_attn.weights(attending_UTD, cross_cache.keys[index], cross_cache.mask_U11S)
                )
            states_UTD = layer(states_UTD, cross_cache, index, None)
        return torch.cat(weights, dim=1)

    def step(
        self, tokens_UK: Tensor, positions_UK: Tensor, cross_cache: CrossAttentionCache, kv_cache: KVCache
    ) -> Tensor:
        """Return the states of the newest token of every row, (U, K, D), and write its keys and values to the KV cache.

        With a new cache, the K tokens are the first of one hypothesis: the start token and the language tag.
        """
        return self._states(tokens_UK, positions_UK, cross_cache, kv_cache)

    def _states(
        self, tokens_UT: Tensor, positions: Tensor, cross_cache: CrossAttentionCache, kv_cache: KVCache | None
    ) -> Tensor:
        states_UTD = self._embedded(tokens_UT, positions)
        for index, layer in enumerate(self.layers):
            if self.training and self.config.layerdrop and torch.rand(()) < self.config.layerdrop:
                continue
            if self.training and self.gradient_checkpointing:
                states_UTD = checkpoint(layer, states_UTD, cross_cache, index, kv_cache, use_reentrant=False)
            else:
                states_UTD = layer(states_UTD, cross_cache, index, kv_cache)
        return layer_norm_float32(self.layer_norm, states_UTD)

    def _embedded(self, tokens_UT: Tensor, positions: Tensor) -> Tensor:
        return cast("Tensor", self.dropout(self.with_positions(self._embed(tokens_UT) * self._scale, positions)))

    def logits(self, states: Tensor) -> Tensor:
        """Return the scores of the vocabulary, (..., V), for states (..., D)."""
        return F.linear(states.to(self.output_weight.dtype), self.output_weight)

    @property
    def output_weight(self) -> Tensor:
        """Weight of the output layer, (V, D): that of the embeddings if they are tied."""
        return self.lm_head.weight if self.lm_head is not None else self.embed_tokens.weight

    def output_rows(self) -> OutputRows:
        """Return the rows of the output layer, from which the search computes scores."""
        return self.output_rows_class(self.output_weight)

    def _embed(self, tokens_UT: Tensor) -> Tensor:
        # A tied weight gets a dense gradient from the output layer. With `sparse_embedding_gradient`, the few rows of
        # the input are added to it, without a second dense gradient of 1 GB that is nearly all zeros. (The
        # module's own `sparse` would mislead DDP, which takes it as a promise about the sum.)
        sparse = self.lm_head is None and self.sparse_embedding_gradient
        return F.embedding(tokens_UT, self.embed_tokens.weight, self.config.pad_id, sparse=sparse)

    def initialize(self) -> None:
        """Initialize all weights."""
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            elif isinstance(module, nn.Linear):  # as in fairseq; mBART's 0.02 only suits its width of 1024
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.embed_tokens.weight[self.config.pad_id].zero_()
