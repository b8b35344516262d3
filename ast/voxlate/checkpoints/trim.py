"""Vocabulary trimming: remove the pieces that the target languages do not use (Abdaoui et al. 2020).

In XLS-R 300M with mBART-50, the embeddings of 250,000 pieces in 50 languages are a quarter of the parameters, and take
much of the search time. The remaining pieces keep their order, so ids keep their layout.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from voxlate.checkpoints.model_folder import Checkpoint
from voxlate.checkpoints.trimmed_vocabulary import needed_pieces, write_trimmed
from voxlate.models.decoder import TextDecoder
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.tokenizer import SPECIALS, Tokenizer


def trim(checkpoint: Checkpoint, languages: Sequence[str], ids: Collection[int], vocabulary: Path) -> Checkpoint:
    """Return the checkpoint with only the pieces `ids` and some of its target languages; the encoder is shared.

    The smaller vocabulary is written to `vocabulary`, which has the suffix of the old one. Text whose pieces are all
    kept is tokenized as before, and a search restricted to these pieces returns the same translations. In a BPE
    vocabulary, the pieces from which others are merged are kept, too.
    """
    old = checkpoint.tokenizer
    pieces = needed_pieces(old, {index for index in ids if SPECIALS <= index < old.first_tag_id})
    size = checkpoint.model.decoder.config.vocabulary_size
    kept = (*range(SPECIALS), *pieces, *range(old.first_tag_id, size))  # tags, <mask>, and added languages
    write_trimmed(old, pieces, vocabulary)
    tokenizer = Tokenizer(vocabulary, old.layout, unused=old.unused)
    new_ids = {old_id: new_id for new_id, old_id in enumerate(kept)}
    targets = {language: new_ids[checkpoint.target_id(language)] for language in languages}
    old_model = checkpoint.model
    model = SpeechTranslator(
        old_model.encoder, old_model.adapter, _with_rows(old_model.decoder, kept), old_model.enc_to_dec_proj
    ).train(old_model.training)
    return replace(checkpoint, model=model, tokenizer=tokenizer, targets=targets)


def _with_rows(decoder: TextDecoder, kept: Sequence[int]) -> TextDecoder:
    """Return the decoder with only the rows `kept` of its embeddings and its output layer."""
    rows = torch.tensor(kept, device=decoder.embed_tokens.weight.device)
    with torch.device("meta"):
        smaller = type(decoder)(replace(decoder.config, vocabulary_size=len(kept)))
    tensors = decoder.state_dict()
    for name in ("embed_tokens.weight", "lm_head.weight"):
        if name in tensors:
            tensors[name] = tensors[name][rows]
    smaller.load_state_dict(tensors, assign=True)
    return smaller.train(decoder.training)
