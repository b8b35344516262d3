"""What counts as a word where letters are compared with speech: in WER and CER, and as labels of CTC."""

import unicodedata
from functools import lru_cache

_INSIDE_WORDS = "'’·׳״"
# ZERO WIDTH NON-JOINER and JOINER: part of the spelling inside a word of Persian, Sinhala or Malayalam.
_JOINERS = "\u200c\u200d"
_VIRAMA = 9  # canonical combining class; a joiner after it makes another letter even at the end of a word


def plain_words(text: str) -> str:
    """Return a text in lower case and NFC, without punctuation and symbols, its words parted by single spaces.

    Letters, combining marks and numbers stay (Unicode's L, M and N), and between two of these what is part of the
    spelling: apostrophes, the dot of Catalan, geresh and gershayim, zero width joiners (l'eau, col·lecció, می‌خواهم).
    Hyphens part words, as in Whisper's normalizer.
    What is invisible otherwise, such as soft hyphens and marks of direction, is left out without parting a word.
    """
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
    visible = [letter for letter in text if _kind(letter)]
    kept: list[str] = []
    before = " "  # the last character, if it belongs to a word
    for letter, after in zip(visible, [*visible, " "][1:], strict=True):
        kind = _kind(letter)
        if kind in "LN" or (kind == "M" and before != " "):
            kept.append(letter)
            before = letter
            continue
        inside = before != " " and _kind(after) in "LMN"
        if kind == "J":
            if inside or unicodedata.combining(before) == _VIRAMA:
                kept.append(letter)
        else:
            kept.append(letter if inside and letter in _INSIDE_WORDS else " ")
            before = " "
    return " ".join("".join(kept).split())


@lru_cache(1 << 16)
def _kind(letter: str) -> str:
    """Return the first letter of a character's category, J of a joiner, nothing of what cannot be seen."""
    if letter in _JOINERS:
        return "J"
    is_selector = "\ufe00" <= letter <= "\ufe0f"  # of how a character is drawn
    category = unicodedata.category(letter)
    return "" if is_selector or category == "Cf" else category[0]
