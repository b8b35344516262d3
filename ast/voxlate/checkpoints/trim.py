"""A model without the pieces that its languages do not use: smaller and faster, with the same translations.

A quarter of an XLS-R 300M with mBART-50, and much of its search, are embeddings of 250,000 pieces of 50 languages
(the idea is that of Abdaoui et al. 2020). What is left keeps its order, and so its ids keep mBART-50's layout.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from sentencepiece import sentencepiece_model_pb2

from voxlate.checkpoints.model_folder import Checkpoint
from voxlate.errors import VoxlateError
from voxlate.models.decoder import MBartDecoder
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.tokenizer import UNK_ID, Tokenizer

_SPECIALS = UNK_ID + 1

protobuf: Any = sentencepiece_model_pb2  # its classes are made when it is imported


def trim(checkpoint: Checkpoint, languages: Sequence[str], ids: Collection[int], vocabulary: Path) -> Checkpoint:
    """Return the checkpoint with the pieces `ids` alone and some of its target languages; the encoder is shared.

    `vocabulary` is where the smaller vocabulary is written, with the suffix of the old one. Text whose pieces are all
    kept is cut into the same pieces, and a search that is confined to them finds the same translations.
    """
    old = checkpoint.tokenizer
    first_tag = old.tag_id(old.tags[0])
    pieces = sorted({index for index in ids if _SPECIALS <= index < first_tag})
    size = checkpoint.model.decoder.config.vocabulary_size
    kept = (*range(_SPECIALS), *pieces, *range(first_tag, size))  # tags, <mask>, and what was added after them
    _write_vocabulary(old, pieces, vocabulary)
    tokenizer = Tokenizer(vocabulary, old.tags)
    places = {index: place for place, index in enumerate(kept)}
    targets = {language: places[checkpoint.target_id(language)] for language in languages}
    old_model = checkpoint.model
    model = SpeechTranslator(
        old_model.encoder, old_model.adapter, _with_rows(old_model.decoder, kept), old_model.enc_to_dec_proj
    ).train(old_model.training)
    return replace(checkpoint, model=model, tokenizer=tokenizer, targets=targets)


def _with_rows(decoder: MBartDecoder, kept: Sequence[int]) -> MBartDecoder:
    """Return the decoder with some rows of its embeddings and of its output layer."""
    rows = torch.tensor(kept, device=decoder.embed_tokens.weight.device)
    with torch.device("meta"):
        smaller = MBartDecoder(replace(decoder.config, vocabulary_size=len(kept)))
    tensors = decoder.state_dict()
    for name in ("embed_tokens.weight", "lm_head.weight"):
        if name in tensors:
            tensors[name] = tensors[name][rows]
    smaller.load_state_dict(tensors, assign=True)
    return smaller.train(decoder.training)


def _write_vocabulary(tokenizer: Tokenizer, pieces: Sequence[int], path: Path) -> None:
    if path.suffix == ".json":
        stored = json.loads(tokenizer.path.read_text(encoding="utf-8"))
        names = stored["model"]["vocab"]
        first_tag = tokenizer.tag_id(tokenizer.tags[0])
        behind = names[first_tag:]
        stored["model"]["vocab"] = [*names[:_SPECIALS], *(names[index] for index in pieces), *behind]
        moved = _SPECIALS + len(pieces) - first_tag
        for token in stored.get("added_tokens") or []:
            token["id"] += moved if token["id"] >= first_tag else 0
        path.write_text(json.dumps(stored, ensure_ascii=False), encoding="utf-8")
        return
    model = protobuf.ModelProto()
    model.ParseFromString(tokenizer.path.read_bytes())
    if model.trainer_spec.model_type != protobuf.TrainerSpec.UNIGRAM:
        raise VoxlateError(
            f"{tokenizer.path}: its pieces depend on each other (BPE); only unigram models can be trimmed"
        )
    found = [model.pieces[index] for index in (0, 1, 2, *(index - 1 for index in pieces))]
    del model.pieces[:]
    model.pieces.extend(found)
    model.trainer_spec.vocab_size = len(found)
    path.write_bytes(model.SerializeToString())
