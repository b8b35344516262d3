"""Resegmentation: divide the translation of a recording among the sentences of its reference, to score it by sentence.

The method is SoftSegmenter (Polák et al. 2025, https://arxiv.org/abs/2509.17349; https://github.com/pe-trik/OmniSTEval):
a global alignment that maximizes the sum of the similarities of aligned tokens. The similarity of two tokens is the
Jaccard index of their sets of characters; punctuation is never aligned with anything else. Insertions and deletions
cost nothing. In languages without spaces, tokens are characters.

OmniSTEval 0.1.10 aligns the same tokens in the same way. Its alignment is a table of Python objects, which takes
minutes and 2 GB for one hour of English. Here a row is an array, and only some rows are kept.

Shape letters: N tokens of the reference, M tokens of the translation, B rows of a block.
"""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import inf, isqrt

import numpy as np
import numpy.typing as npt

from voxlate_eval.policy import CHARACTERS, tokenizers

_VERSION = 1  # increased by every change that can change scores
_MATCH, _DELETE, _INSERT = 0, 1, 2  # DELETE: a token of the reference has no counterpart
BLOCK_CELLS = 100_000_000  # operations that are kept at a time, one byte each

Row = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Unit:
    """A word, or a character of a language without spaces, which is never divided; `main` is its token that decides."""

    start: int
    end: int
    tokens: tuple[str, ...]
    main: int = 0


def resegment(text: str, references: Sequence[str], target_language: str) -> list[str]:
    """Return the part of a translation that belongs to each sentence of the reference, "" if there is none.

    The parts are consecutive: only white space between them is dropped.
    """
    split = _characters if tokenizers(target_language)[0] == CHARACTERS else _words
    units = list(split(text))
    sentences = [[token for unit in split(sentence) for token in unit.tokens] for sentence in references]
    sentence_N = [number for number, tokens in enumerate(sentences) for _ in tokens]
    tokens_M = [token for unit in units for token in unit.tokens]
    owners_M = _owners([token for tokens in sentences for token in tokens], sentence_N, tokens_M)
    spans: dict[int, tuple[int, int]] = {}
    position = 0
    for unit in units:
        sentence = owners_M[position + unit.main]
        spans[sentence] = spans.get(sentence, (unit.start, 0))[0], unit.end
        position += len(unit.tokens)
    return [text[slice(*spans.get(number, (0, 0)))] for number in range(len(references))]


def signature(target_language: str) -> str:
    """Return the method and its settings, for signatures of metrics."""
    units = "characters" if tokenizers(target_language)[0] == CHARACTERS else "words"
    return f"softsegmenter.{units}.{_VERSION}"


def _words(text: str) -> Iterator[_Unit]:
    """Yield the words between white space; punctuation before and after a word is a token for each character."""
    for start, end in _runs(text, lambda before, letter: not before.isspace() and not letter.isspace()):
        word = _normalized(text[start:end])
        first = next((index for index, letter in enumerate(word) if not _is_punctuation(letter)), len(word))
        last = len(word) - next((index for index, letter in enumerate(word[::-1]) if not _is_punctuation(letter)), 0)
        tokens = (*word[:first], *([word[first:last]] if first < last else []), *word[max(first, last) :])
        yield _Unit(start, end, tokens, main=first if first < last else 0)


def _characters(text: str) -> Iterator[_Unit]:
    """Yield characters with combining marks, and words of ASCII letters and digits; tokens are single characters."""
    for start, end in _runs(text, _stay_together):
        yield _Unit(start, end, tuple(_normalized(text[start:end])))


def _stay_together(before: str, letter: str) -> bool:
    in_word = all(character.isascii() and character.isalnum() for character in (before, letter))
    return in_word or (unicodedata.category(letter)[0] == "M" and not before.isspace())


def _runs(text: str, is_joined: Callable[[str, str], bool]) -> Iterator[tuple[int, int]]:
    """Yield start and end of the runs of joined characters, except white space."""
    bounds = [0, *(index for index, pair in enumerate(pairwise(text), 1) if not is_joined(*pair)), len(text)]
    return ((start, end) for start, end in pairwise(bounds) if text[start:end].strip())


def _normalized(text: str) -> str:
    """Return text for comparison: in lower case, compatibility characters replaced; never empty."""
    return unicodedata.normalize("NFKC", text).lower().strip() or text


@lru_cache(1 << 12)
def _is_punctuation(token: str) -> bool:
    return len(token) == 1 and unicodedata.category(token)[0] == "P"


