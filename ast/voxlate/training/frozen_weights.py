"""Store the frozen weights in the run folder, so that its checkpoints can be used without the base model."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from safetensors import SafetensorError, safe_open
from torch import Tensor

from voxlate.checkpoints.model_folder import Checkpoint, read_description, write_description
from voxlate.checkpoints.weights import write_safetensors
from voxlate.errors import VoxlateError
from voxlate.files import file_sha256, write_text
from voxlate.json_files import entry_exists, read_json
from voxlate.training.checkpoint import current_name
from voxlate.training.distributed import full_tensor, is_sharded
from voxlate.training.objective import Objective

FROZEN = "frozen"
_TENSORS_FILE = "frozen.safetensors"
_METADATA_KEY = "about"  # of the metadata in the file of tensors
_CHECKSUMS_FILE = "sha256.json"  # of the other files, by name; older versions wrote none


@dataclass(frozen=True)
class FrozenWeights:
    """The weights and metadata stored by `write_frozen_weights`."""

    checkpoint: Checkpoint  # a model without weights
    tensors: dict[str, Tensor]  # of the objective
    characters: dict[str, int]  # CTC label of each character
    fingerprint: str  # see `frozen_fingerprint`


def write_frozen_weights(
    run: Path,
    objective: Objective,
    checkpoint: Checkpoint,
    characters: Mapping[str, int],
    fingerprint: str,
    accelerator: Accelerator,
    *,
    verify: bool = False,
) -> None:
    """Write the frozen tensors and the model's description; every process must call this.

    Existing files are kept, with `verify` only if they match their checksums.
    """
    folder = run / FROZEN
    ordered = "".join(sorted(characters, key=characters.__getitem__))
    metadata = json.dumps({"characters": ordered, "fingerprint": fingerprint}, sort_keys=True)
    must_write = accelerator.is_main_process and (
        _read_metadata(folder) != metadata or (verify and _find_damage(folder) is not None)
    )
    if not must_write and not is_sharded(objective):
        return
    trained = {name for name, parameter in objective.named_parameters() if parameter.requires_grad}
    states = objective.state_dict().items()
    tensors = {name: full_tensor(tensor.detach()).cpu() for name, tensor in states if name not in trained}  # collective
    if must_write:
        write_description(
            folder,
            checkpoint.model,
            checkpoint.tokenizer,
            checkpoint.targets,
            checkpoint.directions,
            checkpoint.statistics,
        )
        write_safetensors(folder / _TENSORS_FILE, tensors, {_METADATA_KEY: metadata})
        files = (path for path in sorted(folder.iterdir()) if path.is_file() and path.name[0] != ".")
        checksums = {path.name: file_sha256(path) for path in files if path.name != _CHECKSUMS_FILE}
        write_text(folder / _CHECKSUMS_FILE, json.dumps(checksums, indent=2) + "\n")


def read_frozen_weights(run: Path) -> FrozenWeights:
    """Read the frozen weights of a run. VoxlateError if a file is missing or damaged."""
    folder = run / FROZEN
    metadata = _read_metadata(folder)
    damage = f"{folder / _TENSORS_FILE}: missing or damaged" if metadata is None else _find_damage(folder)
    if metadata is None or damage is not None:
        raise VoxlateError(f"{damage}; rerun the voxlate train command of this run to restore it")
    with safe_open(folder / _TENSORS_FILE, framework="pt") as file:
        tensors = {current_name(name): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    stored = json.loads(metadata)
    characters = {character: label for label, character in enumerate(stored["characters"], start=1)}
    return FrozenWeights(read_description(folder), tensors, characters, stored["fingerprint"])


def _read_metadata(folder: Path) -> str | None:
    """Return the metadata of the tensors' file, or None if it is missing or damaged."""
    try:
        with safe_open(folder / _TENSORS_FILE, framework="pt") as file:
            return (file.metadata() or {}).get(_METADATA_KEY)
    except (OSError, SafetensorError):
        return None


def _find_damage(folder: Path) -> str | None:
    """Return a line on the damage of the files, or None if they match their checksums or have none."""
    if not entry_exists(folder / _CHECKSUMS_FILE):
        return None
    try:
        checksums = read_json(folder / _CHECKSUMS_FILE, "")
    except VoxlateError as error:
        return str(error)
    for name, expected in checksums.items():
        path = folder / name
        if not path.is_file():
            return f"{path}: missing"
        try:
            if file_sha256(path) != expected:
                return f"{path}: does not match its SHA-256 in {_CHECKSUMS_FILE}; it was altered"
        except OSError as error:
            return f"{path}: cannot be read ({error.strerror})"
    return None
