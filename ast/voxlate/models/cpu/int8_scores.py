"""Scores of the vocabulary from int8 products, twice as fast as in bfloat16.

They are accurate enough to choose candidates, which the search rescores in float32.
Shape letters: as in `score_table`.
"""

from functools import cached_property

import torch
from torch import Tensor

from voxlate.models.cpu.int8_linears import quantize_rows
from voxlate.models.cpu.operators import int8_product
from voxlate.models.score_table import BLOCK_IDS, OutputRows, ScoreTable


class Int8OutputRows(OutputRows):
    """Rows of the output layer, quantized on first use."""

    @cached_property
    def _quantized(self) -> tuple[Tensor, Tensor]:
        rows, scales = zip(*(quantize_rows(part) for part in torch.split(self.weight_VD, BLOCK_IDS)), strict=True)
        return torch.cat(rows), torch.cat(scales)

    def score(self, states_RD: Tensor) -> ScoreTable:
        """Return the scores of all rows for the given states."""
        return _Int8ScoreTable(states_RD, *self._quantized)


class _Int8ScoreTable(ScoreTable):
    def __init__(self, states_RD: Tensor, rows_VD: Tensor, scale_V1: Tensor) -> None:
        quantized_RD, self._scale_R1 = quantize_rows(states_RD)
        super().__init__(quantized_RD, rows_VD, torch.int32)
        self._scale_V = scale_V1[:, 0]

    def _multiply(self, weight_DB: Tensor, out_RB: Tensor) -> None:
        int8_product(self._rows_RD, weight_DB, out_RB)

    def _scaled(self, scores: Tensor, ids: slice | Tensor) -> Tensor:
        return scores.mul_(self._scale_V[ids]).mul_(self._scale_R1)
