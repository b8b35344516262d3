"""BLEU as the CoVoST-2 and XLS-R papers report it: sacreBLEU, case-sensitive, on detokenised text.

Chinese and Japanese are scored at character level, as fairseq's ``--sacrebleu-char-level`` does and CoVoST-2 did (Wang
et al. 2020; fairseq issue #3814). That is neither sacreBLEU's ``zh``, which keeps Latin words and numbers whole, nor
its ``char``, which drops spaces.
"""

from collections.abc import Sequence

from sacrebleu import BLEU

from voxlate_eval.metrics import Score, check_pairs

# Each a first part of the codes, tags and names that the languages go by: zh-CN, zh_CN, zho, ja_XX, ...
_CHARACTER_LEVEL = {"zh", "zho", "chi", "cmn", "chinese", "mandarin", "ja", "jpn", "jp", "japanese"}


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[str], target_language: str) -> Score:
    """Return BLEU from 0 to 100, with one reference for each hypothesis, in their order.

    ValueError where the counts differ or there is no sentence: nothing is cut to fit.
    """
    check_pairs("BLEU", hypotheses, references)
    if _is_character_level(target_language):
        # `force`: a full stop that stands alone is no sign here that somebody forgot to detokenise.
        bleu = BLEU(tokenize="none", force=True)
        hypotheses, references = _characters(hypotheses), _characters(references)
    else:
        bleu = BLEU(tokenize="13a")
    value = bleu.corpus_score(list(hypotheses), [list(references)]).score
    signature = bleu.get_signature()
    if _is_character_level(target_language):
        signature.update("tok", "13a+char(fairseq)")  # what was done, not the "none" of the last step
    return Score(value, str(signature), len(hypotheses))


def _is_character_level(language: str) -> bool:
    return language.strip().lower().replace("_", "-").replace(" ", "-").split("-")[0] in _CHARACTER_LEVEL


def _characters(sentences: Sequence[str]) -> list[str]:
    tokenize = BLEU(tokenize="13a").tokenizer
    return [" ".join(tokenize(sentence).replace(" ", "▁")) for sentence in sentences]
