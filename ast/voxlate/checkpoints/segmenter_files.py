"""The file of a sentence boundary head next to a model: its tensors, and how it was trained."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from voxlate.checkpoints.weights import read_tensors, write_safetensors
from voxlate.errors import VoxlateError
from voxlate.json_files import entry_exists, shown
from voxlate.models.encoder import SpeechEncoder
from voxlate.models.sentence_boundaries import BoundaryHead, SentenceBoundaries
from voxlate.models.speech_translator import SpeechTranslator

SEGMENTER_FILE = "segmenter.safetensors"
_ABOUT = "about"  # in the file's metadata: JSON with layers, threshold and what else the training recorded
_EXPECTED = "expected a file written by voxlate train-segmenter"


def save_segmenter(folder: Path, boundaries: SentenceBoundaries, about: Mapping[str, Any]) -> None:
    """Write a head next to its model, in a file that transformers ignores; `about` describes its training."""
    described = {"layers": boundaries.layers, "threshold": boundaries.threshold, **about}
    tensors = boundaries.head.state_dict()
    write_safetensors(folder / SEGMENTER_FILE, tensors, {_ABOUT: json.dumps(described, ensure_ascii=False)})


def load_segmenter(folder: Path, model: SpeechTranslator | SpeechEncoder) -> SentenceBoundaries | None:
    """Return the boundary head in a model's folder, for that model, or None if the folder has none.

    VoxlateError if the file is damaged, or belongs to another encoder.
    """
    path = folder / SEGMENTER_FILE
    if not entry_exists(path):
        return None
    encoder = model.encoder if isinstance(model, SpeechTranslator) else model
    about = read_about(path)
    layers, threshold = about.get("layers"), about.get("threshold")
    if not isinstance(layers, int) or isinstance(layers, bool) or layers < 0:
        raise VoxlateError(f"{path}: layers is {shown(layers)}; {_EXPECTED}")
    if not isinstance(threshold, float) or not 0 < threshold < 1:
        raise VoxlateError(f"{path}: threshold is {shown(threshold)}; {_EXPECTED}")
    available = len(encoder.model.encoder.layers)
    if layers > available:
        raise VoxlateError(
            f"{path}: uses {layers} layers of an encoder, but that of {folder} has {available}; it belongs to another "
            "model: rerun voxlate train-segmenter, or remove it"
        )
    tensors = read_tensors(path)
    norm, projection = tensors.get("norm.weight"), tensors.get("projection.bias")
    if norm is None or projection is None or norm.dim() != 1 or projection.dim() != 1:
        raise VoxlateError(f"{path}: holds {shown(sorted(tensors)[:3])}; {_EXPECTED}")
    if len(norm) != encoder.output_dim:
        raise VoxlateError(
            f"{path}: takes states of width {len(norm)}, but the encoder of {folder} has {encoder.output_dim}; it "
            "belongs to another model: rerun voxlate train-segmenter, or remove it"
        )
    head = BoundaryHead(len(norm), len(projection))
    expected = {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    differing = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if differing:
        raise VoxlateError(
            f"{path}: {shown(differing[0])} is {found.get(differing[0], 'missing')}, expected "
            f"{expected.get(differing[0], 'no such tensor')}; {_EXPECTED}"
        )
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise VoxlateError(f"{path}: holds values that are not finite; {_EXPECTED}")
    head.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    device = next(encoder.model.parameters()).device
    return SentenceBoundaries(encoder, head.to(device), layers, threshold)


def read_about(path: Path) -> dict[str, Any]:
    """Return what the file says about a head and its training. VoxlateError if it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(_ABOUT, "null"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise VoxlateError(f"{path}: cannot be read ({shown(error)}); fetch it again") from None
    if not isinstance(about, dict):
        raise VoxlateError(f"{path}: its metadata does not describe a sentence boundary head; {_EXPECTED}")
    return about
