"""The Triton kernel of `fused_scores`. It is imported on first use, since torch for CPUs comes without Triton."""

from typing import Any

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def summary_kernel(
    table: Any,
    allowed: Any,
    maxima: Any,
    log_sums: Any,
    size: Any,
    groups: Any,
    blocks: Any,
    HAS_MASK: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,
) -> None:
    """Write the maxima of the groups of one block of a row, and the log of the sum of its exponentials."""
    row, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    group_ids = block * GROUPS + tl.arange(0, GROUPS)
    ids = group_ids[:, None] * GROUP + tl.arange(0, GROUP)[None, :]
    scores = tl.load(table + row * size + ids, mask=ids < size, other=-float("inf")).to(tl.float32)
    if HAS_MASK:
        scores = tl.where(tl.load(allowed + row * size + ids, mask=ids < size, other=0) != 0, scores, -float("inf"))
    group_maxima = tl.max(scores, axis=1)
    tl.store(maxima + row * groups + group_ids, group_maxima, mask=group_ids < groups)
    largest = tl.max(group_maxima, axis=0)
    is_empty = largest == -float("inf")
    total = tl.sum(tl.sum(tl.exp(scores - tl.where(is_empty, 0.0, largest)), axis=1), axis=0)
    log_sum = tl.log(tl.where(is_empty, 1.0, total)) + largest
    tl.store(log_sums + row * blocks + block, log_sum)
