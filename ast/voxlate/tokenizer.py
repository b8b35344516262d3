"""SentencePiece tokenization with the id layout and the language tags of mBART-50 (Tang et al. 2020).

Ids: 0 ``<s>``, 1 ``<pad>``, 2 ``</s>``, 3 ``<unk>``, then every piece at its SentencePiece index + 1, then the language
tags, then ``<mask>``. Vocabularies of any size may have this layout: the tags follow the last piece.
"""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import sentencepiece
import tokenizers

from voxlate.errors import VoxlateError
from voxlate.json_files import read_json, shown
from voxlate.languages import MBART50_TAGS

BOS_ID, PAD_ID, EOS_ID, UNK_ID = 0, 1, 2, 3
IGNORED_ID = -100  # label of positions without a target, as in torch and transformers
SPACE = "\u2581"  # SentencePiece's mark for the space before a word
VOCABULARY_FILES = ("sentencepiece.bpe.model", "tokenizer.json")


class Tokenizer:
    """Convert text to ids and back. The language tag is part of the ids, never of the text.

    `path` is a SentencePiece model, or the ``tokenizer.json`` that transformers 5 saves instead.
    VoxlateError if it is damaged or has another layout.
    """

    def __init__(self, path: str | Path, tags: Sequence[str] = MBART50_TAGS) -> None:
        self.path = Path(path)
        self.tags = tuple(tags)
        self._pieces: _Pieces = (
            _JsonPieces(self.path, self.tags) if self.path.suffix == ".json" else _SentencePieces(self.path)
        )
        self._check()
        self._tag_ids = {tag: self._pieces.end + index for index, tag in enumerate(self.tags)}

    def _check(self) -> None:
        """Encode and decode a text, so that a damaged vocabulary is reported immediately."""
        try:
            ids = self.encode(_CHECKED_TEXT)
            self.decode(range(UNK_ID + 1, min(self._pieces.end, 2_000)))
        except Exception as error:  # the libraries raise various built-in exceptions
            raise VoxlateError(f"{self.path}: does not tokenize text ({shown(error)}); fetch it again") from None
        if not all(0 <= index < self._pieces.end for index in ids):
            raise VoxlateError(f"{self.path}: returns ids that are not pieces, such as {max(ids)}; fetch it again")

    @property
    def vocabulary_size(self) -> int:
        """Number of ids: specials, pieces, tags and ``<mask>``."""
        return self._pieces.end + len(self.tags) + 1

    def tag_id(self, tag: str) -> int:
        """Return the id of a language tag such as ``de_DE``. VoxlateError if it is unknown."""
        if tag not in self._tag_ids:
            raise VoxlateError(f"unknown language tag {tag!r}; expected one of {', '.join(self.tags)}")
        return self._tag_ids[tag]

    def encode(self, text: str) -> list[int]:
        """Return the ids of the pieces, without tag and ``</s>``.

        White space at the ends is ignored. Words such as ``</s>`` or ``en_XX`` in the text are ordinary text.
        """
        return self._pieces.encode(text)

    def encode_target(self, text: str, tag_id: int) -> list[int]:
        """Return the decoder's labels: tag, pieces, ``</s>``."""
        return [tag_id, *self.encode(text), EOS_ID]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of the pieces; special tokens (``<unk>``, too), tags and ``<mask>`` are skipped."""
        return self._pieces.decode([index for index in ids if UNK_ID < index < self._pieces.end]).strip()

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """Return the text of each id, with SPACE for the space before a word; special tokens and tags have none."""
        return [self._pieces.name(index) if UNK_ID < index < self._pieces.end else "" for index in ids]


class _Pieces(Protocol):
    end: int  # the first id after the pieces

    def name(self, index: int) -> str: ...

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: list[int]) -> str: ...


_CHECKED_TEXT = (
    "Voxlate 1, \u4e2d \u0915\u093f \U0001f600"  # letters, a combining mark, and an emoji that few vocabularies have
)
_MAX_BYTES = 1 << 27


class _SentencePieces:
    _OFFSET = 1  # mBART id = SentencePiece index + 1, for every piece but <unk>, <s> and </s>

    def __init__(self, path: Path) -> None:
        if path.exists() and (not path.is_file() or path.stat().st_size > _MAX_BYTES):
            raise VoxlateError(
                f"{path}: not a SentencePiece model (expected a regular file of at most {_MAX_BYTES:,} bytes)"
            )
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_file=str(path))
            pieces = self._model.id_to_piece([*range(self._model.get_piece_size())])
        except Exception as error:  # RuntimeError, OSError, UnicodeDecodeError
            raise VoxlateError(f"{path}: not a SentencePiece model ({type(error).__name__})") from None
        self.end = len(pieces) + self._OFFSET
        first = pieces[:3]
        if first != ["<unk>", "<s>", "</s>"]:
            raise VoxlateError(f"{path}: pieces begin with {first}, expected <unk>, <s>, </s>; retrain it with these")

    def encode(self, text: str) -> list[int]:
        return [UNK_ID if index == 0 else index + self._OFFSET for index in self._model.encode(text)]

    def decode(self, ids: list[int]) -> str:
        return str(self._model.decode([index - self._OFFSET for index in ids]))

    def name(self, index: int) -> str:
        return str(self._model.id_to_piece(index - self._OFFSET))


class _JsonPieces:
    _SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")

    def __init__(self, path: Path, tags: Sequence[str]) -> None:
        stored = read_json(path, "expected a vocabulary")
        names = _unigram_names(path, stored.get("model"))
        self.end = names.index(tags[0]) if tags[0] in names else len(names)
        if names[:4] != [*self._SPECIALS] or names[self.end : self.end + len(tags)] not in ([*tags], []):
            raise VoxlateError(
                f"{path}: ids begin with {names[:4]}, expected mBART-50's layout: specials, pieces, tags"
            )
        # tokenizers would recognize special tokens and tags in text, so rename them to what no text contains.
        for index in (*range(4), *range(self.end, len(names))):
            stored["model"]["vocab"][index][0] = f"\0{names[index]}"
        stored |= {"added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
        try:
            self._model = tokenizers.Tokenizer.from_str(json.dumps(stored))
        except Exception as error:  # the library raises no other
            raise VoxlateError(f"{path}: not a tokenizer ({shown(error)}); fetch it again") from None

    def encode(self, text: str) -> list[int]:
        # SentencePiece collapses white space; tokenizers makes a piece of each additional space.
        return list(self._model.encode(" ".join(text.split())).ids)

    def decode(self, ids: list[int]) -> str:
        return str(self._model.decode(ids))

    def name(self, index: int) -> str:
        return str(self._model.id_to_token(index))


def _unigram_names(path: Path, model: object) -> list[str]:
    """Return the pieces of a unigram model, in the order of their ids."""
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(vocabulary, list) or not vocabulary:
        raise VoxlateError(f"{path}: not a unigram tokenizer (model.vocab is not a list); expected that of mBART-50")
    for item in vocabulary:
        match item:
            case [str(), int() | float() as score] if math.isfinite(score):
                continue
        raise VoxlateError(f"{path}: model.vocab holds {shown(item)}; expected pieces such as ['▁the', -3.5]")
    names = [name for name, _ in vocabulary]
    if len({*names}) < len(names):
        raise VoxlateError(f"{path}: model.vocab holds the same piece twice; fetch it again")
    return names
