"""Join texts, with or without spaces depending on the language."""

import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice

from voxlate.errors import VoxlateError
from voxlate.languages import find_language

# Prefixes of the Unicode names of letters in scripts that are written without spaces.
_SCRIPTS_WITHOUT_SPACES = (
    "CJK ", "IDEOGRAPHIC ", "HIRAGANA ", "KATAKANA", "HALFWIDTH ", "FULLWIDTH ", "BOPOMOFO ", "YI ", "THAI ", "LAO ",
    "KHMER ", "MYANMAR ", "TIBETAN ",
)  # fmt: skip
_MAX_LETTERS = 1000  # from which the script is determined


def join_texts(texts: Iterable[str], language: str | None) -> str:
    """Join consecutive texts, such as those of segments; empty texts are skipped.

    In a language that is written without spaces, only two words in another script are separated (``iPhone Pro``).
    Without a known language, the script of the letters decides.
    """
    parts = [text for text in texts if text]
    if has_spaces(parts, language):
        return " ".join(parts)
    joined = ""
    for part in parts:
        spaced = joined and _takes_space(joined[-1]) and _takes_space(part[0])
        joined += f" {part}" if spaced else part
    return joined


def has_spaces(parts: Iterable[str], language: str | None) -> bool:
    """Return whether words are separated by spaces: by the language, else by the script of most letters."""
    with suppress(VoxlateError):
        if language is not None:
            return find_language(language).has_spaces
    letters = [*islice((letter for part in parts for letter in part if letter.isalpha()), _MAX_LETTERS)]
    # At most a quarter, since a Han character counts as a word.
    return 4 * sum(map(_is_in_script_without_spaces, letters)) <= len(letters)


def _takes_space(character: str) -> bool:
    """Return whether a character is separated by spaces: ASCII, and letters and digits of scripts with spaces."""
    return character.isascii() or (character.isalnum() and not _is_in_script_without_spaces(character))


def _is_in_script_without_spaces(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith(_SCRIPTS_WITHOUT_SPACES)
