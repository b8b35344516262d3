"""Minimum Bayes risk decoding: rerank hypotheses by their expected chrF against all others.

Shape letters: N hypotheses, G distinct n-grams.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

_ORDER, _BETA = 6, 2.0  # of chrF


def rerank(texts: Sequence[str], log_probs: Sequence[float]) -> list[int]:
    """Return the indices of hypotheses, highest expected chrF first (Kumar and Byrne 2004).

    The expectation is over the hypotheses themselves, weighted by their probabilities. Ties keep their order.
    """
    distinct = list(dict.fromkeys(texts))
    weights_N = np.exp(np.asarray(log_probs) - max(log_probs))
    probabilities = (
        np.array([weights_N[[text == other for other in texts]].sum() for text in distinct]) / weights_N.sum()
    )
    expected = dict(zip(distinct, chrf_table(distinct) @ probabilities, strict=True))
    return sorted(range(len(texts)), key=lambda index: (-expected[texts[index]], index))


def chrf_table(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return chrF from 0 to 100, (N, N): rows are hypotheses, columns references (Popović 2015, as in sacreBLEU)."""
    stripped = ["".join(text.split()) for text in texts]
    precision_NN = np.zeros((len(texts), len(texts)))
    recall_NN, orders_NN = np.zeros_like(precision_NN), np.zeros_like(precision_NN)
    for order in range(1, _ORDER + 1):
        counts_NG = _count_ngrams(stripped, order)
        totals_N = counts_NG.sum(1)
        matches_NN = np.stack([np.minimum(row_G, counts_NG).sum(1) for row_G in counts_NG])
        both_NN = (totals_N[:, None] > 0) & (totals_N[None] > 0)
        precision_NN += np.where(both_NN, matches_NN / np.maximum(totals_N[:, None], 1), 0.0)
        recall_NN += np.where(both_NN, matches_NN / np.maximum(totals_N[None], 1), 0.0)
        orders_NN += both_NN
    precision_NN, recall_NN = (table / np.maximum(orders_NN, 1) for table in (precision_NN, recall_NN))
    numerator_NN = (1 + _BETA**2) * precision_NN * recall_NN
    denominator_NN = _BETA**2 * precision_NN + recall_NN
    return 100 * np.divide(numerator_NN, denominator_NN, out=np.zeros_like(denominator_NN), where=denominator_NN > 0)


def _count_ngrams(texts: Sequence[str], order: int) -> npt.NDArray[np.int64]:
    """Count the character n-grams of each text, (N, G)."""
    ngrams = [[text[start : start + order] for start in range(len(text) - order + 1)] for text in texts]
    columns = {ngram: column for column, ngram in enumerate(dict.fromkeys(chain.from_iterable(ngrams)))}
    counts_NG = np.zeros((len(texts), len(columns)), np.int64)
    for row, row_ngrams in enumerate(ngrams):
        np.add.at(counts_NG[row], [columns[ngram] for ngram in row_ngrams], 1)
    return counts_NG
