"""Metrics equal those of sacreBLEU and jiwer, signatures included; the policy selects the tokenizer."""

import json
import random
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu

from voxlate_eval import EvaluationError
from voxlate_eval.metrics import METRICS, corpus_score, make_metric, statistics
from voxlate_eval.metrics.chrf import corpus_chrf
from voxlate_eval.policy import CHARACTERS, TOKENIZERS, choose_tokenizer, primary_code, tokenizers
from voxlate_eval.published import splits

# A reference and a hypothesis in every target language of CoVoST-2.
TEXTS = {
    "ar": ("القطار يغادر في الساعة السابعة.", "يغادر القطار الساعة السابعة!"),
    "ca": ("L'avi no vol cap cafè, però sí un te.", "L'avi no vol cafè, però sí te."),
    "cy": ("Mae'r trên yn gadael am saith o'r gloch.", "Mae'r trên yn mynd am saith o'r gloch."),
    "de": ("Der Zug fährt um 7.30 Uhr ab.", "Der Zug geht um 7.30 Uhr ab!"),
    "en": ("My brother's train leaves at 7.30.", "The train of my brother leaves at 7.30."),
    "et": ("Rong väljub kell seitse hommikul.", "Rong lahkub hommikul kell seitse."),
    "fa": ("قطار ساعت هفت حرکت می‌کند.", "قطار در ساعت هفت می‌رود."),
    "id": ("Kereta api berangkat pukul tujuh.", "Kereta berangkat pada pukul tujuh."),
    "ja": ("電車は7時30分に出発します。", "列車は7時30分に出ます。"),
    "lv": ("Vilciens atiet pulksten septiņos.", "Vilciens aizbrauc pulksten septiņos."),
    "mn": ("Галт тэрэг долоон цагт хөдөлнө.", "Галт тэрэг долоон цагт явна."),
    "sl": ("Vlak odpelje ob sedmih zjutraj.", "Vlak gre ob sedmih zjutraj."),
    "sv": ("Tåget går klockan sju på morgonen.", "Tåget avgår klockan sju i morgon."),
    "ta": ("ரயில் ஏழு மணிக்குப் புறப்படும்.", "ரயில் ஏழு மணிக்கு செல்லும்."),
    "tr": ("Tren saat yedide kalkıyor.", "Tren yedi buçukta kalkıyor."),
    "zh": ("火车7点30分出发，请坐3号车厢。", "火车在7:30出发, 请坐3号车。"),
}
EXTRAS = ('1,000 % & <b>"5.5"</b> — ok', "1000 % & <b>'5,5'</b> ok")


def pair(language: str) -> tuple[list[str], list[str]]:
    """Return hypotheses and references: one in the language, one with numbers and markup, one empty hypothesis."""
    reference, hypothesis = TEXTS[language]
    return [hypothesis, EXTRAS[1], ""], [reference, EXTRAS[0], reference]


def run_sacrebleu(folder: Path, language: str, *options: str) -> dict[str, dict[str, Any]]:
    hypotheses, references = pair(language)
    for name, lines in (("hypotheses", hypotheses), ("references", references)):
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", str(folder / "references"), "-i", str(folder / "hypotheses")]
    done = subprocess.run([*command, "-w", "12", *options], capture_output=True, text=True, check=True, timeout=60)
    answer = json.loads(done.stdout)
    return {found["name"]: found for found in (answer if isinstance(answer, list) else [answer])}


def test_every_target_language_of_covost2_is_tested() -> None:
    assert set(TEXTS) == {direction.split("-")[1] for direction in splits()}


@pytest.mark.parametrize("language", sorted(TEXTS))
def test_score_and_signature_equal_those_of_sacrebleus_command(language: str, tmp_path: Path) -> None:
    tokenize = {"zh": "zh", "ja": "ja-mecab"}.get(language, "13a")
    theirs = run_sacrebleu(tmp_path, language, "-m", "bleu", "chrf", "ter", "-tok", tokenize)
    theirs |= run_sacrebleu(tmp_path, language, "-m", "chrf", "--chrf-word-order", "2")
    hypotheses, references = pair(language)
    for name, options in (("bleu", tokenize), ("chrf", None), ("chrf++", None), ("ter", None)):
        metric = make_metric(name, language, options)
        score = corpus_score(metric, hypotheses, references)
        found = theirs[{"chrf": "chrF2", "chrf++": "chrF2++"}.get(name, metric.name)]
        assert round(score.value, 12) == found["score"]
        assert score.signature == found["signature"]
        assert 0 < score.value < 130


def test_the_convention_for_chinese_and_japanese_differs_from_sacrebleus_tokenizers() -> None:
    for language in ("zh", "ja"):
        hypotheses, references = pair(language)
        ours = corpus_score(make_metric("bleu", language), hypotheses, references)
        assert f"tok:{CHARACTERS}" in ours.signature
        others = [corpus_score(make_metric("bleu", language, name), hypotheses, references) for name in ("char", "13a")]
        assert all(abs(other.value - ours.value) > 1 for other in others)


