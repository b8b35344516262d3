"""BLEU equals sacreBLEU's, except at character level, where it equals fairseq's and the signature shows it."""

import logging

import pytest
import sacrebleu
from sacrebleu import BLEU

from voxlate_eval.metrics.bleu import corpus_bleu

HYPOTHESES = ["The train, it leaves at 7.30 today.", "How much is a ticket to Bonn?", ""]
REFERENCES = ["The train leaves at 7.30 today!", "What does a ticket to Bonn cost?", "Thank you."]
CHINESE = ["我用 Windows 10 工作。", "他有2000元，对吗?"]
CHINESE_REFERENCES = ["我用 Windows 11 上班。", "他有 200 元, 对吗?"]


@pytest.mark.parametrize("language", ["de", "en", "sv-SE", "ko"])
def test_scores_equal_sacrebleus_13a(language: str) -> None:
    score = corpus_bleu(HYPOTHESES, REFERENCES, language)
    assert score.value == sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score
    assert 10 < score.value < 90
    assert score.n == 3
    assert score.signature == f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{sacrebleu.__version__}"


def test_a_small_case_computed_by_hand() -> None:
    # 3, 2, 1 and 0 of 4, 3, 2 and 1 n-grams match; the zero is smoothed to 1/2: (3/4 · 2/3 · 1/2 · 1/2)^(1/4).
    assert corpus_bleu(["我喜欢猫"], ["我喜欢狗"], "zh").value == pytest.approx(100 * (1 / 8) ** (1 / 4))


def test_punctuation_spaces_and_latin_letters_are_characters_after_13a() -> None:
    score = corpus_bleu(CHINESE, CHINESE_REFERENCES, "zh")
    # 13a puts spaces around ASCII punctuation, but not around Chinese punctuation.
    hypotheses = ["我 用 ▁ W i n d o w s ▁ 1 0 ▁ 工 作 。", "他 有 2 0 0 0 元 ， 对 吗 ▁ ?"]
    references = ["我 用 ▁ W i n d o w s ▁ 1 1 ▁ 上 班 。", "他 有 ▁ 2 0 0 ▁ 元 ▁ , ▁ 对 吗 ▁ ?"]
    assert score.value == sacrebleu.corpus_bleu(hypotheses, [references], tokenize="none", force=True).score
    for tokenize in ("zh", "char", "13a"):
        others = BLEU(tokenize=tokenize).corpus_score(CHINESE, [CHINESE_REFERENCES]).score
        assert abs(others - score.value) > 1, tokenize


def test_the_signature_contains_the_character_level_tokenizer() -> None:
    signature = corpus_bleu(CHINESE, CHINESE_REFERENCES, "zh").signature
    assert signature == (f"nrefs:1|case:mixed|eff:no|tok:13a+char(fairseq)|smooth:exp|version:{sacrebleu.__version__}")


@pytest.mark.parametrize(
    "language", ["zh-CN", "zh_CN", "ZH", "cmn", "zho", "zh-TW", "Mandarin Chinese", "ja", "ja_XX", "jpn", "Japanese"]
)
def test_all_names_of_a_language_give_the_same_score(language: str) -> None:
    assert corpus_bleu(CHINESE, CHINESE_REFERENCES, language) == corpus_bleu(CHINESE, CHINESE_REFERENCES, "zh")


def test_tokenized_hypotheses_cause_a_warning_except_at_character_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        corpus_bleu(["我工作 ."] * 200, ["我工作 ."] * 200, "zh")
        corpus_bleu(["It works ."] * 99, ["It works."] * 99, "en")
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        corpus_bleu(["It works ."] * 100, ["It works."] * 100, "en")
    [record] = caplog.records
    assert record.getMessage() == "100 or more hypotheses end in ' .'; BLEU expects detokenized text"


def test_unequal_or_empty_inputs_are_errors() -> None:
    with pytest.raises(ValueError, match=r"BLEU got 1 hypotheses and 2 references; expected one reference for each"):
        corpus_bleu(["one"], ["one", "two"], "en")
    with pytest.raises(ValueError, match=r"BLEU got no sentences; expected at least one"):
        corpus_bleu([], [], "en")
