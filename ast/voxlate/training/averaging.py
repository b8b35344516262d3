"""The command ``voxlate average``: the mean of a run's checkpoints as one model (Vaswani et al. 2017).

Checkpoints that an interruption made never count, nor do those that are kept for another reason than being the last
ones: the result of a run is the same whether it was interrupted or not.
"""

import sys
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from voxlate.config.schema import TrainConfig
from voxlate.errors import VoxlateError
from voxlate.training import checkpoint as checkpoints
from voxlate.training.export import plain_weights, write_model
from voxlate.training.frozen import read_frozen
from voxlate.training.run_folder import read_run_config


def run(folder: Path, last: int | None, output: Path, around_best: bool = False) -> int:
    """Write the mean of the last scheduled checkpoints, or of those nearest to the best one; return 0.

    It needs nothing but the run folder. VoxlateError if there is nothing to average, or less than is asked for.
    """
    if not checkpoints.checkpoints(folder):
        raise VoxlateError(f"{folder}: no checkpoints; expected a run folder written by voxlate train")
    config = read_run_config(folder)
    chosen = _nearest_to_best(folder, config, last) if around_best else _last(folder, config, last)
    problems = [problem for problem in map(checkpoints.damage, chosen) if problem]
    if problems:
        raise VoxlateError("; ".join(problems))
    model, frozen, characters, fingerprint = read_frozen(folder)
    mean: dict[str, Tensor] = {}
    for checkpoint in chosen:
        if checkpoints.read_progress(checkpoint).frozen != fingerprint:
            raise VoxlateError(f"{checkpoint}: belongs to another model than the one in {model.folder}; remove it")
        learned = load_file(checkpoint / checkpoints.WEIGHTS)
        for name, tensor in plain_weights({**frozen, **learned}, config).items():
            part = tensor.detach() / len(chosen)
            mean[name] = mean[name] + part if name in mean else part
    write_model(output, mean, model, characters)
    names = ", ".join(checkpoint.name for checkpoint in chosen)
    print(f"{output}: mean of {len(chosen)} checkpoint{'s' * (len(chosen) > 1)} ({names})", file=sys.stderr)
    return 0


def _last(folder: Path, config: TrainConfig, last: int | None) -> list[Path]:
    rows = checkpoints.scheduled(folder, config.checkpoints.every_updates)
    kept = rows[-1] if rows else []
    if not kept:
        raise VoxlateError(f"{folder}: no checkpoints but those of interruptions; resume the run first")
    if last is not None and not 1 <= last <= len(kept):
        raise VoxlateError(
            f"--last is {last}, expected 1 to {len(kept)}, as many consecutive scheduled checkpoints as {folder} has "
            f"({', '.join(path.name for path in kept)}); train with a larger checkpoints.keep_last"
        )
    return kept[-(last or config.checkpoints.keep_last) :]


def _nearest_to_best(folder: Path, config: TrainConfig, number: int | None) -> list[Path]:
    best = checkpoints.read_progress(checkpoints.checkpoints(folder)[-1]).best_update
    if best is None:
        raise VoxlateError(f"{folder}: no best checkpoint: nothing was validated; leave --around-best out")

    def distance(path: Path) -> tuple[int, int]:
        update = checkpoints.update_of(path)
        return abs(update - best), update

    rows = checkpoints.scheduled(folder, config.checkpoints.every_updates)
    if not rows:
        raise VoxlateError(f"{folder}: no checkpoints but those of interruptions; resume the run first")
    kept = min(rows, key=lambda row: min(map(distance, row)))
    wanted = number or config.checkpoints.keep_around_best or config.checkpoints.keep_last
    if (number is not None and not 1 <= number <= len(kept)) or len(kept) < min(2, wanted):
        raise VoxlateError(
            f"--around-best: {folder} has {len(kept)} consecutive scheduled checkpoints near the best one, update "
            f"{best} ({', '.join(path.name for path in kept)}), expected {max(2, wanted)}; train with "
            f"checkpoints.keep_around_best={max(2, wanted)}, or leave --around-best out"
        )
    return sorted(sorted(kept, key=distance)[:wanted])
