"""Scores of the vocabulary for a few states, computed and stored in blocks of ids.

Shape letters: R rows (hypotheses), D width, V vocabulary, B ids of a block, M chosen ids.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK_IDS = 8_192  # scored at a time on a CPU, so that the scores of a hypothesis stay in the processor's cache


class OutputRows:
    """Rows of the output layer, ready to score states."""

    def __init__(self, weight_VD: Tensor) -> None:
        self.weight_VD = weight_VD.detach()

    def select(self, ids_N: Tensor) -> "OutputRows":
        """Return the rows of the given ids."""
        return type(self)(self.weight_VD[ids_N])

    def score(self, states_RD: Tensor) -> "ScoreTable":
        """Return the scores of all rows for the given states."""
        return ScoreTable(states_RD.to(self.weight_VD.dtype), self.weight_VD, self.weight_VD.dtype)


class ScoreTable:
    """Scores of all ids for the given states. `blocks` computes them; after that, `gather` looks some of them up."""

    def __init__(self, rows_RD: Tensor, weight_VD: Tensor, dtype: torch.dtype) -> None:
        self._rows_RD, self._weight_VD = rows_RD, weight_VD
        self.rows, self.size, self.device = len(rows_RD), len(weight_VD), rows_RD.device
        self._block = BLOCK_IDS if self.device.type == "cpu" else self.size
        self._table = torch.empty(self.rows * self.size, dtype=dtype, device=self.device)

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield the ids of each block and their scores in float32, (R, B)."""
        for first in range(0, self.size, self._block):
            ids = slice(first, min(first + self._block, self.size))
            table_RB = self._table[ids.start * self.rows : ids.stop * self.rows].view(self.rows, -1)
            self._multiply(self._weight_VD[ids].T, table_RB)
            yield ids, self._scaled(table_RB.float(), ids)

    def gather(self, ids_RM: Tensor) -> Tensor:
        """Return the scores of the given ids of each row in float32, (R, M)."""
        first_RM = ids_RM // self._block * self._block
        width_RM = (self.size - first_RM).clamp(max=self._block)
        rows_R1 = torch.arange(self.rows, device=self.device)[:, None]
        scores_RM = self._table[first_RM * self.rows + rows_R1 * width_RM + ids_RM - first_RM].float()
        return self._scaled(scores_RM, ids_RM)

    def _multiply(self, weight_DB: Tensor, out_RB: Tensor) -> None:
        torch.mm(self._rows_RD, weight_DB, out=out_RB)

    def _scaled(self, scores: Tensor, ids: slice | Tensor) -> Tensor:  # noqa: ARG002 (used by subclasses)
        return scores
