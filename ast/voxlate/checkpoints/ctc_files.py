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
_CHARACTERS = "characters"  # in the file's metadata, in the order of their labels, which begin at 1


def write_ctc(folder: Path, tensors: Mapping[str, Tensor], characters: Mapping[str, int]) -> None:
    """Write a head's tensors and characters next to a model, in a file that transformers ignores."""
    ordered = "".join(sorted(characters, key=characters.__getitem__))
    write_safetensors(folder / CTC_FILE, tensors, {_CHARACTERS: ordered})


def read_ctc(folder: Path) -> tuple[dict[str, Tensor], dict[str, int]] | None:
    """Return the tensors and the characters of the head next to a model, or None if there is none.

    VoxlateError if the file is damaged, or its labels do not match its characters.
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
        raise VoxlateError(f"{path}: its metadata has no list of distinct characters; expected a CTC head of Voxlate")
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


def copy_ctc_rows(head: CtcHead, characters: Mapping[str, int], folder: Path) -> None:
    """Copy the rows of the blank and of shared characters from the head of another model, if it has one."""
    stored = read_ctc(folder)
    if stored is None or stored[0]["projection.weight"].shape[1] != head.projection.in_features:
        return
    tensors, their_characters = stored
    shared = [character for character in characters if character in their_characters]
    ours = torch.tensor([0, *(characters[character] for character in shared)])
    theirs = torch.tensor([0, *(their_characters[character] for character in shared)])
    with torch.no_grad():
        head.projection.weight[ours] = tensors["projection.weight"][theirs]
        head.projection.bias[ours] = tensors["projection.bias"][theirs]
