"""The state of a run on disk: written beside, checksummed, renamed into place, and trusted only if it is whole.

A checkpoint holds what training changes: the parameters that learn, the optimiser's moments, and a JSON file with the
place in the data, the best score, and the SHA-256 of every file. Each process writes the rows of the moments that it
holds, and reads those that it will hold, so that the number of processes may change in between.
"""

import hashlib
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from voxlate.checkpoints.weights import write_safetensors
from voxlate.data.batch_sampler import SamplerState
from voxlate.errors import VoxlateError
from voxlate.files import file_sha256
from voxlate.training.distributed import is_sharded, like, local, local_rows, whole

CHECKPOINTS = "checkpoints"
WEIGHTS = "weights.safetensors"
STATE = "state.json"
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass
class Progress:
    """What a run must remember besides weights and moments."""

    update: int = 0
    place: SamplerState = field(default_factory=SamplerState)
    audio_seconds: float = 0.0
    best: tuple[float, float] | None = None  # mean BLEU, and minus the sum of the losses
    best_update: int | None = None
    worse_in_a_row: int = 0  # validations since the best
    finished: bool = False
    frozen: str = ""  # fingerprint of the weights that do not learn and are not saved
    unreadable: dict[str, str] = field(default_factory=dict)  # id and reason
    before: dict[str, dict[str, Any]] = field(default_factory=dict)  # scores of directions before the first update
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)  # and the latest ones
    window: dict[str, Any] = field(default_factory=dict)  # sums since the last line of the log
    scheduled: bool | None = None  # whether the settings asked for this checkpoint, not an interruption
    scheduled_before: int | None = None  # update of the scheduled checkpoint before this one


def save(
    run: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress, accelerator: Accelerator
) -> Path:
    """Write a checkpoint; every process must call it. It appears under its name only when it is complete."""
    folder = run / CHECKPOINTS / f"update-{progress.update:08}"
    part = folder.with_name(f".{folder.name}.part")
    if accelerator.is_main_process:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    accelerator.wait_for_everyone()
    try:
        _fill(part, model, optimizer, progress, accelerator)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)  # a full disk has better use for the room
        raise
    if accelerator.is_main_process:
        _sync(part)
        _remove(folder)
        part.rename(folder)
        _sync(folder.parent)
    accelerator.wait_for_everyone()
    return folder


