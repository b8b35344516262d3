"""Vocabulary trimming: remove the pieces that the target languages do not use (Abdaoui et al. 2020).

In XLS-R 300M with mBART-50, the embeddings of 250,000 pieces in 50 languages are a quarter of the parameters, and take
much of the search time. The remaining pieces keep their order, so ids keep mBART-50's layout.
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

protobuf: Any = sentencepiece_model_pb2  # Any: its classes are created at run time


def trim(checkpoint: Checkpoint, languages: Sequence[str], ids: Collection[int], vocabulary: Path) -> Checkpoint:
    """Return the checkpoint with only the pieces `ids` and some of its target languages; the encoder is shared.

    The smaller vocabulary is written to `vocabulary`, which has the suffix of the old one. Text whose pieces are all
    kept is tokenized as before, and a search restricted to these pieces returns the same translations.
    VoxlateError for BPE vocabularies, whose pieces depend on each other.
    """
    old = checkpoint.tokenizer
    first_tag = old.tag_id(old.tags[0])
    pieces = sorted({index for index in ids if _SPECIALS <= index < first_tag})
    size = checkpoint.model.decoder.config.vocabulary_size
    kept = (*range(_SPECIALS), *pieces, *range(first_tag, size))  # tags, <mask>, and added languages
    _write_vocabulary(old, pieces, vocabulary)
    tokenizer = Tokenizer(vocabulary, old.tags)
    new_ids = {old_id: new_id for new_id, old_id in enumerate(kept)}
    targets = {language: new_ids[checkpoint.target_id(language)] for language in languages}
    old_model = checkpoint.model
    model = SpeechTranslator(
        old_model.encoder, old_model.adapter, _with_rows(old_model.decoder, kept), old_model.enc_to_dec_proj
    ).train(old_model.training)
    return replace(checkpoint, model=model, tokenizer=tokenizer, targets=targets)


def _with_rows(decoder: MBartDecoder, kept: Sequence[int]) -> MBartDecoder:
    """Return the decoder with only the rows `kept` of its embeddings and its output layer."""
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
        stored["model"]["vocab"] = [*names[:_SPECIALS], *(names[index] for index in pieces), *names[first_tag:]]
        shift = _SPECIALS + len(pieces) - first_tag
        for token in stored.get("added_tokens") or []:
            token["id"] += shift if token["id"] >= first_tag else 0
        path.write_text(json.dumps(stored, ensure_ascii=False), encoding="utf-8")
        return
    model = protobuf.ModelProto()
    model.ParseFromString(tokenizer.path.read_bytes())
    if model.trainer_spec.model_type != protobuf.TrainerSpec.UNIGRAM:
        raise VoxlateError(
            f"{tokenizer.path}: its pieces depend on each other (BPE); only unigram models can be trimmed"
        )
    kept = [model.pieces[index] for index in (0, 1, 2, *(index - 1 for index in pieces))]
    del model.pieces[:]
    model.pieces.extend(kept)
    model.trainer_spec.vocab_size = len(kept)
    path.write_bytes(model.SerializeToString())
