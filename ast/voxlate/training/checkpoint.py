"""Checkpoints of a run: written to a temporary folder, checksummed, renamed, and loaded only if intact.

A checkpoint holds what training changes: the trained parameters, AdamW's moments, and the training state. Each process
writes the rows of the moments that it holds and reads those that it will hold, so that a run may be resumed with a
different number of processes.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from voxlate.checkpoints.weights import write_safetensors
from voxlate.errors import VoxlateError
from voxlate.files import file_sha256, flush
from voxlate.training.distributed import full_tensor, is_sharded, local_part, local_rows, shard_like
from voxlate.training.retention import CHECKPOINTS, list_checkpoints, remove_checkpoint
from voxlate.training.training_state import (
    STATE_FILE,
    TrainingState,
    read_checksums,
    read_training_state,
    write_training_state,
)

WEIGHTS_FILE = "weights.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq")


def write_checkpoint(
    run: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState, accelerator: Accelerator
) -> Path:
    """Write a checkpoint and return its folder, which appears only once it is complete; every process must call it."""
    folder = run / CHECKPOINTS / f"update-{state.update:08}"
    partial = folder.with_name(f".{folder.name}.part")
    if accelerator.is_main_process:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    accelerator.wait_for_everyone()
    try:
        _write_files(partial, model, optimizer, state, accelerator)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)  # the disk may be full
        raise
    if accelerator.is_main_process:
        flush(partial)
        remove_checkpoint(folder)
        partial.rename(folder)
        flush(folder.parent)
    accelerator.wait_for_everyone()
    return folder


def _write_files(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState, accelerator: Accelerator
) -> None:
    weights = trainable_weights(model)
    checksums: dict[str, dict[str, Any]] = {}
    if accelerator.is_main_process:
        checksums[WEIGHTS_FILE] = _write(folder / WEIGHTS_FILE, weights, {"format": "pt"})
    if accelerator.is_main_process or is_sharded(model):
        name = f"optimizer-{accelerator.process_index:05}.safetensors"
        checksums[name] = _write(folder / name, *_local_moments(model, optimizer))
    gathered: list[dict[str, Any]] = gather_object([checksums])
    if accelerator.is_main_process:
        flush(write_training_state(folder, state, {name: part[name] for part in gathered for name in part}))


def find_newest_intact(run: Path, accelerator: Accelerator) -> tuple[Path | None, list[str]]:
    """Return the newest intact checkpoint, and a line on the damage of each newer one; every process must call this.

    None if there are no checkpoints. VoxlateError if all of them are damaged.
    """
    result: list[Any] = [None, [], None]  # checkpoint, damage of newer ones, error
    if accelerator.is_main_process:
        damaged = []
        for folder in reversed(list_checkpoints(run)):
            damage = find_damage(folder)
            if damage is None:
                result[0] = str(folder)
                break
            damaged.append(damage)
        result[1] = damaged
        if damaged and result[0] is None:
            result[2] = f"{'; '.join(damaged)}; no checkpoint is intact: remove {run / CHECKPOINTS} to start over"
    broadcast_object_list(result)
    if result[2]:
        raise VoxlateError(result[2])
    return (Path(result[0]) if result[0] else None), result[1]


def find_damage(folder: Path) -> str | None:
    """Return a line on the damage of a checkpoint, or None if all of its files match their checksums."""
    try:
        read_training_state(folder)
        for name, expected in read_checksums(folder).items():
            damage = _file_damage(folder / name, expected)
            if damage is not None:
                return damage
    except VoxlateError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or folder}: cannot be read ({error.strerror})"
    except (KeyError, TypeError, AttributeError, ValueError):
        return f"{folder / STATE_FILE}: not the state of a checkpoint"
    return None if (folder / WEIGHTS_FILE).is_file() else f"{folder / WEIGHTS_FILE}: missing"


def _file_damage(path: Path, expected: dict[str, Any]) -> str | None:
    """Return a line on the damage of a file, or None if it has the expected size and SHA-256."""
    if not path.is_file():
        return f"{path}: missing"
    if path.stat().st_size != expected["bytes"]:
        return f"{path}: {path.stat().st_size} bytes, expected {expected['bytes']}: truncated or altered"
    if file_sha256(path) != expected["sha256"]:
        return f"{path}: does not match its SHA-256 in {STATE_FILE}; it was altered"
    return None


def trainable_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return CPU copies of the trained parameters, unsharded; every process must call it."""
    return {
        name: full_tensor(parameter.detach()).cpu()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def load_state(folder: Path) -> TrainingState:
    """Return the training state with which a run resumes from a checkpoint."""
    state = read_training_state(folder)
    if state.scheduled:
        state.previous_scheduled = state.update
    return state


def current_name(name: str) -> str:
    """Return a parameter's current name. The first version called the projection to the decoder `bridge`."""
    return name.replace("bridge.", "enc_to_dec_proj.")


def read_trained_weights(folder: Path) -> dict[str, Tensor]:
    """Return the trained parameters in a checkpoint, by their current names."""
    return {current_name(name): tensor for name, tensor in load_file(folder / WEIGHTS_FILE).items()}


def load_weights(folder: Path, model: nn.Module) -> None:
    """Load a checkpoint's weights into a model that is not sharded yet. VoxlateError if they do not fit."""
    tensors = read_trained_weights(folder)
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    same = {name: tensor.shape for name, tensor in tensors.items()} == {name: p.shape for name, p in trained.items()}
    if not same or read_training_state(folder).frozen_fingerprint != frozen_fingerprint(model):
        raise VoxlateError(
            f"{folder}: belongs to another model; has the model changed that model.init_from, encoder or decoder "
            "names? Restore it, or use another output_dir"
        )
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(tensors[name])


def frozen_fingerprint(model: nn.Module) -> str:
    """Return a hash of the first values of each parameter that is not trained."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            stored_name = name.replace("enc_to_dec_proj.", "bridge.")  # keeps the hashes of the first version
            digest.update(f"{stored_name} {tuple(parameter.shape)}".encode())
            digest.update(parameter.detach().flatten()[:64].cpu().numpy().tobytes())
    return digest.hexdigest()


def load_optimizer_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Load AdamW's moments into the optimizer: the rows of each parameter that this process holds."""
    parts: dict[str, list[tuple[int, int, Path]]] = {}  # first row, end row and file of each part of a parameter
    stored_names: dict[str, str] = {}
    for path in sorted(folder.glob("optimizer-*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name, (first, end) in json.loads((file.metadata() or {})["rows"]).items():
                parts.setdefault(current_name(name), []).append((first, end, path))
                stored_names[current_name(name)] = name
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and name in parts:
                first, end = local_rows(parameter)
                key = stored_names[name]
                step = _read_tensor(parts[name][0][2], f"{key}.step")
                state: dict[str, Tensor] = {"step": step.to(parameter.device)}  # where the fused optimizer counts
                for moment in _MOMENTS:
                    rows = _read_rows(parts[name], f"{key}.{moment}", first, end, local_part(parameter))
                    state[moment] = shard_like(parameter, rows)
                optimizer.state[parameter] = state


def _local_moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the optimizer state that this process holds, and metadata with the rows of each parameter."""
    tensors: dict[str, Tensor] = {}
    rows: dict[str, tuple[int, int]] = {}
    for name, parameter in model.named_parameters():
        state = optimizer.state.get(parameter)
        if state:
            rows[name] = local_rows(parameter)
            tensors[f"{name}.step"] = torch.as_tensor(state["step"]).cpu()
            for moment in _MOMENTS:
                tensors[f"{name}.{moment}"] = local_part(state[moment]).cpu()
    return tensors, {"rows": json.dumps(rows)}


def _read_tensor(path: Path, key: str) -> Tensor:
    with safe_open(path, framework="pt") as file:
        tensor: Tensor = file.get_tensor(key)
    return tensor


def _read_rows(parts: list[tuple[int, int, Path]], key: str, first: int, end: int, parameter: Tensor) -> Tensor:
    """Return rows `first` to `end` of a tensor that is stored in parts, on the device of `parameter`."""
    rows = []
    for part_first, part_end, path in sorted(set(parts), key=lambda part: part[0]):
        low, high = max(first, part_first), min(end, part_end)
        if low < high:
            tensor = _read_tensor(path, key)
            rows.append(tensor[low - part_first : high - part_first] if tensor.ndim else tensor)
            first = high
    if not rows:
        return torch.empty_like(parameter)
    joined = torch.cat(rows) if rows[0].ndim else rows[0]
    return joined.to(parameter.device)


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> dict[str, Any]:
    """Write a safetensors file; return its size and SHA-256."""
    write_safetensors(path, tensors, metadata)
    return {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
