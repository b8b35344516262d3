"""SentencePiece text in the id layout of mBART-50, with language tags.

Ids: 0 ``<s>``, 1 ``<pad>``, 2 ``</s>``, 3 ``<unk>``, then every piece at its SentencePiece index + 1, then the language
tags, then ``<mask>`` (Tang et al. 2020). Small vocabularies with the same layout are read alike: the tags follow the
last piece, whatever the number of pieces.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import sentencepiece

from voxlate.errors import VoxlateError
from voxlate.languages import MBART50_TAGS

BOS_ID, PAD_ID, EOS_ID, UNK_ID = 0, 1, 2, 3
_OFFSET = 1  # mBART id = SentencePiece index + 1, for every piece but <unk>, <s> and </s>


class Tokenizer:
    """Text to ids and back. The language tag is part of the ids, never of the text."""

    def __init__(self, path: str | Path, tags: Sequence[str] = MBART50_TAGS) -> None:
        self.path = Path(path)
        try:
            self._pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
        except (OSError, RuntimeError) as error:
            raise VoxlateError(f"{path}: not a SentencePiece model ({type(error).__name__})") from None
        first = [self._pieces.id_to_piece(index) for index in range(min(3, self._pieces.get_piece_size()))]
        if first != ["<unk>", "<s>", "</s>"]:
            raise VoxlateError(f"{path}: pieces begin with {first}, expected <unk>, <s>, </s>; retrain it so")
        self.tags = tuple(tags)
        self._first_tag_id = self._pieces.get_piece_size() + _OFFSET
        self._tag_ids = {tag: self._first_tag_id + index for index, tag in enumerate(self.tags)}

    @property
    def vocabulary_size(self) -> int:
        """Number of ids: specials, pieces, tags and ``<mask>``."""
        return self._first_tag_id + len(self.tags) + 1

    def tag_id(self, tag: str) -> int:
        """Return the id of a language tag such as ``de_DE``."""
        if tag not in self._tag_ids:
            raise VoxlateError(f"unknown language tag {tag!r}; expected one of {', '.join(self.tags)}")
        return self._tag_ids[tag]

    def encode(self, text: str) -> list[int]:
        """Return the ids of the pieces alone: no tag, no ``</s>``.

        White space at the ends makes no piece, and words such as ``</s>`` or ``en_XX`` in the text stay text.
        """
        return [UNK_ID if index == 0 else index + _OFFSET for index in self._pieces.encode(text)]

    def encode_target(self, text: str, tag_id: int) -> list[int]:
        """Return the labels of a decoder: tag, pieces, ``</s>``."""
        return [tag_id, *self.encode(text), EOS_ID]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of the pieces; specials (``<unk>`` too), tags and ``<mask>`` leave no trace."""
        pieces = [index - _OFFSET for index in ids if UNK_ID < index < self._first_tag_id]
        return str(self._pieces.decode(pieces)).strip()
