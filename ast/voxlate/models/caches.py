"""The decoder's caches in search: the cross-attention cache of the speech, and the KV cache of the tokens.

Shape letters: U utterances, K rows (hypotheses) of each, H heads, S encoder states, L cache entries, C channels of a
head.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)


@dataclass(frozen=True)
class CrossAttentionCache:
    """Cross-attention keys and values of the encoder states, computed once per utterance.

    keys and values: one (U, H, S, C) tensor per layer; mask_U11S is true at valid states.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    mask_U11S: Tensor

    @property
    def utterances(self) -> int:
        """Number of utterances, U."""
        return self.mask_U11S.shape[0]

    @property
    def states(self) -> int:
        """Number of encoder states, S, with padding."""
        return self.mask_U11S.shape[3]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors, whose first dimension is U."""
        return (*self.keys, *self.values, self.mask_U11S)

    def clone(self) -> "CrossAttentionCache":
        """Return a copy."""
        keys, values = (tuple(table.clone() for table in tables) for tables in (self.keys, self.values))
        return CrossAttentionCache(keys, values, self.mask_U11S.clone())

    def select(self, utterances: Tensor | int, states: int) -> "CrossAttentionCache":
        """Return the cache of the given utterances, or the first ones, cut or padded to a number of states."""
        return CrossAttentionCache(
            tuple(resized(keys, utterances, 2, states) for keys in self.keys),
            tuple(resized(values, utterances, 2, states) for values in self.values),
            resized(self.mask_U11S, utterances, 3, states),
        )

    @classmethod
    def join_all(cls, caches: Sequence["CrossAttentionCache"]) -> "CrossAttentionCache":
        """Return one cache of the utterances of one or more caches."""
        states = max(cache.states for cache in caches)
        return cls(
            tuple(_concatenated(keys, 2, states) for keys in zip(*(cache.keys for cache in caches), strict=True)),
            tuple(_concatenated(values, 2, states) for values in zip(*(cache.values for cache in caches), strict=True)),
            _concatenated([cache.mask_U11S for cache in caches], 3, states),
        )


@dataclass(frozen=True)
class KVCache:
    """Self-attention keys and values of the tokens decoded so far; all hypotheses of an utterance share its entries.

    keys and values: one (U, H, L, C) tensor per layer, to which a step writes in place. `visible_UKL` restricts each
    hypothesis to the entries of its own tokens. A hypothesis that extends another copies its row of this mask, so keys
    and values are never moved or copied in beam search. Utterances may have different lengths. `newest_UK` are the
    entries that the present step writes.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    visible_UKL: Tensor
    newest_UK: Tensor | None = None

    @classmethod
    def of_prefix(cls, cross_cache: CrossAttentionCache, tokens: int, entries: int) -> "KVCache":
        """Return a cache with room for `entries`; a step writes the first `tokens` of one hypothesis per utterance."""
        newest_K = torch.arange(tokens, device=cross_cache.mask_U11S.device)
        causal_KL = torch.arange(entries, device=newest_K.device) <= newest_K[:, None]
        return cls(
            tuple(_zeros(keys, entries) for keys in cross_cache.keys),
            tuple(_zeros(values, entries) for values in cross_cache.values),
            causal_KL.repeat(cross_cache.utterances, 1, 1),
            newest_K.expand(cross_cache.utterances, -1),
        )

    def extended(self, first_U: Tensor) -> "KVCache":
        """Return the cache for a step of one more token of every row; its entries begin at `first_U`."""
        newest_UK = first_U[:, None] + torch.arange(self.visible_UKL.shape[1], device=first_U.device)
        visible_UKL = self.visible_UKL.scatter(2, newest_UK[:, :, None], value=True)
        return replace(self, visible_UKL=visible_UKL, newest_UK=newest_UK)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors that outlast a step, whose first dimension is U."""
        return (*self.keys, *self.values, self.visible_UKL)

    @property
    def mask(self) -> Tensor:
        """The entries that each row may attend to, (U, 1, K, L)."""
        return self.visible_UKL[:, None]

    def write(self, layer: int, keys_UHKC: Tensor, values_UHKC: Tensor) -> tuple[Tensor, Tensor]:
        """Store a layer's keys and values of the newest tokens; return those of all entries, (U, H, L, C)."""
        assert self.newest_UK is not None
        utterances_U1 = torch.arange(len(self.newest_UK), device=self.newest_UK.device)[:, None]
        self.keys[layer][utterances_U1, :, self.newest_UK] = keys_UHKC.transpose(1, 2)
        self.values[layer][utterances_U1, :, self.newest_UK] = values_UHKC.transpose(1, 2)
        return self.keys[layer], self.values[layer]

    def reordered(self, origins_UK: Tensor) -> "KVCache":
        """Return the cache in which row k of utterance u continues the hypothesis of row `origins_UK[u, k]`."""
        entries = self.visible_UKL.shape[2]
        visible_UKL = self.visible_UKL.gather(1, origins_UK[:, :, None].expand(-1, -1, entries))
        return KVCache(self.keys, self.values, visible_UKL)

    def select(self, utterances: Tensor | int, entries: int) -> "KVCache":
        """Return the cache of the given utterances, or the first ones, cut or padded to a number of entries."""
        return KVCache(
            tuple(resized(keys, utterances, 2, entries) for keys in self.keys),
            tuple(resized(values, utterances, 2, entries) for values in self.values),
            resized(self.visible_UKL, utterances, 2, entries),
        )


def resized(tensor: Tensor, rows: Tensor | int, dimension: int, size: int) -> Tensor:
    """Return the given rows of a tensor, or its first ones, with a dimension cut to `size`, or padded with zeros.

    If only the number of rows changes, the first ones are a view.
    """
    chosen = tensor[:rows] if isinstance(rows, int) else tensor.index_select(0, rows)
    missing = size - tensor.shape[dimension]
    return chosen.narrow(dimension, 0, size).contiguous() if missing < 0 else _padded(chosen, dimension, missing)


def _concatenated(tensors: Sequence[Tensor], dimension: int, size: int) -> Tensor:
    return torch.cat([_padded(tensor, dimension, size - tensor.shape[dimension]) for tensor in tensors])


def _padded(tensor: Tensor, dimension: int, missing: int) -> Tensor:
    return F.pad(tensor, [*[0, 0] * (tensor.dim() - 1 - dimension), 0, missing]) if missing else tensor


def _zeros(table_UHSC: Tensor, entries: int) -> Tensor:
    return table_UHSC.new_zeros((*table_UHSC.shape[:2], entries, table_UHSC.shape[3]))
