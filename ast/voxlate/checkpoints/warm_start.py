"""Start a speech translation model from a pretrained speech encoder and an mBART-50 checkpoint.

Both are loaded strictly and by name. transformers' `from_encoder_decoder_pretrained` leaves the decoder's embeddings
random if the checkpoint only has ``model.shared.weight``, as all that transformers 5 saves.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from voxlate.checkpoints.config_json import mbart_config
from voxlate.checkpoints.conversion import build, decoder_config, identical, load_strictly
from voxlate.checkpoints.encoders import read_encoder
from voxlate.checkpoints.hub import find_encoder, find_model
from voxlate.checkpoints.lora import base_folder
from voxlate.checkpoints.model_folder import Checkpoint, read_tokenizer
from voxlate.checkpoints.weights import read_weights
from voxlate.errors import VoxlateError
from voxlate.json_files import read_json, shown
from voxlate.languages import LANGUAGES
from voxlate.models.adapter import AdapterConfig, LengthAdapter
from voxlate.models.decoder import MBartDecoder
from voxlate.models.speech_translator import SpeechTranslator


def start_model(
    encoder: str | Path,
    decoder: str | Path,
    *,
    adapter_layers: int = 3,
    adapter_kernel: int = 3,
    adapter_stride: int = 2,
    fields: Mapping[str, Mapping[str, Any]] | None = None,
) -> Checkpoint:
    """Combine two checkpoints (folders or Hub ids) with a new adapter, in float32; every mBART-50 language is a target.

    Only the adapter's weights are random (seed torch first). Encoder and decoder keep their configs, including
    layerdrop and masking, except for the `fields` given (see `load_checkpoint`). VoxlateError
    if a checkpoint is not of the expected kind, or its weights do not fit its config.
    """
    changed = fields or {}
    if adapter_layers < 1:
        raise VoxlateError(f"adapter_layers is {adapter_layers}, expected 1 or more: it connects the two widths")
    decoder_path = find_model(decoder)
    decoder_folder = base_folder(decoder_path)
    config = _read_mbart_config(decoder_folder, changed.get("decoder", {}))
    tokenizer = read_tokenizer(decoder_folder, config.vocab_size)
    speech = read_encoder(encoder, changed.get("encoder"))
    tensors = _decoder_tensors(decoder_path)
    layers = {"decoder_layers": config.decoder_layers}
    text = build(lambda: MBartDecoder(decoder_config(config)), decoder_folder, tensors, layers)
    load_strictly(text, tensors, torch.float32, str(decoder))
    shape = AdapterConfig(speech.output_dim, text.config.width, adapter_layers, adapter_kernel, adapter_stride)
    model = SpeechTranslator(speech, LengthAdapter(shape), text)
    targets = {language.code: tokenizer.tag_id(language.mbart_tag) for language in LANGUAGES if language.mbart_tag}
    return Checkpoint(f"{encoder} + {decoder}", find_encoder(encoder), model, tokenizer, targets)


def _read_mbart_config(folder: Path, changed: Mapping[str, Any]) -> Any:
    raw = read_json(folder / "config.json", "expected the folder of an mBART-50 checkpoint")
    if raw.get("model_type") != "mbart":
        raise VoxlateError(f"{folder}: a {shown(raw.get('model_type'))} model, expected 'mbart'")
    return mbart_config(raw, folder / "config.json", changed)


def _decoder_tensors(folder: Path) -> dict[str, Tensor]:
    """Return the decoder's tensors, with its embeddings stored under any of their three names."""
    tensors = {name.removeprefix("model."): tensor for name, tensor in read_weights(folder).items()}
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("encoder.")}
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
        raise VoxlateError(f"{folder}: input and output embeddings differ; expected a tied mBART-50 checkpoint")
    return {
        "embed_tokens.weight": embeddings[0],
        **{name.removeprefix("decoder."): tensor for name, tensor in tensors.items()},
    }
