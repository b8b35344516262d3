"""Start a speech translation model from a pretrained speech encoder and a pretrained text decoder.

Any encoder goes with any decoder: those of mBART-50, M2M-100, NLLB, and models of speech translation. Both are loaded
strictly and by name. transformers' `from_encoder_decoder_pretrained` leaves the decoder's embeddings
random if the checkpoint only has ``model.shared.weight``, as all that transformers 5 saves.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from voxlate.checkpoints.config_json import text_config
from voxlate.checkpoints.conversion import adapter_class, build, decoder_config, identical, load_strictly
from voxlate.checkpoints.encoders import read_encoder
from voxlate.checkpoints.hub import find_encoder, find_model
from voxlate.checkpoints.lora import base_folder
from voxlate.checkpoints.model_folder import Checkpoint, load_checkpoint
from voxlate.checkpoints.new_adapter import AdapterSettings, new_adapter_config
from voxlate.checkpoints.seamless import MODEL_TYPE
from voxlate.checkpoints.vocabulary_files import check_ids, read_tokenizer
from voxlate.checkpoints.weights import read_weights
from voxlate.errors import VoxlateError
from voxlate.json_files import read_json, shown
from voxlate.models import DECODERS
from voxlate.models.decoder import TextDecoder
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.registry import resolve
from voxlate.tokenizer import Tokenizer

# Tables of sinusoids in older checkpoints of M2M-100 and NLLB; they are computed here.
_COMPUTED = ("embed_positions.weights", "embed_positions._float_tensor")


def start_model(
    encoder: str | Path,
    decoder: str | Path,
    *,
    adapter: AdapterSettings | None = None,
    fields: Mapping[str, Mapping[str, Any]] | None = None,
) -> Checkpoint:
    """Combine two checkpoints (folders or Hub ids) with a new adapter, in float32.

    Every language of the decoder's vocabulary is a target. Only the adapter's weights are random (seed torch first).
    Encoder and decoder keep their configs, including layerdrop and masking, except for the `fields` given (see
    `load_checkpoint`). VoxlateError if a checkpoint is not of the expected kind, or its weights do not fit its config.
    """
    changed = fields or {}
    text, tokenizer, targets = _read_decoder(decoder, changed.get("decoder", {}))
    speech = read_encoder(encoder, changed.get("encoder"))
    config = new_adapter_config(adapter or AdapterSettings(), speech, text.config.width)
    model = SpeechTranslator(speech, adapter_class(config)(config), text)
    return Checkpoint(f"{encoder} + {decoder}", find_encoder(encoder), model, tokenizer, targets)


def _read_decoder(decoder: str | Path, fields: Mapping[str, Any]) -> tuple[TextDecoder, Tokenizer, Mapping[str, int]]:
    """Return the decoder of a text translation model, or of one of our models, with its tokenizer and targets."""
    path = find_model(decoder)
    folder = base_folder(path)
    raw = read_json(folder / "config.json", "expected the folder of an mBART-50, M2M-100 or NLLB checkpoint")
    if raw.get("model_type") in ("speech-encoder-decoder", MODEL_TYPE):
        checkpoint = load_checkpoint(path, fields={"decoder": fields})
        return checkpoint.model.decoder, checkpoint.tokenizer, checkpoint.targets
    if raw.get("model_type") not in DECODERS:
        raise VoxlateError(
            f"{folder}: a {shown(raw.get('model_type'))} model, expected "
            f"{' or '.join(repr(name) for name in sorted(DECODERS, reverse=True))}"
        )
    config = text_config(raw, folder / "config.json", fields)
    tokenizer = read_tokenizer(folder, config.vocab_size)
    check_ids(tokenizer, config.pad_token_id, config.eos_token_id)
    tensors = _decoder_tensors(path)
    layers = {"decoder_layers": config.decoder_layers}
    decoder_class = resolve(DECODERS, config.model_type, "text decoder")
    text: TextDecoder = build(lambda: decoder_class(decoder_config(config)), folder, tensors, layers)
    load_strictly(text, tensors, torch.float32, str(decoder))
    return text, tokenizer, tokenizer.target_ids()


def _decoder_tensors(folder: Path) -> dict[str, Tensor]:
    """Return the decoder's tensors, with its embeddings stored under any of their three names."""
    tensors = {name.removeprefix("model."): tensor for name, tensor in read_weights(folder).items()}
    tensors = {
        name: tensor
        for name, tensor in tensors.items()
        if not name.startswith("encoder.") and not name.endswith(_COMPUTED)
    }
    bias = tensors.pop("final_logits_bias", None)
    if bias is not None and bias.any():
        raise VoxlateError(f"{folder}: final_logits_bias is not zero, and the decoder has no such bias")
    embeddings = [
        tensors.pop(name)
        for name in ("decoder.embed_tokens.weight", "shared.weight", "lm_head.weight")
        if name in tensors
    ]
    if not embeddings:
        raise VoxlateError(f"{folder}: no embeddings; expected decoder.embed_tokens, shared or lm_head")
    if not all(identical(embeddings[0], other) for other in embeddings[1:]):
        raise VoxlateError(f"{folder}: input and output embeddings differ; expected a checkpoint that ties them")
    return {
        "embed_tokens.weight": embeddings[0],
        **{name.removeprefix("decoder."): tensor for name, tensor in tensors.items()},
    }
