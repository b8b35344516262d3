"""BLEU as the CoVoST-2 and XLS-R papers report it: sacreBLEU, case-sensitive, on detokenised text.

Chinese and Japanese are scored at character level, as fairseq's ``--sacrebleu-char-level`` does and CoVoST-2 did (Wang
et al. 2020; fairseq issue #3814). That is neither sacreBLEU's ``zh``, which keeps Latin words and numbers whole, nor
its ``char``, which drops spaces. `voxlate_eval.policy` says which language is scored how.
"""

from collections.abc import Sequence

from sacrebleu import BLEU

from voxlate_eval.errors import EvaluationError
from voxlate_eval.metrics import Score, corpus_score
from voxlate_eval.metrics.sacre import SacreMetric
from voxlate_eval.policy import CHARACTERS, choose_tokenizer

_ABOUT = "overlap with the reference in n-grams of 1 to 4 tokens; 0 to 100, higher is better"
_NEEDS = {"ja-mecab": 'pip install "sacrebleu[ja]"', "ko-mecab": 'pip install "sacrebleu[ko]"'}


def make_bleu(target_language: str, tokenize: str | None = None) -> SacreMetric:
    """Return BLEU with the policy's tokenizer for the language, or the one named.

    EvaluationError where it is unknown or not installed.
    """
    name = choose_tokenizer(target_language, tokenize)
    if name == CHARACTERS:
        # `force`: a full stop that stands alone is no sign here that somebody forgot to detokenise.
        return SacreMetric("BLEU", BLEU(tokenize="none", force=True), _ABOUT, prepare=_characters, tokenizer=CHARACTERS)
    try:
        return SacreMetric("BLEU", BLEU(tokenize=name), _ABOUT)
    except (ImportError, RuntimeError, OSError) as error:
        what = _NEEDS.get(name, "sacreBLEU fetches its model when it is first used, which takes a network")
        raise EvaluationError(
            f"tokenizer {name} is not available ({str(error).strip().splitlines()[0]}); {what}, or use another one"
        ) from None


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[str], target_language: str) -> Score:
    """Return BLEU from 0 to 100, with one reference for each hypothesis, in their order.

    EvaluationError where the counts differ or there is no sentence: nothing is cut to fit.
    """
    return corpus_score(make_bleu(target_language), hypotheses, references)


def _characters(sentences: Sequence[str]) -> list[str]:
    tokenize = BLEU(tokenize="13a").tokenizer
    return [" ".join(tokenize(sentence).replace(" ", "▁")) for sentence in sentences]
