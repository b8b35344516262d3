"""The decoder's caches in search: the cross-attention cache of the speech, and the KV cache of the tokens.

Shape letters: U utterances, K rows (hypotheses) of each, H heads, S encoder states, L cache entries, C channels of a
head.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

_ENTRIES = 32  # allocated at a time; unused ones are masked


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

    def select(self, utterances_U: Tensor) -> "CrossAttentionCache":
        """Return the cache of the given utterances, cut to the longest of them."""
        mask_U11S = self.mask_U11S.index_select(0, utterances_U)
        size = int(mask_U11S.sum(3).max()) if len(mask_U11S) else 0
        return CrossAttentionCache(
            tuple(keys[:, :, :size].index_select(0, utterances_U) for keys in self.keys),
            tuple(values[:, :, :size].index_select(0, utterances_U) for values in self.values),
            mask_U11S[:, :, :, :size],
        )

    def join(self, other: "CrossAttentionCache") -> "CrossAttentionCache":
        """Return the cache of these utterances followed by those of `other`."""
        return CrossAttentionCache(
            tuple(concatenate_padded(*pair, 2) for pair in zip(self.keys, other.keys, strict=True)),
            tuple(concatenate_padded(*pair, 2) for pair in zip(self.values, other.values, strict=True)),
            concatenate_padded(self.mask_U11S, other.mask_U11S, 3),
        )

    @classmethod
    def join_all(cls, caches: Sequence["CrossAttentionCache"]) -> "CrossAttentionCache":
        """Return one cache of the utterances of one or more caches."""
        if len(caches) == 1:
            return caches[0]
        middle = len(caches) // 2
        return cls.join_all(caches[:middle]).join(cls.join_all(caches[middle:]))


class KVCache:
    """Self-attention keys and values of the tokens decoded so far; all hypotheses of an utterance share its entries.

    A mask restricts each hypothesis to the entries of its own tokens. A hypothesis that extends another copies its row
    of the mask, so keys and values are never moved or copied in beam search. Utterances may have different lengths.
    """

    def __init__(self, cross_cache: CrossAttentionCache) -> None:
        self._keys = [keys[:, :, :0] for keys in cross_cache.keys]
        self._values = [values[:, :, :0] for values in cross_cache.values]
        self._used_U = torch.zeros(cross_cache.utterances, dtype=torch.long, device=cross_cache.mask_U11S.device)
        self._newest_UK = self._used_U[:, None]
        self._visible_UKL = cross_cache.mask_U11S[:, 0, :, :0]

    def mask(self) -> Tensor:
        """Return the mask of entries that each row may attend to, (U, 1, K, L)."""
        return self._visible_UKL[:, None]

    def begin(self, rows: int) -> None:
        """Add an entry for one more token of every row. In an empty cache, rows are the tokens of one hypothesis."""
        columns_K = torch.arange(rows, device=self._used_U.device)
        self._newest_UK = self._used_U[:, None] + columns_K
        self._used_U = self._used_U + rows
        empty = self._visible_UKL.shape[2] == 0
        visible_UKL = F.pad(self._visible_UKL, (0, self._size() - self._visible_UKL.shape[2]))
        if empty:
            causal_KL = F.pad(columns_K <= columns_K[:, None], (0, visible_UKL.shape[2] - rows))
            self._visible_UKL = causal_KL.repeat(len(self._used_U), 1, 1)
        else:
            self._visible_UKL = visible_UKL.scatter(2, self._newest_UK[:, :, None], value=True)

    def write(self, layer: int, keys_UHKC: Tensor, values_UHKC: Tensor) -> tuple[Tensor, Tensor]:
        """Store a layer's keys and values of the newest tokens; return those of all entries, (U, H, L, C)."""
        missing = self._visible_UKL.shape[2] - self._keys[layer].shape[2]
        if missing:
            self._keys[layer] = F.pad(self._keys[layer], (0, 0, 0, missing))
            self._values[layer] = F.pad(self._values[layer], (0, 0, 0, missing))
        utterances_U1 = torch.arange(len(self._newest_UK), device=self._newest_UK.device)[:, None]
        self._keys[layer][utterances_U1, :, self._newest_UK] = keys_UHKC.transpose(1, 2)
        self._values[layer][utterances_U1, :, self._newest_UK] = values_UHKC.transpose(1, 2)
        return self._keys[layer], self._values[layer]

    def reorder(self, origins_UK: Tensor) -> None:
        """Let row k of utterance u continue the hypothesis of row `origins_UK[u, k]`."""
        entries = self._visible_UKL.shape[2]
        self._visible_UKL = self._visible_UKL.gather(1, origins_UK[:, :, None].expand(-1, -1, entries))

    def select(self, utterances_U: Tensor) -> None:
        """Keep the given utterances, and no more entries than they need."""
        self._used_U = self._used_U.index_select(0, utterances_U)
        size = self._size()
        self._visible_UKL = self._visible_UKL[:, :, :size].index_select(0, utterances_U)
        self._keys = [keys[:, :, :size].index_select(0, utterances_U) for keys in self._keys]
        self._values = [values[:, :, :size].index_select(0, utterances_U) for values in self._values]

    def join(self, other: "KVCache") -> None:
        """Append the utterances of another cache with the same number of rows per utterance."""
        self._used_U = torch.cat([self._used_U, other._used_U])
        self._visible_UKL = concatenate_padded(self._visible_UKL, other._visible_UKL, 2)
        self._keys = [concatenate_padded(*pair, 2) for pair in zip(self._keys, other._keys, strict=True)]
        self._values = [concatenate_padded(*pair, 2) for pair in zip(self._values, other._values, strict=True)]

    def _size(self) -> int:
        """Return the entries to allocate, a multiple of `_ENTRIES`, so that matrix products take no views."""
        return -(-int(self._used_U.max()) // _ENTRIES) * _ENTRIES if len(self._used_U) else 0


def concatenate_padded(first: Tensor, second: Tensor, dimension: int) -> Tensor:
    """Concatenate two tensors along dimension 0, after padding `dimension` with zeros to the same size."""
    size = max(first.shape[dimension], second.shape[dimension])
    trailing = [0, 0] * (first.dim() - 1 - dimension)
    return torch.cat([F.pad(tensor, [*trailing, 0, size - tensor.shape[dimension]]) for tensor in (first, second)])
