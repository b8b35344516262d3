"""chrF: F-score of character n-grams (Popović 2015), sacreBLEU's."""

from collections.abc import Sequence

from sacrebleu import CHRF

from voxlate_eval.metrics import Score, check_pairs


def corpus_chrf(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Return chrF2 from 0 to 100, with one reference for each hypothesis, in their order.

    ValueError where the counts differ or there is no sentence.
    """
    check_pairs("chrF", hypotheses, references)
    chrf = CHRF()
    value = chrf.corpus_score(list(hypotheses), [list(references)]).score
    return Score(value, str(chrf.get_signature()), len(hypotheses))
