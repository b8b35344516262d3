"""How sure a score is: bootstrap intervals, and paired tests of two systems on the same sentences.

Shape letters: N sentences, K sums that a metric keeps, M samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np

from voxlate_eval.metrics import Metric, Sums

_STEP = 1e-3  # of a sum, relative, for the slope of a metric


@dataclass(frozen=True)
class Comparison:
    """System A less system B, with a 95 % interval of the difference and two-sided p-values."""

    difference: float
    low: float
    high: float
    p_bootstrap: float
    p_randomisation: float
    samples: int


def interval(metric: Metric, sums_NK: Sums, *, samples: int = 1000, seed: int = 1) -> tuple[float, float]:
    """Return the 95 % interval of a corpus score: percentiles over corpora drawn with replacement (Koehn 2004)."""
    values_M = [metric.value(sums_K) for sums_K in _resampled(sums_NK, samples, seed)]
    low, high = np.percentile(values_M, (2.5, 97.5))
    return float(low), float(high)


def compare(metric: Metric, a_NK: Sums, b_NK: Sums, *, samples: int = 2000, seed: int = 1) -> Comparison:
    """Compare two systems by paired bootstrap and by approximate randomisation (Riezler and Maxwell 2005)."""
    assert a_NK.shape == b_NK.shape
    width = a_NK.shape[1]
    difference = metric.value(a_NK.sum(axis=0)) - metric.value(b_NK.sum(axis=0))
    influence_N = _influence(metric, a_NK) - _influence(metric, b_NK)
    influence_N -= influence_N.mean()
    drawn_MK = np.stack([*_resampled(np.column_stack([a_NK, b_NK, influence_N]), samples, seed)])
    differences_M = np.array([metric.value(row[:width]) - metric.value(row[width:-1]) for row in drawn_MK])
    low, high = np.percentile(differences_M, (2.5, 97.5))
    deviation = float(np.sqrt(np.sum(influence_N**2)))
    return Comparison(
        difference,
        float(low),
        float(high),
        _bootstrap_p(difference, differences_M, drawn_MK[:, -1], deviation),
        _randomisation_p(metric, a_NK, b_NK, difference, samples, seed),
        samples,
    )


def _resampled(sums_NK: Sums, samples: int, seed: int) -> Iterator[Sums]:
    """Yield the sums of corpora of as many sentences, drawn with replacement."""
    rng, n = np.random.default_rng(seed), len(sums_NK)
    for _ in range(samples):
        yield np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float64) @ sums_NK


def _bootstrap_p(difference: float, differences_M: Sums, linear_M: Sums, deviation: float) -> float:
    """Return how often a difference this large comes by chance: bootstrap, shifted to no difference.

    To count samples leaves an error of 0.01 at 2,000 of them. What the sentences add to the difference to the first
    order, resampled alike, has nearly the same tail, and its `deviation` is known without sampling: by as much as the
    counting missed the one, the other is mended (control variate).
    """
    if deviation == 0:
        return 1.0
    counted = np.mean(np.abs(differences_M - differences_M.mean()) >= abs(difference))
    missed = np.mean(np.abs(linear_M) >= abs(difference)) - erfc(abs(difference) / deviation / sqrt(2))
    return min(1.0, max(float(counted - missed), 1 / (len(differences_M) + 1)))  # samples cannot show "never"


def _influence(metric: Metric, sums_NK: Sums) -> Sums:
    """Return what each sentence adds to the metric, to the first order, (N,)."""
    total_K = sums_NK.sum(axis=0)
    slope_K = np.zeros_like(total_K)
    for k, total in enumerate(total_K):
        above_K, below_K = total_K.copy(), total_K.copy()
        above_K[k] += max(total * _STEP, 1.0)
        below_K[k] = max(2 * total - above_K[k], 0.0)  # sums are counts
        slope_K[k] = (metric.value(above_K) - metric.value(below_K)) / (above_K[k] - below_K[k])
    return np.asarray(sums_NK @ slope_K)


def _randomisation_p(metric: Metric, a_NK: Sums, b_NK: Sums, difference: float, samples: int, seed: int) -> float:
    """Return how often swapping the two systems' sentences at random gives a difference as large."""
    rng = np.random.default_rng(seed + 1)
    total_K, change_NK = a_NK.sum(axis=0), b_NK - a_NK
    other_K = b_NK.sum(axis=0)
    as_large = 0
    for _ in range(samples):
        swapped_K = rng.integers(2, size=len(a_NK)) @ change_NK
        swapped = metric.value(total_K + swapped_K) - metric.value(other_K - swapped_K)
        as_large += abs(swapped) >= abs(difference) - 1e-9
    return (as_large + 1) / (samples + 1)
