"""Read and write language identifiers as folders of transformers' `…ForSequenceClassification` classes."""

import json
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from voxlate.checkpoints.config_json import architectures
from voxlate.checkpoints.conversion import linear
from voxlate.checkpoints.encoders import read_encoder_and_heads
from voxlate.checkpoints.hub import find_model
from voxlate.checkpoints.lora import base_folder
from voxlate.checkpoints.weights import write_safetensors
from voxlate.errors import VoxlateError
from voxlate.files import write_text
from voxlate.json_files import read_json, shown
from voxlate.languages import find_language
from voxlate.models.language_identifier import LanguageIdentifier

_CLASSES = {
    "wav2vec2": "Wav2Vec2ForSequenceClassification",
    "hubert": "HubertForSequenceClassification",
    "wavlm": "WavLMForSequenceClassification",
    "wav2vec2-bert": "Wav2Vec2BertForSequenceClassification",
}


def load_identifier(model: str | Path, *, device: torch.device | str, dtype: torch.dtype) -> LanguageIdentifier:
    """Load an identifier from a folder or Hub id, in evaluation mode. VoxlateError for other kinds of models."""
    folder = find_model(model)
    raw = read_json(base_folder(folder) / "config.json", "expected the folder of a language identifier")
    path = base_folder(folder) / "config.json"
    kinds = architectures(raw, path)
    if not any(kind in _CLASSES.values() for kind in kinds):
        raise VoxlateError(
            f"{model}: {', '.join(kinds) or shown(raw.get('model_type'))} does not identify languages; expected a "
            f"folder written by `voxlate train-identifier`, or one of {', '.join(_CLASSES.values())}"
        )
    if raw.get("use_weighted_layer_sum"):
        raise VoxlateError(
            f"{model}: classifies a weighted sum of layers; only classifiers of the last layer are supported"
        )
    encoder, tensors = read_encoder_and_heads(folder, ["projector", "classifier"], dtype)
    projector = linear(tensors, "projector", encoder.output_dim, dtype, folder)
    classifier = linear(tensors, "classifier", projector.out_features, dtype, folder)
    labels = _labels(raw.get("id2label"), classifier.out_features, path)
    languages = [_code(label) for label in labels]
    if not any(languages):
        raise VoxlateError(f"{path}: no language among the labels {shown(labels[:5])}")
    return LanguageIdentifier(encoder, projector, classifier, languages).to(device).eval()


def save_identifier(folder: Path, model: LanguageIdentifier) -> None:
    """Write a folder that `load_identifier` and transformers can read."""
    encoder: Any = model.encoder
    labels = {index: str(language) for index, language in enumerate(model.languages)}
    config = encoder.config.to_dict() | {
        "architectures": [_CLASSES[encoder.config.model_type]],
        "classifier_proj_size": model.projector.out_features,
        "id2label": labels,
        "label2id": {label: index for index, label in labels.items()},
        "use_weighted_layer_sum": False,
    }
    prefix = encoder.model.base_model_prefix
    tensors = {f"{prefix}.{name}": tensor for name, tensor in encoder.model.state_dict().items()}
    for name in ("projector", "classifier"):
        tensors |= {
            f"{name}.{part}": tensor for part, tensor in cast("nn.Linear", getattr(model, name)).state_dict().items()
        }
    write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
    extractor = {"do_normalize": encoder.normalize_waveform, **encoder.PREPROCESSOR}
    write_text(folder / "preprocessor_config.json", json.dumps(extractor, indent=2) + "\n")
    write_safetensors(folder / "model.safetensors", tensors, {"format": "pt"})


def _labels(stored: object, count: int, path: Path) -> list[str]:
    """Return the label of each row of the classifier, "" for rows without one."""
    labels = [""] * count
    if not isinstance(stored, dict) or not all(isinstance(label, str) for label in stored.values()):
        raise VoxlateError(f'{path}: id2label is {shown(stored)}; expected an object such as {{"0": "de", "1": "fr"}}')
    for index, label in stored.items():
        if not index.isdecimal() or len(index) > 9 or int(index) >= count:
            raise VoxlateError(f"{path}: id2label has the id {shown(index)}; expected ids below {count}")
        labels[int(index)] = label
    return labels


def _code(label: str) -> str | None:
    try:
        return find_language(label).code
    except VoxlateError:
        return None
