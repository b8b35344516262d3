"""Metrics of translations, one file each. A metric keeps sums for every sentence and computes its value from them.

Shape letters: N sentences, K sums that a metric keeps (n-gram counts, edits, …).
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

from voxlate_eval import EvaluationError

Sums = npt.NDArray[np.float64]

# Each entry is a factory: make(target_language, name of a tokenizer or None).
METRICS = {
    "bleu": "voxlate_eval.metrics.bleu:make_bleu",
    "chrf": "voxlate_eval.metrics.chrf:make_chrf",
    "chrf++": "voxlate_eval.metrics.chrf:make_chrf_plus_plus",
    "ter": "voxlate_eval.metrics.ter:make_ter",
    "wer": "voxlate_eval.metrics.error_rates:make_wer",
    "cer": "voxlate_eval.metrics.error_rates:make_cer",
    "comet": "voxlate_eval.metrics.comet:make_comet",
    "xcomet": "voxlate_eval.metrics.comet:make_xcomet",
    "metricx": "voxlate_eval.metrics.metricx:make_metricx",
}
_EXTERNAL = ("COMET", "XCOMET", "MetricX")  # run in processes of their own
_CHUNK = 2000  # sentences per task of a worker process


class Metric(Protocol):
    """A metric whose value for a corpus depends only on summed sentence statistics, which can be resampled."""

    @property
    def name(self) -> str:
        """Name in tables, such as BLEU or chrF++."""

    @property
    def signature(self) -> str:
        """Settings and versions that others need to reproduce the number."""

    @property
    def about(self) -> str:
        """Definition, unit and direction in one line for readers of a table."""

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher value is better; false for error rates."""

    def statistics(self, hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str]) -> Any:
        """Return the sums of each sentence, (N, K)."""

    def value(self, sums_K: Sums) -> float:
        """Return the metric of statistics that are summed over sentences."""


@dataclass(frozen=True)
class Score:
    """A corpus-level score with the metric's signature and the number of sentences, `n`."""

    value: float
    signature: str
    n: int


def make_metric(name: str, target_language: str, tokenize: str | None = None) -> Metric:
    """Return a metric for a target language. Raises EvaluationError if the name is unknown."""
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
    """Return the sums of each sentence, (N, K). Large corpora are split among `workers` processes.

    Raises EvaluationError if the counts differ or there are no sentences.
    """
    _check_pairs(metric.name, hypotheses, references)
    n = len(hypotheses)
    if n <= _CHUNK or workers == 1 or metric.name in _EXTERNAL:
        return np.asarray(metric.statistics(hypotheses, references, sources), dtype=np.float64)
    chunks = [
        (metric, hypotheses[i : i + _CHUNK], references[i : i + _CHUNK], sources[i : i + _CHUNK])
        for i in range(0, n, _CHUNK)
    ]
    with ProcessPoolExecutor(min(workers, len(chunks)), mp_context=get_context("spawn")) as pool:
        return np.concatenate(list(pool.map(_chunk_statistics, chunks)))


def _chunk_statistics(chunk: tuple[Metric, Sequence[str], Sequence[str], Sequence[str]]) -> Sums:
    metric, *texts = chunk
    return np.asarray(metric.statistics(*texts), dtype=np.float64)


def corpus_score(metric: Metric, hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Return the score of a corpus with one reference per hypothesis, in the same order.

    Raises EvaluationError if the counts differ or there are no sentences.
    """
    sums_NK = statistics(metric, hypotheses, references)
    return Score(metric.value(sums_NK.sum(axis=0)), metric.signature, len(hypotheses))


def _check_pairs(metric: str, hypotheses: Sequence[str], references: Sequence[str]) -> None:
    """Raise EvaluationError if the counts differ or there are no sentences; nothing is truncated."""
    if len(hypotheses) != len(references):
        raise EvaluationError(
            f"{metric} got {len(hypotheses)} hypotheses and {len(references)} references; expected one reference for "
            "each hypothesis: join the two by id, with an empty hypothesis where a sentence failed"
        )
    if not hypotheses:
        raise EvaluationError(f"{metric} got no sentences; expected at least one hypothesis with its reference")


def sacrebleu_signature(scorer: Any, **changes: str) -> str:
    """Return the signature of a sacreBLEU metric for one reference, with some of its entries replaced."""
    scorer.corpus_score([""], [[""]])  # a signature needs the number of references, which is set by scoring
    signature = scorer.get_signature()
    for key, value in changes.items():
        signature.update(key, value)
    return str(signature)
