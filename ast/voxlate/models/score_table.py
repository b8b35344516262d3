"""Scores of the vocabulary for a few states, computed and stored in blocks of ids.

Shape letters: R rows (hypotheses), D width, V vocabulary, B ids of a block, G groups of ids, M chosen ids.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

GROUP_IDS = 64  # divides the size of a block
BLOCK_IDS = 8_192  # scored at a time on a CPU, so that the scores of a hypothesis stay in the processor's cache
_BLOCK_SCORES = 1 << 25  # scored at a time on other devices: 128 MiB in float32


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
    """Scores of all ids for the given states. `summary` computes them; after that, `gather` looks some of them up.

    They are kept in the precision of the products. In float32 there is never more than a block.
    """

    def __init__(self, rows_RD: Tensor, weight_VD: Tensor, dtype: torch.dtype) -> None:
        self._rows_RD, self._weight_VD = rows_RD, weight_VD
        self.rows, self.size, self.device = len(rows_RD), len(weight_VD), rows_RD.device
        self._block = self._choose_block()
        self._table = torch.empty(self.rows * self.size, dtype=dtype, device=self.device)

    def summary(self, allowed_RV: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the maximum of each group of ids, (R, G), and the log of the sum of all exponentials, (R, 1).

        Ids that are not allowed have no part in them.
        """
        normalizers, groups = [], []
        for first in range(0, self.size, self._block):
            ids = slice(first, min(first + self._block, self.size))
            table_RB = self._table[ids.start * self.rows : ids.stop * self.rows].view(self.rows, -1)
            self._multiply(self._weight_VD[ids].T, table_RB)
            scores_RB = self._scaled(table_RB.float(), ids)
            if allowed_RV is not None:
                scores_RB.masked_fill_(~allowed_RV[:, ids], -torch.inf)
            padding = -scores_RB.shape[1] % GROUP_IDS
            padded_RB = F.pad(scores_RB, (0, padding), value=-torch.inf) if padding else scores_RB  # pad always copies
            groups.append(padded_RB.view(self.rows, -1, GROUP_IDS).amax(2))
            largest_R1 = groups[-1].amax(1, keepdim=True)
            # The largest probability is the inverse of the sum of exponentials; softmax takes half the time of
            # logsumexp.
            probability_R1 = torch.softmax(scores_RB, 1).amax(1, keepdim=True)
            normalizers.append((largest_R1 - probability_R1.log_()).masked_fill_(largest_R1 == -torch.inf, -torch.inf))
        return torch.cat(groups, 1), torch.cat(normalizers, 1).logsumexp(1, keepdim=True)

    def gather(self, ids_RM: Tensor) -> Tensor:
        """Return the scores of the given ids of each row in float32, (R, M)."""
        first_RM = ids_RM // self._block * self._block
        width_RM = (self.size - first_RM).clamp(max=self._block)
        rows_R1 = torch.arange(self.rows, device=self.device)[:, None]
        scores_RM = self._table[first_RM * self.rows + rows_R1 * width_RM + ids_RM - first_RM].float()
        return self._scaled(scores_RM, ids_RM)

    def _choose_block(self) -> int:
        if self.device.type == "cpu":
            return BLOCK_IDS
        return max(BLOCK_IDS, _BLOCK_SCORES // max(1, self.rows) // GROUP_IDS * GROUP_IDS)

    def _multiply(self, weight_DB: Tensor, out_RB: Tensor) -> None:
        torch.mm(self._rows_RD, weight_DB, out=out_RB)

    def _scaled(self, scores: Tensor, ids: slice | Tensor) -> Tensor:  # noqa: ARG002 (used by subclasses)
        return scores
