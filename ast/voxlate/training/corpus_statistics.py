"""Measure the clips and translations of a training corpus.

Shape letter: N utterances.
"""

import numpy as np

from voxlate.checkpoints.training_statistics import TrainingStatistics
from voxlate.data.corpus import Corpus
from voxlate.tokenizer import Tokenizer

_TOKENIZED = 10_000  # translations that are tokenized, evenly spaced in the corpus


def measure_statistics(corpus: Corpus, tokenizer: Tokenizer) -> TrainingStatistics:
    """Return the lengths of a corpus that is not empty. Clips that augmentation joins count as they are stored."""
    median, q95 = np.quantile(corpus.seconds_N, (0.5, 0.95)).tolist()
    positions_N = np.linspace(0, len(corpus) - 1, min(_TOKENIZED, len(corpus))).round().astype(int)
    tokens = [len(tokenizer.encode(corpus[index].target_text or "")) + 1 for index in positions_N.tolist()]
    rates = np.quantile(np.array(tokens) / corpus.seconds_N[positions_N], (0.05, 0.5, 0.95)).tolist()
    return TrainingStatistics(median, q95, float(corpus.seconds_N.max()), *rates)