def test_all_names_of_a_language_have_one_policy() -> None:
    assert {primary_code(name) for name in ("zh-CN", "zh", "cmn", "zh_CN", "Chinese")} == {"zh"}
    assert primary_code("sv-SE") == "sv"
    assert [tokenizers(name)[0] for name in ("zh-TW", "jpn", "yue", "th", "ko", "de", "cy")] == [
        *[CHARACTERS] * 4,
        *["13a"] * 3,
    ]
    for language, names in TOKENIZERS.items():
        assert {choose_tokenizer(language, name) for name in names} == {*names}


def test_unknown_names_are_errors_with_a_suggestion() -> None:
    with pytest.raises(EvaluationError, match=r"^unknown tokenizer 'ja_mecab'; did you mean 'ja-mecab'\?$"):
        make_metric("bleu", "ja", "ja_mecab")
    with pytest.raises(EvaluationError, match=r"^unknown metric 'blue'; did you mean 'bleu'\?$"):
        make_metric("blue", "de")
    with pytest.raises(EvaluationError, match=r"^unknown metric 'x'; expected some of bleu, chrf, chrf\+\+, ter, wer"):
        make_metric("x", "de")
    with pytest.raises(
        EvaluationError, match=r"^WER has no tokenizer 'zh'; expected none, which leaves texts unchanged$"
    ):
        make_metric("wer", "zh", "zh")


def test_the_message_about_a_missing_tokenizer_has_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules]:
        if name.startswith("sacrebleu.tokenizers.tokenizer_ko"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mecab_ko", None)
    with pytest.raises(
        EvaluationError, match=r'^tokenizer ko-mecab is not available \(.*\); pip install "sacrebleu\[ko\]"'
    ):
        make_metric("bleu", "ko", "ko-mecab")


def test_corpus_chrf_equals_sacrebleus() -> None:
    hypotheses, references = ["The cat sat.", "Ein Haus", ""], ["The cat sat down.", "Ein Hund", "x"]
    score = corpus_chrf(hypotheses, references)
    assert score.value == sacrebleu.corpus_chrf(hypotheses, [references]).score
    assert score.n == 3


@pytest.mark.parametrize(
    ("name", "scorer"),
    [
        ("bleu", sacrebleu.BLEU()),
        ("chrf", sacrebleu.CHRF()),
        ("chrf++", sacrebleu.CHRF(word_order=2)),
        ("ter", sacrebleu.TER()),
    ],
)
def test_scores_of_random_corpora_equal_sacrebleus_to_the_last_digit(name: str, scorer: Any) -> None:
    rng = random.Random(3)
    words = ["the", "cat", "(hi)", "sat.", "!!", "?", "我们", "on,", "it's", "...", "\u00a0x", '"q"', "_", "ab"]
    for _ in range(100):
        pairs = [
            [" ".join(rng.choices(words, k=rng.randint(0, 9))) for _ in range(2)] for _ in range(rng.randint(1, 6))
        ]
        references = [reference for _, reference in pairs]
        hypotheses = [rng.choice(pair) for pair in pairs]
        score = corpus_score(make_metric(name, "en"), hypotheses, references)
        assert score.value == scorer.corpus_score(hypotheses, [references]).score
        assert score.signature == str(scorer.get_signature())


@pytest.mark.parametrize("name", sorted(METRICS.keys() - {"comet", "xcomet", "metricx"}))
def test_contract_of_all_metrics(name: str) -> None:
    metric = make_metric(name, "de")
    hypotheses, references = pair("de")
    sums_NK = statistics(metric, hypotheses, references)
    assert sums_NK.shape[0] == 3
    assert metric.value(sums_NK.sum(axis=0)) == corpus_score(metric, hypotheses, references).value
    perfect = corpus_score(metric, references, references).value
    assert perfect == pytest.approx(100 if metric.higher_is_better else 0)
    better = corpus_score(metric, [hypotheses[0], references[1], references[2]], references).value
    assert (better > corpus_score(metric, hypotheses, references).value) == metric.higher_is_better
    assert metric.signature
    with pytest.raises(EvaluationError, match=rf"^{metric.name.replace('+', '.')} got 1 hypotheses and 2 references"):
        statistics(metric, ["a"], ["a", "b"])
    with pytest.raises(EvaluationError, match="got no sentences"):
        statistics(metric, [], [])


def test_worker_processes_give_the_same_statistics() -> None:
    rng = random.Random(1)
    texts = [" ".join(rng.choices(["ein", "zwei", "drei", "vier", "fünf"], k=5)) for _ in range(4500)]
    metric = make_metric("bleu", "de")
    together = statistics(metric, texts, texts[::-1], workers=2)
    alone = metric.statistics(texts, texts[::-1], ())
    assert np.array_equal(together, np.asarray(alone))


def test_error_rates_computed_by_hand() -> None:
    wer, cer = make_metric("wer", "en"), make_metric("cer", "en")
    # One of four words is substituted and one inserted; "it's" is one word; case and the period are ignored.
    assert corpus_score(wer, ["It's one big horse now"], ["it's a big horse."]).value == 50.0
    assert corpus_score(cer, ["abcd"], ["ABED."]).value == 25.0
    assert corpus_score(make_metric("wer", "en", "none"), ["It's"], ["it's."]).value == 100.0
    assert corpus_score(wer, ["", "all too much"], ["two words", ""]).value == 250.0
    assert corpus_score(wer, [""], ["..."]).value == 0.0
    assert wer.signature == f"case:lc|punct:no|norm:nfc|jiwer:{version('jiwer')}"
