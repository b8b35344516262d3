"""Scores of the vocabulary on a GPU, with maxima and sums of exponentials in one pass over them.

In the plain path for 1,280 hypotheses and 250,054 ids, a float32 copy and its softmax took an H100 4.4 ms, as long as
the matrix product and the top k together. The kernel is written in Triton, which comes with torch for CUDA. It is
compiled in about a second (an estimate) on first use, and kept in Triton's cache on disk. Small pools do not use it:
their tables are small, and a short job would wait for it. It was never run on a GPU, only in Triton's interpreter.

Shape letters: as in `score_table`.
"""

import logging

import torch
from torch import Tensor

from voxlate.models.decoder import TextDecoder
from voxlate.models.score_table import GROUP_IDS, OutputRows, ScoreTable

_LOG = logging.getLogger(__name__)
_MIN_ROWS = 128  # with fewer, the plain path needs only one block
_BLOCK_IDS = 4_096


def install_fused_scores(decoder: TextDecoder) -> None:
    """Let the search use the kernel, if the decoder is on a CUDA device; do nothing elsewhere."""
    if decoder.output_weight.is_cuda:
        decoder.output_rows_class = FusedOutputRows


class FusedOutputRows(OutputRows):
    """Rows of the output layer, scored with the kernel if there are many states and it works here."""

    kernel_works = True  # until it has failed once in this process

    def score(self, states_RD: Tensor) -> ScoreTable:
        """Return the scores of all rows for the given states."""
        if len(states_RD) < _MIN_ROWS or not FusedOutputRows.kernel_works:
            return super().score(states_RD)
        return FusedScoreTable(states_RD.to(self.weight_VD.dtype), self.weight_VD, self.weight_VD.dtype)


class FusedScoreTable(ScoreTable):
    """A table of one block, summarized by the kernel; by the plain path, if the kernel cannot be compiled."""

    def summary(self, allowed_RV: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the maximum of each group of ids, (R, G), and the log of the sum of all exponentials, (R, 1)."""
        table_RV = self._table.view(self.rows, -1)
        self._multiply(self._weight_VD.T, table_RV)
        try:
            return summarize(table_RV, allowed_RV)
        except Exception as error:  # Triton raises many: no C compiler, no driver, a GPU that is too old
            reason = str(error).strip().partition("\n")[0]
            _LOG.warning(
                "the output layer runs without its kernel, which is slower (%s: %s)", type(error).__name__, reason
            )
            FusedOutputRows.kernel_works = False
        self._block = super()._choose_block()
        return super().summary(allowed_RV)

    def _choose_block(self) -> int:
        return self.size


def summarize(table_RV: Tensor, allowed_RV: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the maximum of each group of ids, (R, G), and the log of the sum of all exponentials, (R, 1)."""
    from voxlate.models.gpu.summary_kernel import summary_kernel  # noqa: PLC0415 (needs Triton)

    rows, size = table_RV.shape
    groups, blocks = -(-size // GROUP_IDS), -(-size // _BLOCK_IDS)
    maxima_RG = table_RV.new_empty((rows, groups), dtype=torch.float32)
    log_sums_RB = table_RV.new_empty((rows, blocks), dtype=torch.float32)
    summary_kernel[(rows, blocks)](
        table_RV,
        table_RV if allowed_RV is None else allowed_RV.view(torch.uint8),
        maxima_RG,
        log_sums_RB,
        size,
        groups,
        blocks,
        HAS_MASK=allowed_RV is not None,
        GROUPS=_BLOCK_IDS // GROUP_IDS,
        GROUP=GROUP_IDS,
    )
    return maxima_RG, log_sums_RB.logsumexp(1, keepdim=True)
