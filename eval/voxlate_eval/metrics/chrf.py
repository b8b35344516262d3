"""chrF and chrF++: F-scores of character n-grams, with words or without (Popović 2015, 2017), sacreBLEU's."""

from collections.abc import Sequence

from sacrebleu import CHRF

from voxlate_eval.metrics import Score, corpus_score
from voxlate_eval.metrics.sacre import SacreMetric

_RANGE = "0 to 100, higher is better"


def make_chrf(target_language: str = "", tokenize: str | None = None) -> SacreMetric:  # noqa: ARG001
    """Return chrF2: characters need no tokenizer."""
    return SacreMetric("chrF", CHRF(), f"F-score of n-grams of 1 to 6 characters; {_RANGE}")


def make_chrf_plus_plus(target_language: str = "", tokenize: str | None = None) -> SacreMetric:  # noqa: ARG001
    """Return chrF2++: with n-grams of up to two words."""
    return SacreMetric(
        "chrF++", CHRF(word_order=2), f"F-score of n-grams of 1 to 6 characters and 1 to 2 words; {_RANGE}"
    )


def corpus_chrf(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Return chrF2 from 0 to 100, with one reference for each hypothesis, in their order.

    EvaluationError where the counts differ or there is no sentence.
    """
    return corpus_score(make_chrf(), hypotheses, references)
