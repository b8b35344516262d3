"""Read speech encoders: pretrained, of our models, of transformers' models with a head. Write them alone."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from voxlate.checkpoints.config_json import encoder_config
from voxlate.checkpoints.conversion import build, load_strictly, modern_names
from voxlate.checkpoints.fairseq2 import read_fairseq2_encoder
from voxlate.checkpoints.hub import find_encoder
from voxlate.checkpoints.lora import base_folder
from voxlate.checkpoints.model_folder import load_checkpoint, normalizes_waveforms
from voxlate.checkpoints.seamless import MODEL_TYPE
from voxlate.checkpoints.weights import read_weights, write_safetensors
from voxlate.errors import VoxlateError
from voxlate.files import write_text
from voxlate.json_files import read_json
from voxlate.models import ENCODERS
from voxlate.models.encoder import SpeechEncoder
from voxlate.registry import resolve

# Tensors of pretraining and CTC checkpoints that are not the encoder's.
_PRETRAINING = ("quantizer.", "project_hid.", "project_q.", "lm_head.")


def read_encoder(model: str | Path, fields: Mapping[str, Any] | None = None) -> SpeechEncoder:
    """Return the encoder of a pretrained or CTC checkpoint, or of one of our models, in float32.

    `model` is a folder, a Hub id, or a fairseq2 checkpoint (`.pt`). `fields` overrides fields of its config.
    """
    folder = find_encoder(model)
    if folder.is_file():
        return read_fairseq2_encoder(folder, fields)
    raw = read_json(base_folder(folder) / "config.json", "expected the folder of a pretrained speech encoder")
    if raw.get("model_type") in ("speech-encoder-decoder", MODEL_TYPE):
        return load_checkpoint(folder, fields={"encoder": fields or {}}).model.encoder
    encoder: SpeechEncoder
    encoder, tensors = _build_encoder(folder, raw, fields or {})
    prefix = f"{encoder.model.base_model_prefix}."
    encoder_tensors = {
        name.removeprefix(prefix): tensor for name, tensor in tensors.items() if not name.startswith(_PRETRAINING)
    }
    load_strictly(encoder.model, encoder_tensors, torch.float32, str(model))
    return encoder


def save_encoder(folder: Path, encoder: SpeechEncoder) -> None:
    """Write a folder that `read_encoder` and transformers' `AutoModel.from_pretrained` read."""
    config = encoder.config.to_dict() | {
        "architectures": [type(encoder.model).__name__],
        "dtype": str(encoder.model.dtype).removeprefix("torch."),
    }
    preprocessor = {"do_normalize": encoder.normalize_waveform, **encoder.PREPROCESSOR}
    for name, fields in (("config.json", config), ("preprocessor_config.json", preprocessor)):
        write_text(folder / name, json.dumps(fields, indent=2) + "\n")
    write_safetensors(folder / "model.safetensors", encoder.model.state_dict(), {"format": "pt"})


def read_encoder_and_heads(
    folder: Path, heads: Sequence[str], dtype: torch.dtype
) -> tuple[SpeechEncoder, dict[str, Tensor]]:
    """Return the encoder of a transformers model with heads, and the tensors of the heads."""
    raw = read_json(base_folder(folder) / "config.json", "expected the folder of a speech encoder with a head")
    if raw.get("add_adapter"):
        raise VoxlateError(f"{folder}: has a head on top of an adapter; only heads on the encoder itself are supported")
    encoder, tensors = _build_encoder(folder, raw, {})
    prefixes = tuple(f"{head}." for head in heads)
    head_tensors = {name: tensors.pop(name) for name in [*tensors] if name.startswith(prefixes)}
    prefix = f"{encoder.model.base_model_prefix}."
    encoder_tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    load_strictly(encoder.model, encoder_tensors, dtype, str(folder))
    return encoder, head_tensors


def _build_encoder(folder: Path, raw: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[Any, dict[str, Tensor]]:
    """Return the encoder that a config describes, on the meta device, and all tensors of the folder."""
    base = base_folder(folder)
    config = encoder_config(raw, base / "config.json", fields)
    encoder_class, normalize = resolve(ENCODERS, config.model_type, "speech encoder"), normalizes_waveforms(base)
    tensors = modern_names(read_weights(folder))
    layers = {"num_hidden_layers": config.num_hidden_layers}
    encoder: Any = build(lambda: encoder_class(config, normalize_waveform=normalize), folder, tensors, layers)
    return encoder, tensors
