"""Normalization of text for comparison with speech: words for WER and CER, and labels for CTC."""

import unicodedata
from functools import lru_cache

_INSIDE_WORDS = "'’·׳״"
# ZERO WIDTH NON-JOINER and JOINER are part of the spelling of words in Persian, Sinhala and Malayalam.
_JOINERS = "\u200c\u200d"
_VIRAMA = 9  # canonical combining class; a joiner after a virama forms a letter even at the end of a word


def normalize_words(text: str) -> str:
    """Return text in lower case and NFC, without punctuation and symbols, its words separated by single spaces.

    Letters, combining marks and numbers (Unicode categories L, M and N) are kept. Between two of them, characters that
    are part of the spelling are kept as well: apostrophes, the Catalan middle dot, geresh and gershayim, and zero-width
    joiners (l'eau, col·lecció, می‌خواهم). Hyphens separate words, as in Whisper's normalizer. Other invisible
    characters, such as soft hyphens and direction marks, are removed without separating words.
    """
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
    visible = [letter for letter in text if _category(letter)]
    kept: list[str] = []
    before = " "  # the previous character if it belongs to a word, else a space
    for letter, after in zip(visible, [*visible, " "][1:], strict=True):
        category = _category(letter)
        if category in "LN" or (category == "M" and before != " "):
            kept.append(letter)
            before = letter
            continue
        inside = before != " " and _category(after) in "LMN"
        if category == "J":
            if inside or unicodedata.combining(before) == _VIRAMA:
                kept.append(letter)
        else:
            kept.append(letter if inside and letter in _INSIDE_WORDS else " ")
            before = " "
    return " ".join("".join(kept).split())


@lru_cache(1 << 16)
def _category(letter: str) -> str:
    """Return the first letter of the Unicode category, J for a joiner, or "" for an invisible character."""
    if letter in _JOINERS:
        return "J"
    is_selector = "\ufe00" <= letter <= "\ufe0f"  # variation selector: affects only how a character is drawn
    category = unicodedata.category(letter)
    return "" if is_selector or category == "Cf" else category[0]
