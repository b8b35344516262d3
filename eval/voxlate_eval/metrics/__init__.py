"""Metrics of translations: one file each, all returning a `Score`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """A corpus-level score with its recipe: sacreBLEU's signature, and the number of sentences, `n`."""

    value: float
    signature: str
    n: int