def _owners(tokens_N: Sequence[str], sentence_N: Sequence[int], tokens_M: Sequence[str]) -> list[int]:
    """Return the sentence that each token of a translation belongs to.

    A token without a counterpart belongs to the sentence of the token before or after it in the reference, whichever
    is more similar. Within a gap, all tokens after one that belongs to the next sentence belong there, too.
    """
    if not tokens_N:
        return [0] * len(tokens_M)
    owners_M: list[int] = []
    looks_ahead = -1  # the gap in which a token was assigned to the next one
    for token, position in zip(tokens_M, _align(tokens_N, tokens_M), strict=True):
        if position >= 0:
            owners_M.append(sentence_N[position])
            continue
        after = ~position
        if after == 0 or (looks_ahead != after and after < len(tokens_N)):
            before = _similarity(token, tokens_N[after - 1]) if after else -inf
            if after == 0 or _similarity(token, tokens_N[after]) > before:
                looks_ahead = after
        owners_M.append(sentence_N[after if looks_ahead == after else after - 1])
    return owners_M


def _align(tokens_N: Sequence[str], tokens_M: Sequence[str]) -> list[int]:
    """Return for each token of the translation its counterpart in the reference, as an index.

    An inserted token has ~n instead, if n tokens of the reference precede it. Rows are computed twice: first to keep
    one of each block, then to find the operations of one block after another, from the end.
    """
    rows = _SimilarityRows(tokens_M)
    block = max(isqrt(len(tokens_N)), BLOCK_CELLS // (len(tokens_M) + 1), 1)
    starts = range(0, len(tokens_N), block)
    row = np.zeros(len(tokens_M) + 1)
    kept = [row]
    for n in range(starts[-1]):
        row, _ = _next_row(row, rows.of(tokens_N[n]))
        if n + 1 in starts:
            kept.append(row)
    counterparts_M = [0] * len(tokens_M)
    m = len(tokens_M)
    for start in reversed(starts):
        row = kept.pop()
        operations_BM = np.empty((min(block, len(tokens_N) - start), len(tokens_M)), np.uint8)
        for index, operations_M in enumerate(operations_BM):
            row, operations_M[:] = _next_row(row, rows.of(tokens_N[start + index]))
        n = len(operations_BM)
        while n and m:
            operation = operations_BM[n - 1, m - 1]
            if operation != _DELETE:
                m -= 1
                counterparts_M[m] = start + n - 1 if operation == _MATCH else ~(start + n)
            if operation != _INSERT:
                n -= 1
    counterparts_M[:m] = [~0] * m
    return counterparts_M


def _next_row(previous: Row, similarity_M: Row) -> tuple[Row, npt.NDArray[np.uint8]]:
    """Return the best sums of similarities with one more token of the reference, (M + 1,), and the operations, (M,)."""
    matched, deleted = previous[:-1] + similarity_M, previous[1:]
    row = np.zeros(len(previous))
    np.maximum(matched, deleted, out=row[1:])
    np.maximum.accumulate(row, out=row)
    inserted = row[:-1]
    is_match = (matched >= deleted) & (matched >= inserted)
    operations_M = np.where(is_match, _MATCH, np.where(deleted >= inserted, _DELETE, _INSERT)).astype(np.uint8)
    return row, operations_M


def _similarity(token: str, other: str) -> float:
    """Return the Jaccard index of the characters of two tokens, minus infinity if one of them is punctuation."""
    if _is_punctuation(token) != _is_punctuation(other):
        return -inf
    return len({*token} & {*other}) / len({*token} | {*other})


class _SimilarityRows:
    """The similarities of tokens with those of a translation, computed once for each distinct token."""

    def __init__(self, tokens_M: Sequence[str]) -> None:
        distinct = list(dict.fromkeys(tokens_M))
        index_of = {token: index for index, token in enumerate(distinct)}
        self._index_M = np.array([index_of[token] for token in tokens_M], dtype=np.int64)
        self._sizes = np.array([len({*token}) for token in distinct], dtype=np.float64)
        self._is_punctuation = np.array([_is_punctuation(token) for token in distinct], dtype=bool)
        with_character: dict[str, list[int]] = {}
        for index, token in enumerate(distinct):
            for character in {*token}:
                with_character.setdefault(character, []).append(index)
        self._with_character = {character: np.array(found) for character, found in with_character.items()}
        self._distinct_row = lru_cache(1 << 10)(self._compute)

    def of(self, token: str) -> Row:
        """Return the similarities of a token, (M,)."""
        return self._distinct_row(token)[self._index_M]

    def _compute(self, token: str) -> Row:
        common = np.zeros(len(self._sizes))
        characters = {*token}
        for character in characters & self._with_character.keys():
            common[self._with_character[character]] += 1
        similarity = common / (self._sizes + len(characters) - common)
        return np.where(self._is_punctuation == _is_punctuation(token), similarity, -inf)
