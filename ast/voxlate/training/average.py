"""The command ``voxlate average``: the mean of a run's last checkpoints as one model (Vaswani et al. 2017)."""

import sys
from pathlib import Path

from torch import Tensor

from voxlate.config import read_config
from voxlate.errors import VoxlateError
from voxlate.training import checkpoint as checkpoints
from voxlate.training.export import plain_weights, write_model
from voxlate.training.freezing import choose_trainable
from voxlate.training.run_folder import CONFIG
from voxlate.training.setup import build_model, build_objective, read_data


def run(folder: Path, last: int | None, output: Path) -> int:
    """Write the average; VoxlateError if there is nothing to average, or fewer checkpoints than asked for."""
    found = checkpoints.checkpoints(folder)
    if last is not None and not 1 <= last <= len(found):
        raise VoxlateError(f"--last is {last}, expected 1 to {len(found)}, the checkpoints that {folder} has")
    if not found:
        raise VoxlateError(f"{folder}: no checkpoints; expected the folder of a voxlate train run")
    chosen = found[-(last or len(found)) :]
    problems = [problem for problem in map(checkpoints.damage, chosen) if problem]
    if problems:
        raise VoxlateError("; ".join(problems))
    config = read_config(folder / CONFIG)
    data = read_data(config)
    model = build_model(config, data)
    objective, characters = build_objective(config, model, data)
    choose_trainable(objective, config.trainable, masks_time=model.model.encoder.masks_time)
    mean: dict[str, Tensor] = {}
    for checkpoint in chosen:
        checkpoints.load_weights(checkpoint, objective)
        for name, tensor in plain_weights(objective.state_dict(), config).items():
            part = tensor.detach() / len(chosen)
            mean[name] = mean[name] + part if name in mean else part
    write_model(output, mean, model, characters)
    names = ", ".join(checkpoint.name for checkpoint in chosen)
    print(f"{output}: mean of {len(chosen)} checkpoints ({names})", file=sys.stderr)
    return 0
