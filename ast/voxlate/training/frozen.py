"""What a run never changes, kept in its folder: a checkpoint and it make a model, without data or base model."""

import json
from collections.abc import Mapping
from pathlib import Path

from accelerate import Accelerator
from safetensors import SafetensorError, safe_open
from torch import Tensor

from voxlate.errors import VoxlateError
from voxlate.models.interop import Checkpoint, read_description, write_description
from voxlate.models.weights import write_safetensors
from voxlate.training.distributed import is_sharded, whole
from voxlate.training.objective import Objective

FROZEN = "frozen"
_TENSORS = "frozen.safetensors"
_ABOUT = "about"


def keep_frozen(
    run: Path,
    objective: Objective,
    checkpoint: Checkpoint,
    characters: Mapping[str, int],
    fingerprint: str,
    accelerator: Accelerator,
) -> None:
    """Write the tensors that do not learn, and the model's description, unless they are there; all processes call it.

    `fingerprint` is that of the weights that do not learn, as in `Progress`.
    """
    folder = run / FROZEN
    ordered = "".join(sorted(characters, key=characters.__getitem__))
    about = json.dumps({"characters": ordered, "fingerprint": fingerprint}, sort_keys=True)
    writes = accelerator.is_main_process and _about(folder) != about
    if writes or is_sharded(objective):  # processes gather together what they hold in parts
        learned = {name for name, parameter in objective.named_parameters() if parameter.requires_grad}
        states = objective.state_dict().items()
        tensors = {name: whole(tensor.detach()).cpu() for name, tensor in states if name not in learned}
        if writes:
            write_description(folder, checkpoint.model, checkpoint.tokenizer, checkpoint.targets, checkpoint.directions)
            write_safetensors(folder / _TENSORS, tensors, {_ABOUT: about})


def read_frozen(run: Path) -> tuple[Checkpoint, dict[str, Tensor], dict[str, int], str]:
    """Return the model without weights, the tensors that do not learn, CTC's characters, and their fingerprint."""
    folder = run / FROZEN
    about = _about(folder)
    if about is None:
        raise VoxlateError(
            f"{folder / _TENSORS}: missing or damaged; run the voxlate train command of this run once more, which "
            "writes it again"
        )
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
