"""Texts that follow each other as one, with or without spaces, as their language is written."""

import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice

from voxlate.errors import VoxlateError
from voxlate.languages import find_language

# How Unicode's names of letters begin in scripts that are written without spaces.
_SCRIPTS_WITHOUT_SPACES = (
    "CJK ", "IDEOGRAPHIC ", "HIRAGANA ", "KATAKANA", "HALFWIDTH ", "FULLWIDTH ", "BOPOMOFO ", "YI ", "THAI ", "LAO ",
    "KHMER ", "MYANMAR ", "TIBETAN ",
)  # fmt: skip
_LOOKED_AT = 1000  # letters


def join_texts(texts: Iterable[str], language: str | None) -> str:
    """Return texts that follow each other, such as those of segments, as one; empty ones leave no trace.

    Languages that are written without spaces get none, but for two words of another script (``iPhone Pro``). Where no
    language is known, the script of the letters decides.
    """
    parts = [text for text in texts if text]
    if _has_spaces(parts, language):
        return " ".join(parts)
    joined = ""
    for part in parts:
        spaced = joined and _takes_space(joined[-1]) and _takes_space(part[0])
        joined += f" {part}" if spaced else part
    return joined


def _has_spaces(parts: Iterable[str], language: str | None) -> bool:
    with suppress(VoxlateError):
        if language is not None:
            return find_language(language).has_spaces
    letters = [*islice((letter for part in parts for letter in part if letter.isalpha()), _LOOKED_AT)]
    return 4 * sum(map(_is_of_script_without_spaces, letters)) <= len(letters)  # a Han character is a word


def _takes_space(character: str) -> bool:
    """Return whether a character may have a space beside it: letters and digits of other scripts, ASCII's marks."""
    return character.isascii() or (character.isalnum() and not _is_of_script_without_spaces(character))


def _is_of_script_without_spaces(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith(_SCRIPTS_WITHOUT_SPACES)
