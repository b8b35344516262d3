"""A made-up SentencePiece vocabulary of any size in mBART-50's layout, so that benchmarks need no download."""

import io
from itertools import islice, product
from pathlib import Path
from typing import Any

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as generated

from voxlate.tokenizer import SPACE

MBART_PIECES = 250_000  # with another special token, 52 tags and <mask>: 250,054 ids
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SEED = [" ".join(_LETTERS), "the train leaves at seven", "how much does it cost"]


def write_vocabulary(path: Path, pieces: int = MBART_PIECES) -> Path:
    """Write a unigram model of this many pieces: the letters, and strings of 2 to 4 letters in alphabetical order."""
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_SEED),
        model_writer=trained,
        model_type="char",
        vocab_size=len(_LETTERS) + 4,
        hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,
    )
    proto: Any = generated  # its classes are made at import
    model = proto.ModelProto.FromString(trained.getvalue())
    model.trainer_spec.model_type = proto.TrainerSpec.UNIGRAM
    known = {piece.piece for piece in model.pieces}
    strings = (
        start + "".join(letters)
        for size in (2, 3, 4)
        for start in (SPACE, "")
        for letters in product(_LETTERS, repeat=size)
    )
    new = (string for string in strings if string not in known)
    for rank, string in enumerate(islice(new, pieces - len(model.pieces))):
        model.pieces.add(piece=string, score=-2.0 - rank / pieces)  # more probable than their letters
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path
