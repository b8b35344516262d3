"""Group the tokens of a hypothesis into words with their times."""

import re
import unicodedata
from collections.abc import Callable, Sequence

from voxlate.decoding.alignment import Alignment
from voxlate.decoding.results import Word
from voxlate.text import has_spaces
from voxlate.tokenizer import SPACE

_OPENING = ("Ps", "Pi")  # Unicode categories of opening brackets and quotation marks
_OPENING_MARKS = "¿¡"


def spoken_characters(pieces: Sequence[str]) -> list[int]:
    """Return the number of letters, digits and other spoken characters of each piece."""
    return [sum(map(_is_spoken, piece)) for piece in pieces]


def group_words(
    pieces: Sequence[str], alignment: Alignment, language: str | None, clock: Callable[[float], float]
) -> tuple[Word, ...]:
    """Return the words of a hypothesis with their times.

    `pieces` are those of the alignment; `clock` returns the time on the file's clock for seconds after the segment's
    start. In languages without spaces, each piece is a word. Punctuation belongs to the word before it, opening
    punctuation to the next one; both belong to no time.
    """
    text, owners = "", []
    for index, piece in enumerate(pieces):
        text += piece.replace(SPACE, " ")
        owners += [index] * len(piece)
    groups = _groups(text, owners, spaced=has_spaces([text], language))
    words = []
    for start, end in groups:
        letters = [position for position in range(start, end) if _is_spoken(text[position])] or [start, end - 1]
        first, last = owners[letters[0]], owners[letters[-1]]
        times = clock(float(alignment.starts_K[first])), clock(float(alignment.ends_K[last]))
        words.append(Word(text[start:end].strip(), *times))
    return tuple(words)


def _groups(text: str, owners: Sequence[int], *, spaced: bool) -> list[tuple[int, int]]:
    """Return (start, end) of each word in the text."""
    groups: list[tuple[int, int]] = []
    opened: int | None = None  # where opening punctuation begins that belongs to the next word
    for match in re.finditer(r"\S+" if spaced else r"\S", text):
        start, end = match.span()
        if not any(map(_is_spoken, match[0])):
            if _is_opening(match[0][-1]):
                opened = start if opened is None else opened
                continue
            if groups:
                groups[-1] = groups[-1][0], end
                continue
        elif not spaced and groups and opened is None and owners[start] == owners[start - 1] and text[start - 1] != " ":
            groups[-1] = groups[-1][0], end
            continue
        groups.append((start if opened is None else opened, end))
        opened = None
    if opened is not None:
        end = len(text.rstrip())
        groups = [*groups[:-1], (groups[-1][0], end)] if groups else [(opened, end)]
    return groups


def _is_spoken(letter: str) -> bool:
    return unicodedata.category(letter)[0] not in "PZC" and letter != SPACE


def _is_opening(letter: str) -> bool:
    return unicodedata.category(letter) in _OPENING or letter in _OPENING_MARKS
