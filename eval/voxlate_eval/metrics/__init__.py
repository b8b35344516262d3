"""Metrics of translations: one file each, all returning a `Score`."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """A corpus-level score with its recipe: sacreBLEU's signature, and the number of sentences, `n`."""

    value: float
    signature: str
    n: int


def check_pairs(metric: str, hypotheses: Sequence[str], references: Sequence[str]) -> None:
    """Raise ValueError where counts differ or there is no sentence: nothing is cut to fit."""
    if len(hypotheses) != len(references):
        raise ValueError(
            f"{metric} got {len(hypotheses)} hypotheses and {len(references)} references; expected one reference for "
            "each hypothesis: join the two by id, with an empty hypothesis where a sentence failed"
        )
    if not hypotheses:
        raise ValueError(f"{metric} got no sentences; expected at least one hypothesis with its reference")
