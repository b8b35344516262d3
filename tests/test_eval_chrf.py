"""chrF: sacreBLEU's own, with its signature; nothing is cut to fit."""

import pytest
import sacrebleu

from voxlate_eval.metrics.chrf import corpus_chrf


def test_it_is_sacrebleus() -> None:
    hypotheses, references = ["The cat sat.", "Ein Haus", ""], ["The cat sat down.", "Ein Hund", "x"]
    score = corpus_chrf(hypotheses, references)
    assert score.value == sacrebleu.corpus_chrf(hypotheses, [references]).score
    assert score.n == 3
    assert score.signature.startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")
    assert corpus_chrf(references, references).value == pytest.approx(100)


def test_counts_must_agree() -> None:
    with pytest.raises(ValueError, match="chrF got 1 hypotheses and 2 references"):
        corpus_chrf(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="chrF got no sentences"):
        corpus_chrf([], [])
