"""SentencePiece text in the id layout of mBART-50, with language tags.

Ids: 0 ``<s>``, 1 ``<pad>``, 2 ``</s>``, 3 ``<unk>``, then every piece at its SentencePiece index + 1, then the language
tags, then ``<mask>`` (Tang et al. 2020). Small vocabularies with the same layout are read alike: the tags follow the
last piece, whatever the number of pieces.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import sentencepiece
import tokenizers

from voxlate.errors import VoxlateError
from voxlate.languages import MBART50_TAGS

BOS_ID, PAD_ID, EOS_ID, UNK_ID = 0, 1, 2, 3
IGNORED_ID = -100  # the label of a position that is no target, as torch and transformers have it
VOCABULARY_FILES = ("sentencepiece.bpe.model", "tokenizer.json")


class Tokenizer:
    """Text to ids and back. The language tag is part of the ids, never of the text.

    `path` is a SentencePiece model, or the ``tokenizer.json`` that transformers 5 saves in its place.
    """

    def __init__(self, path: str | Path, tags: Sequence[str] = MBART50_TAGS) -> None:
        self.path = Path(path)
        self.tags = tuple(tags)
        self._pieces: _Pieces = (
            _JsonPieces(self.path, self.tags) if self.path.suffix == ".json" else _SentencePieces(self.path)
        )
        self._tag_ids = {tag: self._pieces.end + index for index, tag in enumerate(self.tags)}

    @property
    def vocabulary_size(self) -> int:
        """Number of ids: specials, pieces, tags and ``<mask>``."""
        return self._pieces.end + len(self.tags) + 1

    def tag_id(self, tag: str) -> int:
        """Return the id of a language tag such as ``de_DE``."""
        if tag not in self._tag_ids:
            raise VoxlateError(f"unknown language tag {tag!r}; expected one of {', '.join(self.tags)}")
        return self._tag_ids[tag]

    def encode(self, text: str) -> list[int]:
        """Return the ids of the pieces alone: no tag, no ``</s>``.

        White space at the ends makes no piece, and words such as ``</s>`` or ``en_XX`` in the text stay text.
        """
        return self._pieces.encode(text)

    def encode_target(self, text: str, tag_id: int) -> list[int]:
        """Return the labels of a decoder: tag, pieces, ``</s>``."""
        return [tag_id, *self.encode(text), EOS_ID]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of the pieces; specials (``<unk>`` too), tags and ``<mask>`` leave no trace."""
        return self._pieces.decode([index for index in ids if UNK_ID < index < self._pieces.end]).strip()


class _Pieces(Protocol):
    end: int  # the first id behind the pieces

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: list[int]) -> str: ...


class _SentencePieces:
    _OFFSET = 1  # mBART id = SentencePiece index + 1, for every piece but <unk>, <s> and </s>

    def __init__(self, path: Path) -> None:
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        except (OSError, RuntimeError) as error:
            raise VoxlateError(f"{path}: not a SentencePiece model ({type(error).__name__})") from None
        self.end = self._model.get_piece_size() + self._OFFSET
        first = [self._model.id_to_piece(index) for index in range(min(3, self.end - self._OFFSET))]
        if first != ["<unk>", "<s>", "</s>"]:
            raise VoxlateError(f"{path}: pieces begin with {first}, expected <unk>, <s>, </s>; retrain it so")

    def encode(self, text: str) -> list[int]:
        return [UNK_ID if index == 0 else index + self._OFFSET for index in self._model.encode(text)]

    def decode(self, ids: list[int]) -> str:
        return str(self._model.decode([index - self._OFFSET for index in ids]))


class _JsonPieces:
    _SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")

    def __init__(self, path: Path, tags: Sequence[str]) -> None:
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            names = [name for name, _ in stored["model"]["vocab"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise VoxlateError(f"{path}: not a unigram tokenizer ({type(error).__name__})") from None
        self.end = names.index(tags[0]) if tags[0] in names else len(names)
        if names[:4] != [*self._SPECIALS] or names[self.end : self.end + len(tags)] not in ([*tags], []):
            raise VoxlateError(
                f"{path}: ids begin with {names[:4]}, expected mBART-50's layout: specials, pieces, tags"
            )
        # This library would find specials and tags in a text. Under names that no text has, they are out of its reach.
        for index in (*range(4), *range(self.end, len(names))):
            stored["model"]["vocab"][index][0] = f"\0{names[index]}"
        stored |= {"added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
        self._model = tokenizers.Tokenizer.from_str(json.dumps(stored))

    def encode(self, text: str) -> list[int]:
        # SentencePiece folds white space; this library makes a piece of each blank too many.
        return list(self._model.encode(" ".join(text.split())).ids)

    def decode(self, ids: list[int]) -> str:
        return str(self._model.decode(ids))
