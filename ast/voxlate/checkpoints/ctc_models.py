"""Read CTC models for transcription: our models with a CTC head, and transformers' `…ForCTC` folders."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from voxlate.checkpoints.config_json import architectures
from voxlate.checkpoints.conversion import linear
from voxlate.checkpoints.ctc_files import CTC_FILE, read_ctc
from voxlate.checkpoints.ctc_labels import Labels, read_labels
from voxlate.checkpoints.encoders import read_encoder_and_heads
from voxlate.checkpoints.hub import find_model
from voxlate.checkpoints.lora import base_folder
from voxlate.checkpoints.model_folder import load_checkpoint
from voxlate.errors import VoxlateError
from voxlate.json_files import read_json, shown
from voxlate.models.ctc_model import CtcModel
from voxlate.models.encoder import SpeechEncoder

StoredHead = tuple[dict[str, Tensor], dict[str, int]]  # tensors, labels of characters


@dataclass(frozen=True)
class CtcCheckpoint:
    """A CTC model with its labels and its folder (for a LoRA adapter, the adapter's)."""

    folder: Path
    model: CtcModel
    labels: Labels


def load_ctc_checkpoint(model: str | Path, *, device: torch.device | str, dtype: torch.dtype) -> CtcCheckpoint:
    """Load a CTC model from a folder or Hub id, in evaluation mode. VoxlateError if it has no CTC head."""
    folder = find_model(model)
    raw = read_json(base_folder(folder) / "config.json", "expected the folder of a model with a CTC head")
    kinds = architectures(raw, folder / "config.json")
    if any(kind.endswith("ForCTC") for kind in kinds):
        network, labels = _from_transformers(folder, raw, dtype)
    elif raw.get("model_type") == "speech-encoder-decoder":
        stored = read_ctc_head(model, folder)
        network, labels = _with_head(stored, folder, load_checkpoint(folder, dtype=dtype).model.encoder, dtype)
    else:
        raise VoxlateError(
            f"{model}: {', '.join(kinds) or shown(raw.get('model_type'))} does not transcribe; expected a model of "
            f"Voxlate with {CTC_FILE}, or a Wav2Vec2ForCTC, WavLMForCTC, HubertForCTC or Wav2Vec2BertForCTC"
        )
    return CtcCheckpoint(folder, network.to(device).eval(), labels)


def load_ctc_head(
    model: str | Path, encoder: SpeechEncoder, *, device: torch.device, dtype: torch.dtype
) -> CtcCheckpoint:
    """Load the CTC head of a model of ours for its encoder, which is loaded already. VoxlateError if it has none."""
    folder = find_model(model)
    network, labels = _with_head(read_ctc_head(model, folder), folder, encoder, dtype)
    network.head.to(device)
    return CtcCheckpoint(folder, network.eval(), labels)


def read_ctc_head(model: str | Path, folder: Path) -> StoredHead:
    """Return the CTC head next to a model of ours. VoxlateError if it has none."""
    stored = read_ctc(base_folder(folder))
    if stored is None:
        raise VoxlateError(f"{model}: has no {CTC_FILE}; train with loss.ctc_weight, or name a model with a CTC head")
    return stored


def _with_head(stored: StoredHead, folder: Path, encoder: SpeechEncoder, dtype: torch.dtype) -> tuple[CtcModel, Labels]:
    tensors, characters = stored
    head = linear(tensors, "projection", encoder.output_dim, dtype, folder / CTC_FILE)
    return CtcModel(encoder, head), Labels(("", *characters), 0, characters.get(" "))


def _from_transformers(folder: Path, raw: dict[str, Any], dtype: torch.dtype) -> tuple[CtcModel, Labels]:
    encoder, tensors = read_encoder_and_heads(folder, ["lm_head"], dtype)
    head = linear(tensors, "lm_head", encoder.output_dim, dtype, folder)
    return CtcModel(encoder, head), read_labels(base_folder(folder), raw.get("pad_token_id"), head.out_features)
