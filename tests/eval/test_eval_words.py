"""Normalization for WER and CTC preserves the words of every script."""

import unicodedata

import pytest

from voxlate.data.batching import ctc_text
from voxlate_eval.metrics import corpus_score, make_metric
from voxlate_eval.text_normalization import normalize_words

# A sentence and its normalized words, in the languages of CoVoST-2 and others.
SENTENCES = {
    "ar": ("العَرَبِيَّةُ لُغَةٌ، جَمِيلَةٌ!", "العَرَبِيَّةُ لُغَةٌ جَمِيلَةٌ"),
    "bn": ("আমি বাংলায় গান গাই।", "আমি বাংলায় গান গাই"),
    "ca": ("L'ocell vola, Col·lecció.", "l'ocell vola col·lecció"),
    "cy": ("Mae'r tŷ yn fawr.", "mae'r tŷ yn fawr"),
    "de": ("Größe: 5 %, „Äpfel“?", "größe 5 äpfel"),
    "en": ("It's 7 o'clock (really).", "it's 7 o'clock really"),
    "es": ("¿Dónde está el niño?", "dónde está el niño"),
    "et": ("Õhtu jõuab, öö.", "õhtu jõuab öö"),
    "fa": ("می‌خواهم کتاب‌ها را بخوانم؟", "می‌خواهم کتاب‌ها را بخوانم"),
    "fr": ("Où est l’été ?", "où est l’été"),
    "he": ("שָׁלוֹם, עוֹלָם! צה״ל", "שָׁלוֹם עוֹלָם צה״ל"),
    "hi": ("हिन्दी में बात करें।", "हिन्दी में बात करें"),
    "id": ("Anak-anak bermain.", "anak anak bermain"),
    "it": ("Perché l'acqua è fredda?", "perché l'acqua è fredda"),
    "ja": ("がぎぐ、ピアノ。", "がぎぐ ピアノ"),
    "km": ("ខ្ញុំស្រឡាញ់អ្នក។", "ខ្ញុំស្រឡាញ់អ្នក"),
    "lv": ("Ķēniņš ģērbjas.", "ķēniņš ģērbjas"),
    "ml": ("അവന്‍ വന്നു.", "അവന്‍ വന്നു"),
    "mn": ("Би өөрөө ирнэ ээ!", "би өөрөө ирнэ ээ"),
    "nl": ("'s Ochtends, één.", "s ochtends één"),
    "pt": ("Não, é a manhã.", "não é a manhã"),
    "ru": ("Ёлка и йод…", "ёлка и йод"),
    "si": ("ශ්‍රී ලංකාව.", "ශ්‍රී ලංකාව"),
    "sl": ("Čez žičo, šel.", "čez žičo šel"),
    "sv": ("Åka på älgjakt; öl.", "åka på älgjakt öl"),
    "ta": ("தமிழ் மொழி!", "தமிழ் மொழி"),
    "th": ("ภาษาไทย ไม่เป็นไร", "ภาษาไทย ไม่เป็นไร"),
    "tr": ("Işık, İyi.", "işık i̇yi"),
    "vi": ("Tiếng Việt, đẹp quá!", "tiếng việt đẹp quá"),
    "zh": ("你好，世界！", "你好 世界"),
}


@pytest.mark.parametrize(("sentence", "words"), SENTENCES.values(), ids=SENTENCES)
def test_words_of_every_script(sentence: str, words: str) -> None:
    words = unicodedata.normalize("NFC", words)
    for form in ("NFC", "NFD"):
        assert normalize_words(unicodedata.normalize(form, sentence)) == words
    assert normalize_words(words) == words
    assert ctc_text(sentence) == words
    for name in ("wer", "cer"):  # the best possible CTC output has no errors
        metric = make_metric(name, "en")
        assert corpus_score(metric, [ctc_text(sentence)], [unicodedata.normalize("NFD", sentence)]).value == 0.0


def test_a_wrong_vowel_sign_is_an_error() -> None:
    assert corpus_score(make_metric("wer", "hi"), ["हिन्दि में"], ["हिन्दी में"]).value == 50.0
    assert corpus_score(make_metric("wer", "fa"), ["میخواهم"], ["می‌خواهم"]).value == 100.0


def test_invisible_characters_do_not_separate_words() -> None:
    assert normalize_words("Haus\u00adtür \u200fשלום\u200f a\u200d ❤\ufe0f x\ufeff") == "haustür שלום a x"
    assert normalize_words("◌\u093f \u0301") == ""
    assert normalize_words("") == normalize_words("...") == ""
