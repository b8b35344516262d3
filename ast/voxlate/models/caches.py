"""What the decoder attends to in search: the speech of each utterance, and the tokens of its hypotheses so far.

Shape letters: U utterances, K rows (hypotheses) of each, H heads, S encoder states, L slots for tokens, C channels of a
head.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

_SLOTS = 32  # made at once; those that are not used yet are seen by no row


@dataclass(frozen=True)
class CrossAttentionCache:
    """What the decoder reads of the speech: cross-attention keys and values, once per utterance.

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
        """Return the memory of some utterances, as long as the longest of them."""
        mask_U11S = self.mask_U11S.index_select(0, utterances_U)
        size = int(mask_U11S.sum(3).max()) if len(mask_U11S) else 0
        return CrossAttentionCache(
            tuple(keys[:, :, :size].index_select(0, utterances_U) for keys in self.keys),
            tuple(values[:, :, :size].index_select(0, utterances_U) for values in self.values),
            mask_U11S[:, :, :, :size],
        )

    def join(self, other: "CrossAttentionCache") -> "CrossAttentionCache":
        """Return the memory of these utterances and others."""
        return CrossAttentionCache(
            tuple(joined(*pair, 2) for pair in zip(self.keys, other.keys, strict=True)),
            tuple(joined(*pair, 2) for pair in zip(self.values, other.values, strict=True)),
            joined(self.mask_U11S, other.mask_U11S, 3),
        )


class KVCache:
    """Keys and values of the tokens decoded so far: those of all hypotheses of an utterance, side by side.

    A hypothesis sees its own tokens by a mask. One that grows from another inherits what that saw, and so neither a key
    nor a value is ever moved or copied for it. Utterances need not be equally far.
    """

    def __init__(self, memory: CrossAttentionCache) -> None:
        self._keys = [keys[:, :, :0] for keys in memory.keys]
        self._values = [values[:, :, :0] for values in memory.values]
        self._used_U = torch.zeros(memory.utterances, dtype=torch.long, device=memory.mask_U11S.device)
        self._slots_UK = self._used_U[:, None]
        self._visible_UKL = memory.mask_U11S[:, 0, :, :0]

    def mask(self) -> Tensor:
        """Return which slots each row sees, (U, 1, K, L)."""
        return self._visible_UKL[:, None]

    def begin(self, rows: int) -> None:
        """Make a slot for one more token of every row. The first rows are the first tokens of one hypothesis."""
        columns_K = torch.arange(rows, device=self._used_U.device)
        self._slots_UK = self._used_U[:, None] + columns_K
        self._used_U = self._used_U + rows
        first = self._visible_UKL.shape[2] == 0
        visible_UKL = F.pad(self._visible_UKL, (0, self._slots() - self._visible_UKL.shape[2]))
        if first:
            own_KL = F.pad(columns_K <= columns_K[:, None], (0, visible_UKL.shape[2] - rows))
            self._visible_UKL = own_KL.repeat(len(self._used_U), 1, 1)
        else:
            self._visible_UKL = visible_UKL.scatter(2, self._slots_UK[:, :, None], value=True)

    def write(self, layer: int, keys_UHKC: Tensor, values_UHKC: Tensor) -> tuple[Tensor, Tensor]:
        """Put the newest tokens of a layer into the slots made for them; return what all slots hold, (U, H, L, C)."""
        more = self._visible_UKL.shape[2] - self._keys[layer].shape[2]
        if more:
            self._keys[layer] = F.pad(self._keys[layer], (0, 0, 0, more))
            self._values[layer] = F.pad(self._values[layer], (0, 0, 0, more))
        utterances_U1 = torch.arange(len(self._slots_UK), device=self._slots_UK.device)[:, None]
        self._keys[layer][utterances_U1, :, self._slots_UK] = keys_UHKC.transpose(1, 2)
        self._values[layer][utterances_U1, :, self._slots_UK] = values_UHKC.transpose(1, 2)
        return self._keys[layer], self._values[layer]

    def reorder(self, origins_UK: Tensor) -> None:
        """Let row k of an utterance continue from what was its row `origins_UK[u, k]`."""
        slots = self._visible_UKL.shape[2]
        self._visible_UKL = self._visible_UKL.gather(1, origins_UK[:, :, None].expand(-1, -1, slots))

    def select(self, utterances_U: Tensor) -> None:
        """Keep some utterances, and no more slots than they need."""
        self._used_U = self._used_U.index_select(0, utterances_U)
        slots = self._slots()
        self._visible_UKL = self._visible_UKL[:, :, :slots].index_select(0, utterances_U)
        self._keys = [keys[:, :, :slots].index_select(0, utterances_U) for keys in self._keys]
        self._values = [values[:, :, :slots].index_select(0, utterances_U) for values in self._values]

    def join(self, other: "KVCache") -> None:
        """Add the utterances of another history, with as many rows each."""
        self._used_U = torch.cat([self._used_U, other._used_U])
        self._visible_UKL = joined(self._visible_UKL, other._visible_UKL, 2)
        self._keys = [joined(*pair, 2) for pair in zip(self._keys, other._keys, strict=True)]
        self._values = [joined(*pair, 2) for pair in zip(self._values, other._values, strict=True)]

    def _slots(self) -> int:
        """Return how many slots there must be: whole tensors, not parts of them, are multiplied without a copy."""
        return -(-int(self._used_U.max()) // _SLOTS) * _SLOTS if len(self._used_U) else 0


def joined(one: Tensor, other: Tensor, dimension: int) -> Tensor:
    """Return one tensor after another, both filled up with zeros to the same size in another dimension."""
    size = max(one.shape[dimension], other.shape[dimension])
    behind = [0, 0] * (one.dim() - 1 - dimension)
    return torch.cat([F.pad(tensor, [*behind, 0, size - tensor.shape[dimension]]) for tensor in (one, other)])
