"""Word and character error rate of transcripts, jiwer's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import jiwer

from voxlate_eval import EvaluationError
from voxlate_eval.metrics import Sums
from voxlate_eval.words import plain_words


@dataclass(frozen=True)
class ErrorRate:
    """Edits in percent of the reference's words or characters; its sums are the edits and those."""

    name: str
    process: Callable[[str, str], Any]
    plain: bool  # lower case, without punctuation
    higher_is_better: bool = False

    @property
    def about(self) -> str:
        """What it counts, in which unit, and which way is better."""
        unit = "characters" if self.name == "CER" else "words"
        return f"wrong, missing and extra {unit} in % of the reference's; over 100 is possible, lower is better"

    @property
    def signature(self) -> str:
        """What was done to the texts, and by which version of jiwer."""
        how = "case:lc|punct:no|norm:nfc" if self.plain else "case:mixed|punct:yes"
        return f"{how}|jiwer:{version('jiwer')}"

    def statistics(
        self,
        hypotheses: Sequence[str],
        references: Sequence[str],
        sources: Sequence[str],  # noqa: ARG002 (only COMET looks at them)
    ) -> Any:
        """Return edits and length of the reference for each sentence."""
        return [self._edits(*texts) for texts in zip(hypotheses, references, strict=True)]

    def value(self, sums_K: Sums) -> float:
        """Return the rate in percent; without any reference text 0 if nothing was said, else 100."""
        edits, length = map(float, sums_K)
        return 100.0 * edits / length if length else 100.0 * (edits > 0)

    def _edits(self, hypothesis: str, reference: str) -> tuple[int, int]:
        hypothesis, reference = (plain_words(text) if self.plain else text.strip() for text in (hypothesis, reference))
        if not reference:  # jiwer refuses it; all that was said is too much
            return len(hypothesis if self.name == "CER" else hypothesis.split()), 0
        found = self.process(reference, hypothesis)
        edits = found.substitutions + found.deletions + found.insertions
        return edits, found.hits + found.substitutions + found.deletions


def make_wer(target_language: str = "", tokenize: str | None = None) -> ErrorRate:  # noqa: ARG001
    """Return WER in lower case without punctuation, or with `tokenize` "none" of the text as it stands."""
    return ErrorRate("WER", jiwer.process_words, _is_plain("WER", tokenize))


def make_cer(target_language: str = "", tokenize: str | None = None) -> ErrorRate:  # noqa: ARG001
    """Return CER, likewise; spaces count as characters."""
    return ErrorRate("CER", jiwer.process_characters, _is_plain("CER", tokenize))


def _is_plain(name: str, tokenize: str | None) -> bool:
    if tokenize not in (None, "none"):
        raise EvaluationError(f"{name} has no tokenizer {tokenize!r}; expected none, for the text as it stands")
    return tokenize is None
