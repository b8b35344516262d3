"""Words from pieces: spaces, punctuation, languages without spaces."""

import numpy as np
import pytest

from voxlate.decoding.aligned_words import group_words, spoken_characters
from voxlate.decoding.alignment import Alignment


def grouped(pieces: list[str], language: str) -> list[tuple[str, float, float]]:
    numbers = np.arange(len(pieces), dtype=float)
    words = group_words(pieces, Alignment(numbers, numbers + 0.5), language, lambda seconds: 100 + seconds)
    return [(word.text, word.start - 100, word.end - 100) for word in words]


@pytest.mark.parametrize(
    ("pieces", "language", "expected"),
    [
        (["▁", "I", "▁play", "s", ",", "▁", "too", "."], "en", [("I", 1, 1.5), ("plays,", 2, 3.5), ("too.", 6, 6.5)]),
        (["▁Ça", "▁va", "▁", "?"], "fr", [("Ça", 0, 0.5), ("va ?", 1, 1.5)]),
        (["▁¿", "Qué", "▁«", "▁tal", "▁»"], "es", [("¿Qué", 1, 1.5), ("« tal »", 3, 3.5)]),
        (["▁", "我们", "喜欢", ",", "音乐", "。"], "zh", [("我们", 1, 1.5), ("喜欢,", 2, 2.5), ("音乐。", 4, 4.5)]),
        (["▁ไทย", "ครับ"], "th", [("ไทย", 0, 0.5), ("ครับ", 1, 1.5)]),
        (["▁(", "▁"], "en", [("(", 0, 0.5)]),
        ([], "en", []),
    ],
)
def test_words(pieces: list[str], language: str, expected: list[tuple[str, float, float]]) -> None:
    assert grouped(pieces, language) == expected


def test_only_letters_digits_and_signs_are_spoken() -> None:
    assert spoken_characters(["▁play", ",", "▁", "…", "20", "€", "ki\u0301"]) == [4, 0, 0, 0, 2, 1, 3]
