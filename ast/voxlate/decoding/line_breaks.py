"""Where a text may be broken into lines, and how bad each break is.

A text is cut into parts that stay whole: words, or in Chinese, Japanese and Thai the phrases that BudouX (Google,
https://github.com/google/budoux) finds. Parts that are wider than a line are cut between characters.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from voxlate.decoding.function_words import BINDS_NEXT, BINDS_PREVIOUS
from voxlate_eval.subtitle_limits import SubtitleLimits

# The badness of a break, in the unit of the costs of `cue_search`.
SENTENCE_END, CLAUSE_END, WORD_END, BOUND_WORD, INSIDE_WORD = 0.0, 2.0, 4.0, 12.0, 24.0

_CLOSING = "\"'”’»›)]}」』】》〉）］｝"
_SENTENCE = re.compile(rf"(?:[.!?…。！？।॥؟۔։።｡]|\.\.\.)[{re.escape(_CLOSING)}]*$")
_CLAUSE = re.compile(rf"[,;:—–،؛、，；：､][{re.escape(_CLOSING)}]*$")
_ORDINAL = re.compile(r"\d+\.$")
_INITIAL = re.compile(r"\w\.$")  # of a name
_ELIDED = re.compile(r"\w['’]$")

# Kinsoku: characters that do not begin a line, or end one, in Chinese and Japanese (JIS X 4051).
_NOT_FIRST = (
    "、。，．・：；？！゛゜ヽヾゝゞ々ー’”）〕］｝〉》」』】‐〜～…‥,.!?:;)]}%％"
    "ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ"
)
_NOT_LAST = "‘“（〔［｛〈《「『【([{$＄￥¥#"

_MODELS = {"ja": "ja", "th": "th", "zh": "zh-hans", "wuu": "zh-hans", "yue": "zh-hant", "nan-tw": "zh-hant"}
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u318f\u31a0-\ua4cf\uf900-\ufaff\uff66-\uff9f]+"
)
_THAI_LEADING = "เแโใไເແໂໃໄ"  # vowels that are written before their consonant
_THAI_FOLLOWING = "ะาำๅๆะາຳຽໆ"


@dataclass(frozen=True)
class TextPart:
    """A part of a text that stays on one line.

    - `start`, `end`: indices of its characters in the text.
    - `is_spaced`: whether a space precedes it.
    - `badness`: that of a break after it.
    """

    text: str
    start: int
    end: int
    is_spaced: bool
    badness: float


def text_parts(text: str, language: str | None, limits: SubtitleLimits) -> list[TextPart]:
    """Return the parts of a text whose words are separated by single spaces. None is wider than a line."""
    parts: list[TextPart] = []
    position = 0
    for word in text.split():
        position = text.index(word, position)
        pieces = list(_pieces(word, language, limits))
        for number, (piece, badness) in enumerate(pieces):
            parts.append(TextPart(piece, position, position + len(piece), number == 0 < len(parts), badness))
            position += len(piece)
    return _with_badness(parts, language)


def _pieces(word: str, language: str | None, limits: SubtitleLimits) -> Iterator[tuple[str, float]]:
    """Yield the parts of a word, with the badness of a break after each if no punctuation improves it."""
    for piece in _phrases(word, language):
        if limits.width(piece) <= limits.max_line_width:
            yield piece, WORD_END
            continue
        slices = _slices(piece, limits)
        for slice_ in slices[:-1]:
            yield slice_, INSIDE_WORD
        yield slices[-1], WORD_END


def _phrases(word: str, language: str | None) -> list[str]:
    """Cut a word at the phrases of a script without spaces, if it has any."""
    if _SPACELESS.search(word) is None:
        return [word]
    model = _MODELS.get(language or "") or ("ja" if re.search("[\u3040-\u30ff]", word) else "zh-hans")
    if re.search("[\u0e00-\u0e7f]", word):
        model = "th"
    elif _MODELS.get(language or "") == "th":
        model = "zh-hans"
    phrases = [""]
    for phrase in _parser(model)(word):
        if _may_break(phrases[-1], phrase):
            phrases.append(phrase)
        else:
            phrases[-1] += phrase
    return phrases


def _may_break(before: str, after: str) -> bool:
    """Return whether a line may end between two texts: not in a foreign word, and as kinsoku has it."""
    last, first = before[-1:], after[0]
    if not last or first in _NOT_FIRST or last in _NOT_LAST:
        return False
    if unicodedata.combining(first) or unicodedata.category(first)[0] == "M" or first in _THAI_FOLLOWING:
        return False
    return last not in _THAI_LEADING and bool(_SPACELESS.match(last) or _SPACELESS.match(first))


def _slices(piece: str, limits: SubtitleLimits) -> list[str]:
    """Cut a text that is wider than a line into even slices, between characters."""
    count = -(-limits.width(piece) // (limits.max_line_width * 0.9))
    even = min(limits.width(piece) / count + 1, limits.max_line_width)
    slices = [""]
    for character in piece:
        joins = limits.width(character) == 0 or character in _NOT_FIRST + _THAI_FOLLOWING
        width = limits.width(slices[-1] + character)
        if width > limits.max_line_width or (width > even and not joins):
            slices.append("")
        slices[-1] += character
    return slices


def _with_badness(parts: list[TextPart], language: str | None) -> list[TextPart]:
    """Set the badness of the break after each part, by its punctuation and the words around it."""
    before, after = BINDS_NEXT.get(language or "", frozenset()), BINDS_PREVIOUS.get(language or "", frozenset())
    rated = []
    for index, part in enumerate(parts):
        following = parts[index + 1] if index + 1 < len(parts) else None
        badness = part.badness
        if following is None:
            badness = SENTENCE_END if _SENTENCE.search(part.text) else CLAUSE_END
        elif badness != INSIDE_WORD:
            badness = _badness(part.text, following.text, before, after)
        rated.append(TextPart(part.text, part.start, part.end, part.is_spaced, badness))
    return rated


def _badness(word: str, following: str, before: frozenset[str], after: frozenset[str]) -> float:
    bare, next_bare = word.strip(_CLOSING + "¿¡«“„(").lower(), following.strip(_CLOSING + ",.;:!?").lower()
    if bare in before or _ELIDED.search(bare):
        return BOUND_WORD
    if _SENTENCE.search(word):
        is_abbreviation = _ORDINAL.search(word) or _INITIAL.fullmatch(bare) or following[0].islower()
        return WORD_END if is_abbreviation else SENTENCE_END
    if _CLAUSE.search(word):
        return CLAUSE_END
    if next_bare in after or (bare[-1:].isdigit() and following[0].isalpha()) or following in ("-", "–", "—"):
        return BOUND_WORD
    return WORD_END - 1 if next_bare in before else WORD_END  # before a preposition or conjunction, if anywhere


@cache
def _parser(name: str) -> Callable[[str], list[str]]:
    from budoux import Parser  # noqa: PLC0415 (only texts in these scripts need it)

    model: Any = json.loads((files("budoux") / "models" / f"{name}.json").read_text(encoding="utf-8"))
    parse: Callable[[str], list[str]] = Parser(model).parse
    return parse
