"""The mBART text decoder: one implementation for training and search.

Shape letters: U utterances, T tokens, K rows (hypotheses) of each utterance in search, S encoder states, D width,
H heads, C channels of a head, L slots of a history, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.utils.checkpoint import checkpoint

from voxlate.models.caches import CrossAttentionCache, KVCache
from voxlate.models.cpu.attention import plain_attention, plain_is_faster
from voxlate.models.encoder import valid_mask, zero_padding
from voxlate.models.precision import normed, normed_float
from voxlate.tokenizer import PAD_ID

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu}


@dataclass(frozen=True)
class DecoderConfig:
    """The shape of an mBART decoder; the defaults are mBART-50's (459M parameters).

    `activation` must be the one the weights were trained with: mbart-large-50 is gelu, its -mmt models and the
    published speech translation models are relu.
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


class _Attention(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.attention_dropout
        self.q_proj = nn.Linear(config.width, config.width)
        self.k_proj = nn.Linear(config.width, config.width)
        self.v_proj = nn.Linear(config.width, config.width)
        self.out_proj = nn.Linear(config.width, config.width)

    def keys_values(self, states: Tensor) -> tuple[Tensor, Tensor]:
        return self._heads(self.k_proj(states)), self._heads(self.v_proj(states))

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, *, causal: bool) -> Tensor:
        """Attend from queries (N, Q, D) to keys and values (N, H, M, C)."""
        own = self._heads(self.q_proj(queries))
        if mask is not None and plain_is_faster(own):
            heads = plain_attention(own, keys, values, mask)
        else:
            dropout = self.dropout if self.training else 0.0
            heads = F.scaled_dot_product_attention(own, keys, values, mask, dropout, is_causal=causal)
        return cast("Tensor", self.out_proj(heads.transpose(1, 2).reshape(queries.shape)))

    def _heads(self, states: Tensor) -> Tensor:
        return states.view(*states.shape[:-1], self.heads, -1).transpose(1, 2)


class _Layer(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.self_attn = _Attention(config)
        self.self_attn_layer_norm = nn.LayerNorm(config.width)
        self.encoder_attn = _Attention(config)
        self.encoder_attn_layer_norm = nn.LayerNorm(config.width)
        self.fc1 = nn.Linear(config.width, config.ffn_width)
        self.fc2 = nn.Linear(config.ffn_width, config.width)
        self.final_layer_norm = nn.LayerNorm(config.width)
        self.activation = _ACTIVATIONS[config.activation]
        self.dropout = nn.Dropout(config.dropout)
        self.activation_dropout = nn.Dropout(config.activation_dropout)

    def forward(self, states_UTD: Tensor, memory: CrossAttentionCache, index: int, history: KVCache | None) -> Tensor:
        normed_UTD = normed(self.self_attn_layer_norm, states_UTD)
        keys, values = self.self_attn.keys_values(normed_UTD)
        if history is None:
            attended = self.self_attn.attend(normed_UTD, keys, values, None, causal=True)
        else:
            keys, values = history.write(index, keys, values)
            attended = self.self_attn.attend(normed_UTD, keys, values, history.mask(), causal=False)
        states_UTD = states_UTD + self.dropout(attended)

        normed_UTD = normed(self.encoder_attn_layer_norm, states_UTD)
        attended = self.encoder_attn.attend(
            normed_UTD, memory.keys[index], memory.values[index], memory.mask_U11S, causal=False
        )
        states_UTD = states_UTD + self.dropout(attended)

        hidden = self.activation_dropout(self.activation(self.fc1(normed(self.final_layer_norm, states_UTD))))
        return states_UTD + cast("Tensor", self.dropout(self.fc2(hidden)))


class MBartDecoder(nn.Module):
    """mBART's decoder (Liu et al. 2020): pre-norm layers, learned positions, output tied to the input embeddings."""

    POSITION_OFFSET = 2  # fairseq kept two rows for padding; every checkpoint carries them

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocabulary_size, config.width, padding_idx=PAD_ID)
        self.embed_positions = nn.Embedding(config.max_positions + self.POSITION_OFFSET, config.width)
        self.layernorm_embedding = nn.LayerNorm(config.width)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.layer_norm = nn.LayerNorm(config.width)
        self.lm_head: nn.Linear | None = None
        if not config.tie_embeddings:
            self.lm_head = nn.Linear(config.width, config.vocabulary_size, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self.gradient_checkpointing = False
        self._scale = sqrt(config.width) if config.scale_embedding else 1.0
        self._initialize()

    def cross_attention_cache(self, states_USD: Tensor, lengths_U: Tensor) -> CrossAttentionCache:
        """Return the cross-attention keys and values of encoder states."""
        states_USD = zero_padding(states_USD, lengths_U)
        pairs = [cast("_Layer", layer).encoder_attn.keys_values(states_USD) for layer in self.layers]
        mask_U11S = valid_mask(lengths_U, states_USD.shape[1])[:, None, None, :]
        return CrossAttentionCache(tuple(keys for keys, _ in pairs), tuple(values for _, values in pairs), mask_U11S)

    def forward(self, tokens_UT: Tensor, memory: CrossAttentionCache) -> Tensor:
        """Return the states of the tokens, (U, T, D): each sees those before it."""
        return self._states(tokens_UT, torch.arange(tokens_UT.shape[1], device=tokens_UT.device), memory, None)

    def step(self, tokens_UK: Tensor, positions_UK: Tensor, memory: CrossAttentionCache, history: KVCache) -> Tensor:
        """Return the states of the newest token of every row, (U, K, D), and put it into the history.

        A new history's rows are the first K tokens of one hypothesis: the start token and the language's tag.
        """
        history.begin(tokens_UK.shape[1])
        return self._states(tokens_UK, positions_UK, memory, history)

    def _states(
        self, tokens_UT: Tensor, positions: Tensor, memory: CrossAttentionCache, history: KVCache | None
    ) -> Tensor:
        states_UTD = self._embed(tokens_UT) * self._scale
        states_UTD = states_UTD + self.embed_positions(positions + self.POSITION_OFFSET)
        states_UTD = self.dropout(normed_float(self.layernorm_embedding, states_UTD))
        for index, layer in enumerate(self.layers):
            if self.training and self.config.layerdrop and torch.rand(()) < self.config.layerdrop:
                continue
            if self.training and self.gradient_checkpointing:
                states_UTD = checkpoint(layer, states_UTD, memory, index, history, use_reentrant=False)
            else:
                states_UTD = layer(states_UTD, memory, index, history)
        return normed_float(self.layer_norm, states_UTD)

    def logits(self, states: Tensor) -> Tensor:
        """Return the scores of the vocabulary, (..., V), for states (..., D)."""
        return F.linear(states.to(self.output_weight.dtype), self.output_weight)

    @property
    def output_weight(self) -> Tensor:
        """The output layer's matrix, (V, D): the embeddings where they are tied."""
        return self.lm_head.weight if self.lm_head is not None else self.embed_tokens.weight

    def _embed(self, tokens_UT: Tensor) -> Tensor:
        # A tied matrix gets its dense gradient from the output layer. On a CPU the few rows of the input are added to
        # that as they are, instead of as a second gradient of 1 GB that is all but empty. (DDP would take the module's
        # own `sparse` for a promise about the sum.)
        sparse = self.lm_head is None and tokens_UT.device.type == "cpu"
        return F.embedding(tokens_UT, self.embed_tokens.weight, PAD_ID, sparse=sparse)

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            elif isinstance(module, nn.Linear):  # as in fairseq: mBART's 0.02 suits its width of 1024, not a small one
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.embed_tokens.weight[PAD_ID].zero_()
