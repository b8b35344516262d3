"""Word and character error rates of transcripts, computed by jiwer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import jiwer

from voxlate_eval import EvaluationError
from voxlate_eval.metrics import Sums
from voxlate_eval.text_normalization import normalize_words


@dataclass(frozen=True)
class ErrorRate:
    """Edits in percent of the reference's words or characters, which are the two sums of a sentence."""

    name: str
    process: Callable[[str, str], Any]
    normalized: bool  # whether to normalize texts: lower case, no punctuation
    higher_is_better: bool = False

    @property
    def about(self) -> str:
        """Definition, unit and direction in one line."""
        unit = "characters" if self.name == "CER" else "words"
        return f"wrong, missing and extra {unit} in % of the reference's; over 100 is possible, lower is better"

    @property
    def signature(self) -> str:
        """The normalization of the texts, and the version of jiwer."""
        how = "case:lc|punct:no|norm:nfc" if self.normalized else "case:mixed|punct:yes"
        return f"{how}|jiwer:{version('jiwer')}"

    def statistics(
        self,
        hypotheses: Sequence[str],
        references: Sequence[str],
        sources: Sequence[str],  # noqa: ARG002 (only COMET uses them)
    ) -> Any:
        """Return the number of edits and the length of the reference for each sentence, (N, 2)."""
        return [self._edits(*texts) for texts in zip(hypotheses, references, strict=True)]

    def value(self, sums_K: Sums) -> float:
        """Return the rate in percent; without any reference text 100 if there are edits, else 0."""
        edits, length = map(float, sums_K)
        return 100.0 * edits / length if length else 100.0 * (edits > 0)

    def _edits(self, hypothesis: str, reference: str) -> tuple[int, int]:
        hypothesis, reference = (
            normalize_words(text) if self.normalized else text.strip() for text in (hypothesis, reference)
        )
        if not reference:  # jiwer requires a reference; the whole hypothesis is insertions
            return len(hypothesis if self.name == "CER" else hypothesis.split()), 0
        found = self.process(reference, hypothesis)
        edits = found.substitutions + found.deletions + found.insertions
        return edits, found.hits + found.substitutions + found.deletions


def make_wer(target_language: str = "", tokenize: str | None = None) -> ErrorRate:  # noqa: ARG001
    """Return WER of normalized text, or of unchanged text if `tokenize` is "none"."""
    return ErrorRate("WER", jiwer.process_words, _is_normalized("WER", tokenize))


def make_cer(target_language: str = "", tokenize: str | None = None) -> ErrorRate:  # noqa: ARG001
    """Return CER of normalized text, or of unchanged text if `tokenize` is "none". Spaces count as characters."""
    return ErrorRate("CER", jiwer.process_characters, _is_normalized("CER", tokenize))


def _is_normalized(name: str, tokenize: str | None) -> bool:
    if tokenize not in (None, "none"):
        raise EvaluationError(f"{name} has no tokenizer {tokenize!r}; expected none, which leaves texts unchanged")
    return tokenize is None
