"""chrF and chrF++: F-scores of character n-grams, the latter with word n-grams (Popović 2015, 2017).

sacreBLEU's `CHRF` returns scores but not the counts that resampling requires. The counts and the formula
are therefore computed here, from sacreBLEU's n-gram functions; tests compare the scores with `CHRF`, digit by digit.
"""

import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sacrebleu import CHRF, extract_char_ngrams, extract_word_ngrams

from voxlate_eval.metrics import Score, Sums, corpus_score, sacrebleu_signature

_CHARACTER_ORDER = 6
_RECALL_WEIGHT = 4  # beta squared: chrF2 weights recall twice as much as precision


@dataclass(frozen=True)
class ChrF:
    """chrF2 as sacreBLEU defines it. The sums of a sentence are, per n-gram order, hypothesis, reference, matches."""

    name: str
    word_order: int
    about: str
    higher_is_better: bool = True

    @property
    def signature(self) -> str:
        """sacreBLEU's signature."""
        return sacrebleu_signature(CHRF(word_order=self.word_order))

    def statistics(
        self,
        hypotheses: Sequence[str],
        references: Sequence[str],
        sources: Sequence[str],  # noqa: ARG002 (neural metrics use them)
    ) -> list[list[float]]:
        """Return the n-gram counts of each sentence, (N, 3 × orders)."""
        return [
            [
                count
                for pair in zip(self._ngrams(hypothesis), self._ngrams(reference), strict=True)
                for count in _matches(*pair)
            ]
            for hypothesis, reference in zip(hypotheses, references, strict=True)
        ]

    def value(self, sums_K: Sums) -> float:
        """Return the F-score of mean precision and mean recall over the orders that both texts have."""
        sums = sums_K.tolist()
        orders = [counts for counts in zip(sums[::3], sums[1::3], sums[2::3], strict=True) if counts[0] and counts[1]]
        if not orders:
            return 0.0
        precision = sum(matches / hypothesis for hypothesis, _, matches in orders) / len(orders)
        recall = sum(matches / reference for _, reference, matches in orders) / len(orders)
        if not precision + recall:
            return 0.0
        return float(100 * ((1 + _RECALL_WEIGHT) * precision * recall / (_RECALL_WEIGHT * precision + recall)))

    def _ngrams(self, text: str) -> list[Counter[str]]:
        words = _split_punctuation(text) if self.word_order else []
        return [
            *(extract_char_ngrams(text, order) for order in range(1, _CHARACTER_ORDER + 1)),
            *(extract_word_ngrams(words, order) for order in range(1, self.word_order + 1)),
        ]


def make_chrf(target_language: str = "", tokenize: str | None = None) -> ChrF:  # noqa: ARG001
    """Return chrF2, which needs no tokenizer."""
    return ChrF("chrF", 0, "F-score of n-grams of 1 to 6 characters; 0 to 100, higher is better")


def make_chrf_plus_plus(target_language: str = "", tokenize: str | None = None) -> ChrF:  # noqa: ARG001
    """Return chrF2++, which adds n-grams of up to two words."""
    return ChrF("chrF++", 2, "F-score of n-grams of 1 to 6 characters and 1 to 2 words; 0 to 100, higher is better")


def corpus_chrf(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Return chrF2 (0 to 100) with one reference per hypothesis, in the same order.

    Raises EvaluationError if the counts differ or there are no sentences.
    """
    return corpus_score(make_chrf(), hypotheses, references)


def _matches(hypothesis: Counter[str], reference: Counter[str]) -> tuple[int, int, int]:
    """Count n-grams of the hypothesis, of the reference and in both; like sacreBLEU, none without a reference."""
    matches = sum(min(count, reference[ngram]) for ngram, count in hypothesis.items() if ngram in reference)
    return (hypothesis.total() if reference else 0), reference.total(), matches


def _split_punctuation(text: str) -> list[str]:
    """Separate one punctuation mark from the end of each word, or else from its start, as chrF++ does."""
    words: list[str] = []
    for word in text.split():
        if len(word) > 1 and word[-1] in string.punctuation:
            words += [word[:-1], word[-1]]
        elif len(word) > 1 and word[0] in string.punctuation:
            words += [word[0], word[1:]]
        else:
            words.append(word)
    return words
