"""The command ``voxlate average``: average the checkpoints of a run into one model (Vaswani et al. 2017).

Only consecutive scheduled checkpoints are averaged, not those written by interruptions, so that the result does not
depend on whether the run was interrupted.
"""

import sys
from pathlib import Path

from torch import Tensor

from voxlate.config.schema import TrainConfig
from voxlate.errors import VoxlateError
from voxlate.training.checkpoint import find_damage, read_trained_weights
from voxlate.training.export import merged_weights, write_model
from voxlate.training.frozen_weights import read_frozen_weights
from voxlate.training.retention import (
    checkpoint_update,
    list_checkpoints,
    nearest_checkpoints,
    scheduled_checkpoints,
)
from voxlate.training.run_folder import read_run_config
from voxlate.training.training_state import read_training_state


def run(folder: Path, last: int | None, output: Path, around_best: bool = False) -> int:
    """Average the last scheduled checkpoints of a run folder, or those nearest to the best; write a model; return 0.

    VoxlateError if there are no checkpoints, or fewer than requested.
    """
    if not list_checkpoints(folder):
        raise VoxlateError(f"{folder}: no checkpoints; expected a run folder written by voxlate train")
    config = read_run_config(folder)
    sequences = scheduled_checkpoints(folder, config.checkpoints.every_updates)
    if around_best:
        chosen = _select_nearest_to_best(folder, sequences, config, last)
    else:
        chosen = _select_last(folder, sequences, config, last)
    damaged = [damage for damage in map(find_damage, chosen) if damage]
    if damaged:
        raise VoxlateError("; ".join(damaged))
    frozen = read_frozen_weights(folder)
    mean: dict[str, Tensor] = {}
    for checkpoint in chosen:
        if read_training_state(checkpoint).frozen_fingerprint != frozen.fingerprint:
            raise VoxlateError(f"{checkpoint}: belongs to a model other than {frozen.checkpoint.folder}; remove it")
        trained = read_trained_weights(checkpoint)
        for name, tensor in merged_weights({**frozen.tensors, **trained}, config).items():
            scaled = tensor.detach() / len(chosen)
            mean[name] = mean[name] + scaled if name in mean else scaled
    write_model(output, mean, frozen.checkpoint, frozen.characters)
    names = ", ".join(checkpoint.name for checkpoint in chosen)
    print(f"{output}: mean of {len(chosen)} checkpoint{'s' * (len(chosen) > 1)} ({names})", file=sys.stderr)
    return 0


def _select_last(folder: Path, sequences: list[list[Path]], config: TrainConfig, last: int | None) -> list[Path]:
    """Return the last scheduled checkpoints: `last` of them, or checkpoints.keep_last.

    VoxlateError if there are fewer.
    """
    sequence = sequences[-1] if sequences else []
    if not sequence:
        raise VoxlateError(f"{folder}: no checkpoints except those of interruptions; resume the run first")
    if last is not None and not 1 <= last <= len(sequence):
        raise VoxlateError(
            f"--last is {last}, expected 1 to {len(sequence)}, the number of consecutive scheduled checkpoints of "
            f"{folder} ({', '.join(path.name for path in sequence)}); train with a larger checkpoints.keep_last"
        )
    return sequence[-(last or config.checkpoints.keep_last) :]


def _select_nearest_to_best(
    folder: Path, sequences: list[list[Path]], config: TrainConfig, number: int | None
) -> list[Path]:
    """Return consecutive scheduled checkpoints around the best: `number` of them, or checkpoints.keep_around_best.

    VoxlateError if nothing was validated, or if there are fewer.
    """
    best = read_training_state(list_checkpoints(folder)[-1]).best_update
    if best is None:
        raise VoxlateError(f"{folder}: no best checkpoint, because nothing was validated; omit --around-best")
    if not sequences:
        raise VoxlateError(f"{folder}: no checkpoints except those of interruptions; resume the run first")
    nearest = nearest_checkpoints([path for sequence in sequences for path in sequence], best)[0]
    sequence = next(candidate for candidate in sequences if nearest in candidate)
    expected = number or config.checkpoints.keep_around_best or config.checkpoints.keep_last
    if (number is not None and not 1 <= number <= len(sequence)) or len(sequence) < min(2, expected):
        raise VoxlateError(
            f"--around-best: {folder} has {len(sequence)} consecutive scheduled checkpoints near the best, update "
            f"{best} ({', '.join(path.name for path in sequence)}), expected {max(2, expected)}; train with "
            f"checkpoints.keep_around_best={max(2, expected)}, or omit --around-best"
        )
    return sorted(nearest_checkpoints(sequence, best)[:expected], key=checkpoint_update)
