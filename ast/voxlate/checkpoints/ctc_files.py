"""The file of a CTC head next to a model: its tensors and the characters of its labels."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from voxlate.checkpoints.weights import read_tensors, write_safetensors
from voxlate.errors import VoxlateError
from voxlate.json_files import entry_exists, shown
from voxlate.models.ctc_head import CtcHead

CTC_FILE = "ctc.safetensors"
_CHARACTERS = "characters"  # in the file's metadata, in the order of their labels, from 1


def write_ctc(folder: Path, tensors: Mapping[str, Tensor], characters: Mapping[str, int]) -> None:
    """Write the head's tensors with their characters beside a model. transformers does not look at this file."""
    ordered = "".join(sorted(characters, key=characters.__getitem__))
    write_safetensors(folder / CTC_FILE, tensors, {_CHARACTERS: ordered})


def read_ctc(folder: Path) -> tuple[dict[str, Tensor], dict[str, int]] | None:
    """Return the tensors and characters of the head beside a model, or None where it has none.

    VoxlateError where the file is damaged, or has other labels than the characters that it lists.
    """
    path = folder / CTC_FILE
    if not entry_exists(path):
        return None
    tensors = read_tensors(path)
    try:
        with safe_open(path, framework="pt") as file:
            characters = (file.metadata() or {}).get(_CHARACTERS)
    except (SafetensorError, OSError) as error:
        raise VoxlateError(f"{path}: cannot be read ({shown(error)}); fetch it again") from None
    if characters is None or len({*characters}) < len(characters):
        raise VoxlateError(f"{path}: lists no characters, each once, in its metadata; expected a CTC head of Voxlate")
    weight, bias = tensors.get("projection.weight"), tensors.get("projection.bias")
    labels = len(characters) + 1
    if tensors.keys() != {"projection.weight", "projection.bias"} or weight is None or bias is None:
        raise VoxlateError(
            f"{path}: holds {shown(sorted(tensors)[:3])}; expected projection.weight and projection.bias"
        )
    if weight.dim() != 2 or len(weight) != labels or bias.shape != (labels,):
        raise VoxlateError(
            f"{path}: {len(characters)} characters and the blank are {labels} labels, but the weight is "
            f"{tuple(weight.shape)} and the bias {tuple(bias.shape)}"
        )
    return tensors, {character: label for label, character in enumerate(characters, start=1)}


def adopt_ctc(head: CtcHead, characters: Mapping[str, int], folder: Path) -> None:
    """Take over what the head of another model knows of the blank and of the characters that both have."""
    stored = read_ctc(folder)
    if stored is None or stored[0]["projection.weight"].shape[1] != head.projection.in_features:
        return
    tensors, known = stored
    shared = [character for character in characters if character in known]
    ours = torch.tensor([0, *(characters[character] for character in shared)])
    theirs = torch.tensor([0, *(known[character] for character in shared)])
    with torch.no_grad():
        head.projection.weight[ours] = tensors["projection.weight"][theirs]
        head.projection.bias[ours] = tensors["projection.bias"][theirs]
