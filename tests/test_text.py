"""Segments and words are joined with or without spaces, according to the language."""

import pytest

from voxlate.decoding.results import Candidate, Segment, Translation
from voxlate.decoding.writers import to_dict, to_line
from voxlate.languages import LANGUAGES, find_language
from voxlate.text import join_texts


@pytest.mark.parametrize(
    ("language", "texts", "expected"),
    [
        ("zh", ["我们明天去北京。", "他说你好。"], "我们明天去北京。他说你好。"),
        ("zh-CN", ["他说：“好”", "“走吧”"], "他说：“好”“走吧”"),
        ("zh", ["我买了iPhone", "给他。"], "我买了iPhone给他。"),
        ("zh", ["我买了iPhone", "Pro给他。"], "我买了iPhone Pro给他。"),
        ("zh", ["OK.", "我们走。"], "OK.我们走。"),
        ("zh", ["He said hello.", "Then he left."], "He said hello. Then he left."),
        ("zh", ["一共", "25", "30", "人"], "一共25 30人"),
        ("yue", ["佢話", "好呀"], "佢話好呀"),
        ("wuu", ["侬好", "伐"], "侬好伐"),
        (
            "ja",
            ["東京へ", "行きます。", "コーヒー", "を「飲む」", "「はい」"],
            "東京へ行きます。コーヒーを「飲む」「はい」",
        ),
        ("ja", ["ｱｲｳ", "ＡＢＣ", "えー"], "ｱｲｳＡＢＣえー"),
        ("th", ["สวัสดีครับ", "ผมชื่อ", "John", "Smith", "ครับ"], "สวัสดีครับผมชื่อJohn Smithครับ"),
        ("th", ["ที่นี่", "น้ำ"], "ที่นี่น้ำ"),  # ends in a vowel sign and a tone mark
        ("lo", ["ສະບາຍດີ", "ຂອບໃຈ"], "ສະບາຍດີຂອບໃຈ"),
        ("km", ["សួស្តី", "អរគុណ"], "សួស្តីអរគុណ"),
        ("my", ["မင်္ဂလာပါ။", "ကျေးဇူး"], "မင်္ဂလာပါ။ကျေးဇူး"),
        ("bo", ["བཀྲ་ཤིས་", "བདེ་ལེགས།"], "བཀྲ་ཤིས་བདེ་ལེགས།"),
        ("dz", ["སྐུ་གཟུགས་", "བཟང་པོ།"], "སྐུ་གཟུགས་བཟང་པོ།"),
        ("ko", ["안녕하세요.", "감사합니다."], "안녕하세요. 감사합니다."),
        ("vi", ["Xin chào.", "Cảm ơn."], "Xin chào. Cảm ơn."),
        ("en", ["He said 你好", "好 to me."], "He said 你好 好 to me."),
        ("ar", ["مرحبا", "", "شكرا"], "مرحبا شكرا"),
        ("hi", ["नमस्ते।", "धन्यवाद"], "नमस्ते। धन्यवाद"),
        (None, ["我们明天", "去iPhone", "店。"], "我们明天去iPhone店。"),
        (None, ["Guten Tag.", "Ja."], "Guten Tag. Ja."),
        (None, ["안녕", "하세요"], "안녕 하세요"),
        ("not registered", ["เรา", "ไป"], "เราไป"),
        ("zh", [], ""),
        (None, ["", "42", "7"], "42 7"),
    ],
)
def test_texts_are_joined_according_to_the_language(language: str | None, texts: list[str], expected: str) -> None:
    assert join_texts(texts, language) == expected


def test_languages_without_spaces() -> None:
    without = {language.code for language in LANGUAGES if not language.has_spaces}
    assert without == {"bo", "dz", "ii", "ja", "km", "lo", "my", "nan-tw", "th", "wuu", "yue", "zh"}
    assert not find_language("cmn").has_spaces


def talk(target: str | None, source: str | None, *texts: str) -> Translation:
    segments = tuple(Segment(place, place + 1, (Candidate(text, 0.0),)) for place, text in enumerate(texts))
    return Translation("a.wav", 9.0, target, segments, source)


def test_every_output_joins_segments_by_language() -> None:
    chinese = talk("zh", "en", "我们明天去北京。", "", "他说你好。")
    assert chinese.text == to_dict(chinese)["text"] == "我们明天去北京。他说你好。"
    assert to_line(chinese) == "a.wav\t我们明天去北京。他说你好。\n"
    assert talk("en", "zh", "We go.", "He says hi.").text == "We go. He says hi."
    assert talk(None, "ja", "はい", "iPad", "です").text == "はいiPadです"  # a transcript
    assert talk(None, None, "はい", "です").text == "はいです"
