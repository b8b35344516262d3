"""SentencePiece tokenization with the id layouts and language tags of mBART-50, NLLB, M2M-100 and SeamlessM4T.

Ids: four special tokens, in mBART-50 0 ``<s>``, 1 ``<pad>``, 2 ``</s>``, 3 ``<unk>``, then the pieces (each at its
SentencePiece index + 1; in M2M-100 as in ``vocab.json``), then the language tags, then ``<mask>`` or unused ids.
Vocabularies of any size may have these layouts: the tags follow the last piece. See `voxlate.vocabulary_layouts`.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import sentencepiece
import tokenizers

from voxlate.errors import VoxlateError
from voxlate.json_files import read_json, shown
from voxlate.languages import find_language
from voxlate.vocabulary_layouts import BOS, EOS, MBART50, PAD, UNK, VocabularyLayout

BOS_ID, PAD_ID, EOS_ID, UNK_ID = 0, 1, 2, 3  # in all layouts but SeamlessM4T's
SPECIALS = 4  # number of ids before the pieces
IGNORED_ID = -100  # label of positions without a target, as in torch and transformers
SPACE = "\u2581"  # SentencePiece's mark for the space before a word
VOCABULARY_FILES = ("sentencepiece.bpe.model", "tokenizer.json")
DICTIONARY_FILE = "vocab.json"  # of M2M-100, next to its SentencePiece model


class Tokenizer:
    """Convert text to ids and back. The language tag is part of the ids, never of the text.

    `path` is a SentencePiece model, or the ``tokenizer.json`` that transformers 5 saves instead. `unused` is the
    number of ids after the tags, by default the fewest that the layout has.
    VoxlateError if it is damaged or has another layout.
    """

    def __init__(self, path: str | Path, layout: VocabularyLayout = MBART50, *, unused: int | None = None) -> None:
        self.path, self.layout = Path(path), layout
        self.unused = layout.min_unused if unused is None else unused
        self.bos_id, self.pad_id, self.eos_id, self.unk_id = map(layout.specials.index, (BOS, PAD, EOS, UNK))
        self._pieces = _read_pieces(self.path, layout)
        self._check()
        self._tag_ids = {tag: self._pieces.end + index for index, tag in enumerate(layout.tags)}

    def _check(self) -> None:
        """Encode and decode a text, so that a damaged vocabulary is reported immediately."""
        try:
            ids = self.encode(_CHECKED_TEXT)
            self.decode(range(SPECIALS, min(self._pieces.end, 2_000)))
        except Exception as error:  # the libraries raise various built-in exceptions
            raise VoxlateError(f"{self.path}: does not tokenize text ({shown(error)}); fetch it again") from None
        if not all(0 <= index < self._pieces.end for index in ids):
            raise VoxlateError(f"{self.path}: returns ids that are not pieces, such as {max(ids)}; fetch it again")

    @property
    def files(self) -> list[Path]:
        """All files of the vocabulary."""
        return [self.path, self.path.with_name(DICTIONARY_FILE)] if self.layout.uses_dictionary else [self.path]

    @property
    def tags(self) -> tuple[str, ...]:
        """All language tags, in the order of their ids."""
        return self.layout.tags

    @property
    def first_tag_id(self) -> int:
        """The first id after the pieces."""
        return self._pieces.end

    @property
    def vocabulary_size(self) -> int:
        """Number of ids: specials, pieces, tags and unused ones."""
        return self._pieces.end + len(self.tags) + self.unused

    def tag_id(self, tag: str) -> int:
        """Return the id of a language tag such as ``de_DE``. VoxlateError if it is unknown."""
        if tag not in self._tag_ids:
            raise VoxlateError(f"unknown language tag {tag!r}; expected one of {', '.join(self.tags)}")
        return self._tag_ids[tag]

    def target_ids(self) -> dict[str, int]:
        """Return the id of the tag of each language that has one, by code."""
        return {find_language(code).code: self._tag_ids[tag] for code, tag in self.layout.languages().items()}

    def encode(self, text: str) -> list[int]:
        """Return the ids of the pieces, without tag and ``</s>``.

        White space at the ends is ignored. Words such as ``</s>`` or ``en_XX`` in the text are ordinary text.
        """
        return self._pieces.encode(text)

    def encode_target(self, text: str, tag_id: int) -> list[int]:
        """Return the decoder's labels: tag, pieces, ``</s>``."""
        return [tag_id, *self.encode(text), self.eos_id]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of the pieces; special tokens (``<unk>``, too), tags and ``<mask>`` are skipped."""
        return self._pieces.decode([index for index in ids if SPECIALS <= index < self._pieces.end]).strip()

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """Return the text of each id, with SPACE for the space before a word; special tokens and tags have none."""
        return [self._pieces.name(index) if SPECIALS <= index < self._pieces.end else "" for index in ids]


class _Pieces(Protocol):
    end: int  # the first id after the pieces

    def name(self, index: int) -> str: ...

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: list[int]) -> str: ...


_CHECKED_TEXT = (
    "Voxlate 1, \u4e2d \u0915\u093f \U0001f600"  # letters, a combining mark, and an emoji that few vocabularies have
)
_MAX_BYTES = 1 << 27


def _read_pieces(path: Path, layout: VocabularyLayout) -> _Pieces:
    if path.suffix == ".json":
        return _JsonPieces(path, layout)
    if layout.uses_dictionary:
        return _DictionaryPieces(path, layout)
    return _SentencePieces(path, layout.specials.index(UNK))


def _read_model(path: Path) -> sentencepiece.SentencePieceProcessor:
    if path.exists() and (not path.is_file() or path.stat().st_size > _MAX_BYTES):
        raise VoxlateError(
            f"{path}: not a SentencePiece model (expected a regular file of at most {_MAX_BYTES:,} bytes)"
        )
    try:
        model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        model.id_to_piece([*range(model.get_piece_size())])
    except Exception as error:  # RuntimeError, OSError, UnicodeDecodeError
        raise VoxlateError(f"{path}: not a SentencePiece model ({type(error).__name__})") from None
    return model


class _SentencePieces:
    _OFFSET = 1  # id = SentencePiece index + 1, for every piece but <unk>, <s> and </s>

    def __init__(self, path: Path, unk_id: int) -> None:
        self._model, self._unk_id = _read_model(path), unk_id
        self.end = self._model.get_piece_size() + self._OFFSET
        first = self._model.id_to_piece([*range(min(3, self._model.get_piece_size()))])
        if first != ["<unk>", "<s>", "</s>"]:
            raise VoxlateError(f"{path}: pieces begin with {first}, expected <unk>, <s>, </s>; retrain it with these")

    def encode(self, text: str) -> list[int]:
        return [self._unk_id if index == 0 else index + self._OFFSET for index in self._model.encode(text)]

    def decode(self, ids: list[int]) -> str:
        return str(self._model.decode([index - self._OFFSET for index in ids]))

    def name(self, index: int) -> str:
        return str(self._model.id_to_piece(index - self._OFFSET))


class _DictionaryPieces:
    """A SentencePiece model whose pieces have the ids of a ``vocab.json``; pieces that it lacks are ``<unk>``."""

    def __init__(self, path: Path, layout: VocabularyLayout) -> None:
        self._model, dictionary = _read_model(path), path.with_name(DICTIONARY_FILE)
        self._names = _names_by_id(dictionary, read_json(dictionary, "expected the ids of M2M-100's pieces"))
        if self._names[:SPECIALS] != [*layout.specials]:
            raise VoxlateError(
                f"{dictionary}: ids begin with {self._names[:SPECIALS]}, expected {', '.join(layout.specials)}"
            )
        self._ids = {name: index for index, name in enumerate(self._names)}
        self._unk_id, self.end = layout.specials.index(UNK), len(self._names)

    def encode(self, text: str) -> list[int]:
        return [self._ids.get(piece, self._unk_id) for piece in self._model.encode(text, out_type=str)]

    def decode(self, ids: list[int]) -> str:
        return str(self._model.decode([self._names[index] for index in ids]))

    def name(self, index: int) -> str:
        return self._names[index]


class _JsonPieces:
    def __init__(self, path: Path, layout: VocabularyLayout) -> None:
        stored = read_json(path, "expected a vocabulary")
        model, tags = stored.get("model"), layout.tags
        bpe = model.get("vocab") if isinstance(model, dict) and model.get("type") == "BPE" else None
        names = _unigram_names(path, model) if bpe is None else _names_by_id(path, bpe)
        self.end = names.index(tags[0]) if tags and tags[0] in names else len(names)
        if names[:SPECIALS] != [*layout.specials] or names[self.end : self.end + len(tags)] not in ([*tags], []):
            raise VoxlateError(
                f"{path}: ids begin with {names[:SPECIALS]}, expected {_family(layout)}'s layout: specials, pieces, "
                "tags"
            )
        if bpe is None:
            # tokenizers would recognize special tokens and tags in text, so rename them to what no text contains.
            for index in (*range(SPECIALS), *range(self.end, len(names))):
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


def _family(layout: VocabularyLayout) -> str:
    return "mBART-50" if layout.tokenizer_class == MBART50.tokenizer_class else layout.tokenizer_class


def _names_by_id(path: Path, ids: object) -> list[str]:
    """Return the pieces of a dictionary in the order of their ids, which must be 0, 1, 2 and so on."""
    if not isinstance(ids, dict) or not ids or not all(type(index) is int for index in ids.values()):
        raise VoxlateError(f"{path}: its vocabulary is {shown(ids)}; expected ids by piece")
    names = sorted(ids, key=lambda name: int(ids[name]))
    if [ids[name] for name in names] != [*range(len(names))]:
        raise VoxlateError(f"{path}: the ids of its pieces are not 0 to {len(names) - 1}; fetch it again")
    return names


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
