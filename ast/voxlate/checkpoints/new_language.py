"""Add a target language to a trained model, as a copy of one of its target languages."""

from dataclasses import replace

import torch
from torch import Tensor

from voxlate.checkpoints.model_folder import LANGUAGES_FILE, Checkpoint
from voxlate.errors import VoxlateError
from voxlate.languages import Language, find_language
from voxlate.models.decoder import TextDecoder
from voxlate.models.speech_translator import SpeechTranslator

_ROWS_PER_ID = ("embed_tokens.weight", "lm_head.weight")  # the latter only if the embeddings are not tied


def add_language(
    checkpoint: Checkpoint, language: str, *, init_from: str, token: str | int | None = None
) -> Checkpoint:
    """Return the checkpoint with one more target language, which starts as a copy of the target `init_from`.

    Without `token`, the language gets a new id after all others. With `token`, an mBART-50 tag or its id, it reuses
    one that no target uses, as Catalan has es_XX in the published checkpoints. No other weight changes; the two
    checkpoints share them, so train only one.

    VoxlateError if the language is a target already, `init_from` is not, or the token is not a free language tag.
    """
    added, source = find_language(language), find_language(init_from)
    if added.code in checkpoint.targets:
        raise VoxlateError(
            f"{checkpoint.name} translates into {added.name} ({added.code}) already, with id "
            f"{checkpoint.targets[added.code]}; train it as it is, or add another language"
        )
    if source.code not in checkpoint.targets:
        raise VoxlateError(
            f"init_from is {source.name} ({source.code}), which {checkpoint.name} does not translate into; expected "
            f"one of its targets: {', '.join(sorted(checkpoint.targets))}"
        )
    old = checkpoint.model
    vocabulary_size = old.decoder.config.vocabulary_size
    target_id = vocabulary_size if token is None else _free_token(checkpoint, added, token)
    decoder = _with_row_copied(old.decoder, checkpoint.targets[source.code], target_id)
    model = SpeechTranslator(old.encoder, old.adapter, decoder, old.enc_to_dec_proj).train(old.training)
    return replace(checkpoint, model=model, targets={**checkpoint.targets, added.code: target_id})


def _free_token(checkpoint: Checkpoint, language: Language, token: str | int) -> int:
    tokenizer = checkpoint.tokenizer
    tag_ids = [tokenizer.tag_id(tag) for tag in tokenizer.tags]
    target_id = tokenizer.tag_id(token) if isinstance(token, str) else token
    if target_id not in tag_ids:
        raise VoxlateError(
            f"token {token} for {language.name} ({language.code}) is not a language tag; expected one such as "
            f"{tokenizer.tags[0]}, or an id from {tag_ids[0]} to {tag_ids[-1]}"
        )
    users = [find_language(code) for code, index in checkpoint.targets.items() if index == target_id]
    if users:
        raise VoxlateError(
            f"token {token} for {language.name} ({language.code}) is in use: {checkpoint.name} translates into "
            f"{users[0].name} ({users[0].code}) with it; name another, or none for a new id, or list the model's "
            f"targets without {users[0].code} in its {LANGUAGES_FILE}"
        )
    return target_id


def _with_row_copied(decoder: TextDecoder, source_id: int, target_id: int) -> TextDecoder:
    """Return the decoder with its embedding row `source_id` copied to `target_id`, which may be a new last row."""
    tensors = decoder.state_dict()
    for name in _ROWS_PER_ID:
        if name in tensors:
            tensors[name] = _copy_row(tensors[name], source_id, target_id)
    with torch.device("meta"):
        extended = type(decoder)(replace(decoder.config, vocabulary_size=len(tensors["embed_tokens.weight"])))
    extended.load_state_dict(tensors, assign=True)
    return extended


def _copy_row(weight_VD: Tensor, source_id: int, target_id: int) -> Tensor:
    row_1D = weight_VD[source_id : source_id + 1]
    return torch.cat([weight_VD[:target_id], row_1D, weight_VD[target_id + 1 :]])