def _fill(
    part: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress, accelerator: Accelerator
) -> None:
    weights = learned_weights(model)
    sums: dict[str, dict[str, Any]] = {}
    if accelerator.is_main_process:
        sums[WEIGHTS] = _write(part / WEIGHTS, weights, {"format": "pt"})
    if accelerator.is_main_process or is_sharded(model):
        shard_name = f"optimizer-{accelerator.process_index:05}.safetensors"
        sums[shard_name] = _write(part / shard_name, *_moments(model, optimizer))
    gathered: list[dict[str, Any]] = gather_object([sums])
    if accelerator.is_main_process:
        state: dict[str, Any] = {
            "progress": asdict(progress),
            "files": {name: one[name] for one in gathered for name in one},
        }
        state["sha256"] = _state_sha256(state)
        (part / STATE).write_text(json.dumps(state, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        _sync(part / STATE)


def prune(run: Path, *, keep_last: int, best: int | None, keep_around_best: int, every_updates: int) -> None:
    """Remove all checkpoints but the newest, the last scheduled ones, the best one, and scheduled ones around it.

    Those of interruptions are kept only until there is a newer one, so that the others are what they would be without.
    """
    everything = checkpoints(run)
    planned = [folder for row in scheduled(run, every_updates) for folder in row]
    kept = {*everything[-1:], *planned[-keep_last:]}
    if best is not None:
        kept |= {folder for folder in planned if update_of(folder) == best}
        kept |= {
            *sorted(planned, key=lambda folder: (abs(update_of(folder) - best), update_of(folder)))[:keep_around_best]
        }
    for folder in everything:
        if folder not in kept:
            _remove(folder)


def scheduled(run: Path, every_updates: int) -> list[list[Path]]:
    """Return the checkpoints that the settings asked for, oldest first, in rows without a gap.

    `every_updates` tells for checkpoints of older versions, that do not say it, which ones these are. What is damaged
    stands in a row of its own.
    """
    rows: list[list[Path]] = []
    for folder in checkpoints(run):
        try:
            progress = read_progress(folder)
        except VoxlateError:
            rows.append([folder])
            continue
        before = progress.scheduled_before
        if progress.scheduled is None:
            progress.scheduled = progress.finished or progress.update % every_updates == 0
            before = (progress.update - 1) // every_updates * every_updates
        if not progress.scheduled:
            continue
        if rows and update_of(rows[-1][-1]) == before:
            rows[-1].append(folder)
        else:
            rows.append([folder])
    return rows


def checkpoints(run: Path) -> list[Path]:
    """Return the checkpoint folders of a run, oldest first."""
    folders = (run / CHECKPOINTS).glob("update-*")
    return sorted((folder for folder in folders if re.fullmatch(r"update-\d{8,}", folder.name)), key=update_of)


def update_of(folder: Path) -> int:
    """Return the update after which a checkpoint was saved."""
    return int(folder.name.removeprefix("update-"))


def clean(run: Path) -> None:
    """Remove what a killed process left half written."""
    for folder in (run / CHECKPOINTS).glob(".update-*"):
        shutil.rmtree(folder, ignore_errors=True)


def find_newest(run: Path, accelerator: Accelerator) -> tuple[Path | None, list[str]]:
    """Return the newest whole checkpoint, and a line on each newer one that is not. VoxlateError if none is whole."""
    answer: list[Any] = [None, [], None]
    if accelerator.is_main_process:
        refused = []
        for folder in reversed(checkpoints(run)):
            problem = damage(folder)
            if problem is None:
                answer[0] = str(folder)
                break
            refused.append(problem)
        answer[1] = refused
        if refused and answer[0] is None:
            answer[2] = f"{'; '.join(refused)}; no checkpoint is whole: remove {run / CHECKPOINTS} to start again"
    broadcast_object_list(answer)
    if answer[2]:
        raise VoxlateError(answer[2])
    return (Path(answer[0]) if answer[0] else None), answer[1]


def damage(folder: Path) -> str | None:
    """Return what is wrong with a checkpoint in one line, or None if every file is as it was written."""
    try:
        read_progress(folder)
        found = (_file_damage(folder / name, expected) for name, expected in read_state(folder)["files"].items())
        return next(filter(None, found), None if (folder / WEIGHTS).is_file() else f"{folder / WEIGHTS}: missing")
    except VoxlateError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or folder}: cannot be read ({error.strerror})"
    except (KeyError, TypeError, AttributeError, ValueError):
        return f"{folder / STATE}: not the state of a checkpoint"


def _file_damage(path: Path, expected: dict[str, Any]) -> str | None:
    if not path.is_file():
        return f"{path}: missing"
    if path.stat().st_size != expected["bytes"]:
        return f"{path}: {path.stat().st_size} bytes, expected {expected['bytes']}: truncated or altered"
    if file_sha256(path) != expected["sha256"]:
        return f"{path}: its SHA-256 is not the one in {STATE}: altered"
    return None


def read_state(folder: Path) -> dict[str, Any]:
    """Return the JSON of a checkpoint. VoxlateError where it is damaged."""
    path = folder / STATE
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise VoxlateError(f"{path}: cannot be read ({type(error).__name__})") from None
    if not isinstance(state, dict):
        raise VoxlateError(f"{path}: not the state of a checkpoint")
    if state.get("sha256", _state_sha256(state)) != _state_sha256(state):  # older versions wrote none
        raise VoxlateError(f"{path}: its SHA-256 is not the one that it names: altered")
    return state


def read_progress(folder: Path) -> Progress:
    """Return what a checkpoint remembers. VoxlateError where that is damaged."""
    try:
        stored = read_state(folder)["progress"]
        best = stored["best"] and tuple(stored["best"])
        return Progress(**{**stored, "place": SamplerState(**stored["place"]), "best": best})
    except (KeyError, TypeError, AttributeError):
        raise VoxlateError(f"{folder / STATE}: not the state of a checkpoint") from None


def _state_sha256(state: dict[str, Any]) -> str:
    rest = {name: value for name, value in state.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _remove(folder: Path) -> None:
    """Remove a checkpoint, so that a kill on the way leaves nothing that looks like one."""
    if folder.exists():
        going = folder.with_name(f".{folder.name}.removed")
        shutil.rmtree(going, ignore_errors=True)
        folder.rename(going)
        shutil.rmtree(going)


def learned_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of the parameters that learn, whole; every process must ask for it."""
    return {
        name: whole(parameter.detach()).cpu() for name, parameter in model.named_parameters() if parameter.requires_grad
    }


def read_resumed(folder: Path) -> Progress:
    """Return the progress of a run that continues from a checkpoint."""
    progress = read_progress(folder)
    if progress.scheduled:
        progress.scheduled_before = progress.update
    return progress


def load_weights(folder: Path, model: nn.Module) -> None:
    """Put the weights of a checkpoint into a model that is not sharded yet. VoxlateError if it is another model."""
    tensors = load_file(folder / WEIGHTS)
    wanted = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    same = {name: tensor.shape for name, tensor in tensors.items()} == {name: p.shape for name, p in wanted.items()}
    if not same or read_progress(folder).frozen != fingerprint(model):
        raise VoxlateError(
            f"{folder}: belongs to another model; is what model.init_from, encoder or decoder names still the same? "
            "Use another output otherwise"
        )
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(tensors[name])


def fingerprint(model: nn.Module) -> str:
    """Return a hash of the first values of each parameter that does not learn."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            digest.update(f"{name} {tuple(parameter.shape)}".encode())
            digest.update(parameter.detach().flatten()[:64].cpu().numpy().tobytes())
    return digest.hexdigest()


def load_moments(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put a checkpoint's moments into the optimiser: of each parameter the rows that this process holds."""
    with torch.no_grad():
        stored: dict[str, list[tuple[int, int, Path]]] = {}
        for path in sorted(folder.glob("optimizer-*.safetensors")):
            with safe_open(path, framework="pt") as file:
                for name, (first, last) in json.loads((file.metadata() or {})["rows"]).items():
                    stored.setdefault(name, []).append((first, last, path))
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and name in stored:
                first, last = local_rows(parameter)
                state: dict[str, Tensor] = {"step": _step(stored[name][0][2], name)}
                for moment in _MOMENTS:
                    rows = _rows(stored[name], f"{name}.{moment}", first, last, local(parameter))
                    state[moment] = like(parameter, rows)
                optimizer.state[parameter] = state


def _moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, str]]:
    tensors: dict[str, Tensor] = {}
    rows: dict[str, tuple[int, int]] = {}
    for name, parameter in model.named_parameters():
        state = optimizer.state.get(parameter)
        if state:
            rows[name] = local_rows(parameter)
            tensors[f"{name}.step"] = torch.as_tensor(state["step"]).cpu()
            for moment in _MOMENTS:
                tensors[f"{name}.{moment}"] = local(state[moment]).cpu()
    return tensors, {"rows": json.dumps(rows)}


def _step(path: Path, name: str) -> Tensor:
    with safe_open(path, framework="pt") as file:
        step: Tensor = file.get_tensor(f"{name}.step")
    return step


def _rows(pieces: list[tuple[int, int, Path]], key: str, first: int, last: int, like_parameter: Tensor) -> Tensor:
    """Return rows first to last of a tensor that lies in pieces."""
    found = []
    for start, end, path in sorted(set(pieces), key=lambda piece: piece[0]):
        low, high = max(first, start), min(last, end)
        if low < high:
            with safe_open(path, framework="pt") as file:
                tensor = file.get_tensor(key)
            found.append(tensor[low - start : high - start] if tensor.ndim else tensor)
            first = high
    if not found:
        return torch.empty_like(like_parameter)
    joined = torch.cat(found) if found[0].ndim else found[0]
    return joined.to(like_parameter.device)


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> dict[str, Any]:
    write_safetensors(path, tensors, metadata)
    _sync(path)
    return {"bytes": path.stat().st_size, "sha256": file_sha256(path)}


def _sync(path: Path) -> None:
    """Make sure that a file or folder is on the disk, not only in memory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
