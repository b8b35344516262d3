"""Minimum Bayes risk: of the hypotheses found, the one that agrees most with all of them.

Shape letters: N hypotheses, G different n-grams.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_ORDER, _BETA = 6, 2.0  # of chrF


def by_agreement(texts: Sequence[str], log_probs: Sequence[float]) -> list[int]:
    """Return the places of hypotheses, those first whose expected chrF is highest (Kumar and Byrne 2004).

    What is expected goes by the probabilities of the hypotheses, among themselves.
    """
    different = list(dict.fromkeys(texts))
    weights_N = np.exp(np.asarray(log_probs) - max(log_probs))
    shares = np.array([weights_N[[text == one for text in texts]].sum() for one in different]) / weights_N.sum()
    expected = dict(zip(different, chrf_table(different) @ shares, strict=True))
    return sorted(range(len(texts)), key=lambda place: (-expected[texts[place]], place))


def chrf_table(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return chrF (Popović 2015; sacreBLEU's, from 0 to 100) of each text, by row, with each as its reference."""
    stripped = ["".join(text.split()) for text in texts]
    precision_NN = np.zeros((len(texts), len(texts)))
    recall_NN, orders_NN = np.zeros_like(precision_NN), np.zeros_like(precision_NN)
    for order in range(1, _ORDER + 1):
        counts_NG = _counts(stripped, order)
        totals_N = counts_NG.sum(1)
        matches_NN = np.stack([np.minimum(row_G, counts_NG).sum(1) for row_G in counts_NG])
        both_NN = (totals_N[:, None] > 0) & (totals_N[None] > 0)
        precision_NN += np.where(both_NN, matches_NN / np.maximum(totals_N[:, None], 1), 0.0)
        recall_NN += np.where(both_NN, matches_NN / np.maximum(totals_N[None], 1), 0.0)
        orders_NN += both_NN
    precision_NN, recall_NN = (table / np.maximum(orders_NN, 1) for table in (precision_NN, recall_NN))
    below_NN = _BETA**2 * precision_NN + recall_NN
    above_NN = (1 + _BETA**2) * precision_NN * recall_NN
    return 100 * np.divide(above_NN, below_NN, out=np.zeros_like(below_NN), where=below_NN > 0)


def _counts(texts: Sequence[str], order: int) -> npt.NDArray[np.int64]:
    """Count the n-grams of each text, (N, G)."""
    grams = [[text[start : start + order] for start in range(len(text) - order + 1)] for text in texts]
    columns = {gram: column for column, gram in enumerate(dict.fromkeys(gram for own in grams for gram in own))}
    counts_NG = np.zeros((len(texts), len(columns)), np.int64)
    for row, own in enumerate(grams):
        np.add.at(counts_NG[row], [columns[gram] for gram in own], 1)
    return counts_NG
