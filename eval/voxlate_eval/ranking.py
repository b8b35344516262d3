"""Ranking of any number of systems on the same sentences: paired tests of all pairs, and clusters.

A cluster holds systems that cannot be distinguished: every system of a better cluster is significantly better than
every system of a worse one, as in the rankings of WMT (Kocmi et al. 2024). Significance is at p < 0.05 by approximate
randomization, after Holm's correction (1979) for the number of pairs.

Shape letters: N sentences, K sums that a metric keeps.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from voxlate_eval.metrics import Metric, Sums
from voxlate_eval.significance import TEST_SAMPLES, Comparison, compare

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class RankedPair:
    """The comparison of the systems at two positions (A - B), and its p-value corrected for the number of pairs."""

    a: int
    b: int
    comparison: Comparison
    p_holm: float

    @property
    def is_significant(self) -> bool:
        """Whether the two systems differ."""
        return self.p_holm < SIGNIFICANT


@dataclass(frozen=True)
class Ranking:
    """Systems ranked by a metric. `clusters` has their positions, the best first."""

    values: list[float]
    clusters: list[list[int]]
    pairs: list[RankedPair]

    def as_json(self) -> dict[str, Any]:
        """Return the values, clusters and pairs for a file."""
        pairs = [{"a": pair.a, "b": pair.b, **asdict(pair.comparison), "p_holm": pair.p_holm} for pair in self.pairs]
        return {"values": self.values, "clusters": self.clusters, "pairs": pairs}


def rank(metric: Metric, sums_NK: Sequence[Sums], *, samples: int = TEST_SAMPLES, seed: int = 1) -> Ranking:
    """Rank systems by the sums of their sentences, which are in the same order for all systems."""
    values = [metric.value(sums.sum(axis=0)) for sums in sums_NK]
    tests = {
        (a, b): compare(metric, sums_NK[a], sums_NK[b], samples=samples, seed=seed)
        for a, b in combinations(range(len(values)), 2)
    }
    corrected = holm([test.p_randomization for test in tests.values()])
    pairs = [RankedPair(a, b, test, p) for ((a, b), test), p in zip(tests.items(), corrected, strict=True)]
    order = sorted(range(len(values)), key=values.__getitem__, reverse=metric.higher_is_better)
    return Ranking(values, _clusters(order, pairs), pairs)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's step-down method, in the same order."""
    corrected, highest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = highest
    return corrected


def _clusters(order: Sequence[int], pairs: Sequence[RankedPair]) -> list[list[int]]:
    """Divide an order at each place where all systems before it differ significantly from all after it."""
    different = {frozenset((pair.a, pair.b)) for pair in pairs if pair.is_significant}
    clusters: list[list[int]] = []
    for place, system in enumerate(order):
        before, after = order[:place], order[place:]
        if all(frozenset((a, b)) in different for a in before for b in after):
            clusters.append([])
        clusters[-1].append(system)
    return clusters
