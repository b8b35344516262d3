"""sacreBLEU's metrics (Post 2018), as sums of sentences that can be resampled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from voxlate_eval.metrics import Sums

Prepare = Callable[[Sequence[str]], list[str]]


@dataclass(frozen=True)
class SacreMetric:
    """A metric of sacreBLEU; `prepare` changes texts before it sees them, and then its signature says so."""

    name: str
    inner: Any  # sacrebleu.BLEU, CHRF or TER
    about: str
    higher_is_better: bool = True
    prepare: Prepare = field(default=list)
    tokenizer: str | None = None  # what the signature calls the whole of it

    @property
    def signature(self) -> str:
        """sacreBLEU's own signature."""
        self.inner.num_refs = 1  # it learns this from texts; a signature may be asked for before any came
        signature = self.inner.get_signature()
        if self.tokenizer is not None:
            signature.update("tok", self.tokenizer)
        return str(signature)

    def statistics(
        self,
        hypotheses: Sequence[str],
        references: Sequence[str],
        sources: Sequence[str],  # noqa: ARG002 (only COMET looks at them)
    ) -> Any:
        """Return sacreBLEU's statistics of each sentence."""
        return self.inner._extract_corpus_statistics(self.prepare(hypotheses), [self.prepare(references)])

    def value(self, sums_K: Sums) -> float:
        """Return sacreBLEU's score of summed statistics."""
        return float(self.inner._compute_score_from_stats(sums_K.tolist()).score)
