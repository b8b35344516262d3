"""What a run never changes, kept in its folder: a checkpoint and it make a model, without data or base model."""

import json
from collections.abc import Mapping
from pathlib import Path

from accelerate import Accelerator
from safetensors import SafetensorError, safe_open
from torch import Tensor

from voxlate.checkpoints.model_folder import Checkpoint, read_description, write_description
from voxlate.checkpoints.weights import write_safetensors
from voxlate.errors import VoxlateError
from voxlate.files import file_sha256, write_text
from voxlate.json_files import entry_exists, read_json
from voxlate.training.distributed import is_sharded, whole
from voxlate.training.objective import Objective

FROZEN = "frozen"
_TENSORS = "frozen.safetensors"
_ABOUT = "about"
_SUMS = "sha256.json"  # of the other files, by name; older versions wrote none


def keep_frozen(
    run: Path,
    objective: Objective,
    checkpoint: Checkpoint,
    characters: Mapping[str, int],
    fingerprint: str,
    accelerator: Accelerator,
    *,
    check: bool = False,
) -> None:
    """Write the tensors that do not learn, and the model's description, unless they are there; all processes call it.

    `fingerprint` is that of the weights that do not learn, as in `Progress`. With `check` the files are also read, and
    written again where one of them is not as it was written.
    """
    folder = run / FROZEN
    ordered = "".join(sorted(characters, key=characters.__getitem__))
    about = json.dumps({"characters": ordered, "fingerprint": fingerprint}, sort_keys=True)
    writes = accelerator.is_main_process and (_about(folder) != about or (check and _damage(folder) is not None))
    if writes or is_sharded(objective):  # processes gather together what they hold in parts
        learned = {name for name, parameter in objective.named_parameters() if parameter.requires_grad}
        states = objective.state_dict().items()
        tensors = {name: whole(tensor.detach()).cpu() for name, tensor in states if name not in learned}
        if writes:
            write_description(folder, checkpoint.model, checkpoint.tokenizer, checkpoint.targets, checkpoint.directions)
            write_safetensors(folder / _TENSORS, tensors, {_ABOUT: about})
            files = (path for path in sorted(folder.iterdir()) if path.is_file() and path.name[0] != ".")
            sums = {path.name: file_sha256(path) for path in files if path.name != _SUMS}
            write_text(folder / _SUMS, json.dumps(sums, indent=2) + "\n")


def read_frozen(run: Path) -> tuple[Checkpoint, dict[str, Tensor], dict[str, int], str]:
    """Return the model without weights, the tensors that do not learn, CTC's characters, and their fingerprint.

    VoxlateError where a file is missing, or is not as it was written.
    """
    folder = run / FROZEN
    about = _about(folder)
    damage = f"{folder / _TENSORS}: missing or damaged" if about is None else _damage(folder)
    if about is None or damage is not None:
        raise VoxlateError(f"{damage}; run the voxlate train command of this run once more, which writes it again")
    with safe_open(folder / _TENSORS, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    known = json.loads(about)
    characters = {character: label for label, character in enumerate(known["characters"], start=1)}
    return read_description(folder), tensors, characters, known["fingerprint"]


def _about(folder: Path) -> str | None:
    """Return what the file of tensors says of itself, None where it is not whole."""
    try:
        with safe_open(folder / _TENSORS, framework="pt") as file:
            return (file.metadata() or {}).get(_ABOUT)
    except (OSError, SafetensorError):
        return None


def _damage(folder: Path) -> str | None:
    """Return what is wrong with the files in one line, None where they are as written or of an older version."""
    if not entry_exists(folder / _SUMS):
        return None
    try:
        sums = read_json(folder / _SUMS, "")
    except VoxlateError as error:
        return str(error)
    for name, expected in sums.items():
        path = folder / name
        if not path.is_file():
            return f"{path}: missing"
        try:
            if file_sha256(path) != expected:
                return f"{path}: its SHA-256 is not the one in {_SUMS}: altered"
        except OSError as error:
            return f"{path}: cannot be read ({error.strerror})"
    return None
