"""TER: translation edit rate (Snover et al. 2006), computed by sacreBLEU."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sacrebleu import TER

from voxlate_eval.metrics import Sums, sacrebleu_signature


@dataclass(frozen=True)
class TranslationEditRate:
    """sacreBLEU's TER with its default options. The sums of a sentence are edits and reference words."""

    scorer: TER = field(default_factory=TER)
    name: str = "TER"
    about: str = "edits and moves in % of the reference's words; 0 is perfect, over 100 is possible, lower is better"
    higher_is_better: bool = False

    @property
    def signature(self) -> str:
        """sacreBLEU's signature."""
        return sacrebleu_signature(self.scorer)

    def statistics(
        self,
        hypotheses: Sequence[str],
        references: Sequence[str],
        sources: Sequence[str],  # noqa: ARG002 (only COMET uses them)
    ) -> list[list[float]]:
        """Return edits and reference length in words of each sentence, (N, 2)."""
        scores = [
            self.scorer.corpus_score([hypothesis], [[reference]])
            for hypothesis, reference in zip(hypotheses, references, strict=True)
        ]
        return [[score.num_edits, score.ref_length] for score in scores]

    def value(self, sums_K: Sums) -> float:
        """Return edits in percent of reference words; without any reference word 100 if there are edits, else 0."""
        edits, words = sums_K.tolist()
        return float(100 * (edits / words)) if words else 100.0 * (edits > 0)


def make_ter(target_language: str = "", tokenize: str | None = None) -> TranslationEditRate:  # noqa: ARG001
    """Return TER as sacreBLEU's command computes it: on lower-cased words separated by spaces."""
    return TranslationEditRate()
