"""Bootstrap confidence intervals of scores, and paired significance tests of two systems on the same sentences.

Shape letters: N sentences, K sums that a metric keeps, M samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from voxlate_eval.metrics import Metric, Sums

TEST_SAMPLES = 10_000  # of each paired test; the standard error of a p-value is 0.005 at most


@dataclass(frozen=True)
class Comparison:
    """The difference between systems A and B (A - B), its 95 % interval, and two-sided p-values."""

    difference: float
    low: float
    high: float
    p_bootstrap: float
    p_randomization: float
    samples: int


def interval(metric: Metric, sums_NK: Sums, *, samples: int = 1000, seed: int = 1) -> tuple[float, float]:
    """Return the 95 % interval of a corpus score: percentiles of the bootstrap over sentences (Koehn 2004)."""
    values_M = [metric.value(sums_K) for sums_K in _bootstrap_sums(sums_NK, samples, seed)]
    low, high = np.percentile(values_M, (2.5, 97.5))
    return float(low), float(high)


def compare(metric: Metric, a_NK: Sums, b_NK: Sums, *, samples: int = TEST_SAMPLES, seed: int = 1) -> Comparison:
    """Compare two systems by paired bootstrap and by approximate randomization (Riezler and Maxwell 2005).

    A p-value is the share of samples under the hypothesis of no difference whose absolute difference is at least the
    observed one. The bootstrap distribution is shifted to a mean of zero for that.
    """
    assert a_NK.shape == b_NK.shape
    width, paired_NK = a_NK.shape[1], np.hstack([a_NK, b_NK])

    def difference(sums_K: Sums) -> float:
        return metric.value(sums_K[:width]) - metric.value(sums_K[width:])

    observed = difference(paired_NK.sum(axis=0))
    bootstrap_M = np.array([difference(sums_K) for sums_K in _bootstrap_sums(paired_NK, samples, seed)])
    low, high = np.percentile(bootstrap_M, (2.5, 97.5))
    swapped_M = np.array([difference(sums_K) for sums_K in _swapped_sums(a_NK, b_NK, samples, seed + 1)])
    return Comparison(
        observed,
        float(low),
        float(high),
        _p_value(bootstrap_M - bootstrap_M.mean(), observed),
        _p_value(swapped_M, observed),
        samples,
    )


def _p_value(differences_M: Sums, observed: float) -> float:
    """Return the two-sided p-value; the observed sample counts as one, so that it is never zero."""
    extreme = int(np.sum(np.abs(differences_M) >= abs(observed) - 1e-9))
    return (extreme + 1) / (len(differences_M) + 1)


def _bootstrap_sums(sums_NK: Sums, samples: int, seed: int) -> Iterator[Sums]:
    """Yield the sums (K,) of corpora of N sentences that are drawn with replacement."""
    rng, n = np.random.default_rng(seed), len(sums_NK)
    for _ in range(samples):
        yield np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float64) @ sums_NK


def _swapped_sums(a_NK: Sums, b_NK: Sums, samples: int, seed: int) -> Iterator[Sums]:
    """Yield the sums of both systems (2K,) after swapping their outputs for a random half of the sentences."""
    rng, n = np.random.default_rng(seed), len(a_NK)
    total_K = np.hstack([a_NK.sum(axis=0), b_NK.sum(axis=0)])
    change_NK = np.hstack([b_NK - a_NK, a_NK - b_NK])
    for _ in range(samples):
        yield total_K + rng.integers(2, size=n, dtype=np.uint8).astype(np.float64) @ change_NK
