"""Train a SentencePiece vocabulary, for models without pretrained parts."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import sentencepiece

from voxlate.errors import VoxlateError
from voxlate.files import atomic_file
from voxlate.manifest.reading import read_manifest


def make_vocabulary(manifests: list[Path], output: Path, size: int) -> int:
    """Train a unigram model (Kudo 2018) on the distinct target texts of manifests; return its number of pieces.

    The first pieces are <unk>, <s> and </s>, as `voxlate.tokenizer.Tokenizer` and mBART expect. VoxlateError if there
    are no texts, or too few for `size` pieces.
    """
    texts = list(dict.fromkeys(_texts(manifests)))
    if not texts:
        raise VoxlateError(f"{', '.join(map(str, manifests))}: no target_text to train a vocabulary on")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            vocab_size=size,
            character_coverage=1.0,
            num_threads=1,  # with more threads, the pieces differ from run to run
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).rpartition("] ")[2] or str(error)
        raise VoxlateError(f"--size {size}: {reason}") from None
    with atomic_file(output) as part:
        part.write_bytes(model.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).get_piece_size()


def _texts(manifests: list[Path]) -> Iterator[str]:
    for path in manifests:
        for text in read_manifest(path).column("target_text"):
            if text:
                yield text
