"""Metrics of translations, one file each: sums of every sentence, and a value of the sums.

Shape letters: N sentences, K sums that a metric keeps (counts of n-grams, edits, …).
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from multiprocessing import get_context
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from voxlate_eval.errors import EvaluationError

Sums = npt.NDArray[np.float64]

# What makes each metric: make(target_language, tokenizer name or None).
METRICS = {
    "bleu": "voxlate_eval.metrics.bleu:make_bleu",
    "chrf": "voxlate_eval.metrics.chrf:make_chrf",
    "chrf++": "voxlate_eval.metrics.chrf:make_chrf_plus_plus",
    "ter": "voxlate_eval.metrics.ter:make_ter",
    "wer": "voxlate_eval.metrics.error_rates:make_wer",
    "cer": "voxlate_eval.metrics.error_rates:make_cer",
    "comet": "voxlate_eval.metrics.comet:make_comet",
}
_CHUNK = 2000  # sentences that one process takes at a time


class Metric(Protocol):
    """A metric. Its value of a corpus is that of the summed statistics of its sentences, which may be resampled."""

    @property
    def name(self) -> str:
        """How tables call it: BLEU, chrF++."""

    @property
    def signature(self) -> str:
        """What it depends on, for others to get the same number."""

    @property
    def about(self) -> str:
        """What it counts, in which unit, and which way is better, in a line for readers of a table."""

    @property
    def higher_is_better(self) -> bool:
        """Whether more is better; of error rates less is."""

    def statistics(self, hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str]) -> Any:
        """Return the sums of each sentence, (N, K)."""

    def value(self, sums_K: Sums) -> float:
        """Return the metric of summed statistics."""


@dataclass(frozen=True)
class Score:
    """A corpus-level score with its recipe: sacreBLEU's signature, and the number of sentences, `n`."""

    value: float
    signature: str
    n: int


def make_metric(name: str, target_language: str, tokenize: str | None = None) -> Metric:
    """Return a metric for a target language. EvaluationError where the name is unknown."""
    known = name.strip().lower()
    if known not in METRICS:
        close = get_close_matches(known, METRICS, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"expected some of {', '.join(METRICS)}"
        raise EvaluationError(f"unknown metric {name!r}; {hint}")
    module, function = METRICS[known].split(":")
    metric: Metric = getattr(import_module(module), function)(target_language, tokenize)
    return metric


def statistics(
    metric: Metric,
    hypotheses: Sequence[str],
    references: Sequence[str],
    sources: Sequence[str] = (),
    *,
    workers: int = 1,
) -> Sums:
    """Return the sums of each sentence, (N, K), by several processes where there are many sentences.

    EvaluationError where counts differ or there is no sentence: nothing is cut to fit.
    """
    check_pairs(metric.name, hypotheses, references)
    n = len(hypotheses)
    if n <= _CHUNK or workers == 1 or metric.name == "COMET":  # which starts a process of its own
        return np.asarray(metric.statistics(hypotheses, references, sources), dtype=np.float64)
    parts = [
        (metric, hypotheses[i : i + _CHUNK], references[i : i + _CHUNK], sources[i : i + _CHUNK])
        for i in range(0, n, _CHUNK)
    ]
    with ProcessPoolExecutor(min(workers, len(parts)), mp_context=get_context("spawn")) as pool:
        return np.concatenate(list(pool.map(_part, parts)))


def _part(part: tuple[Metric, Sequence[str], Sequence[str], Sequence[str]]) -> Sums:
    metric, *texts = part
    return np.asarray(metric.statistics(*texts), dtype=np.float64)


def corpus_score(metric: Metric, hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Return the score of a corpus, with one reference for each hypothesis, in their order.

    EvaluationError where the counts differ or there is no sentence.
    """
    sums_NK = statistics(metric, hypotheses, references)
    return Score(metric.value(sums_NK.sum(axis=0)), metric.signature, len(hypotheses))


def check_pairs(metric: str, hypotheses: Sequence[str], references: Sequence[str]) -> None:
    """Raise EvaluationError where counts differ or there is no sentence: nothing is cut to fit."""
    if len(hypotheses) != len(references):
        raise EvaluationError(
            f"{metric} got {len(hypotheses)} hypotheses and {len(references)} references; expected one reference for "
            "each hypothesis: join the two by id, with an empty hypothesis where a sentence failed"
        )
    if not hypotheses:
        raise EvaluationError(f"{metric} got no sentences; expected at least one hypothesis with its reference")
