"""Toy training runs in this process."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from toy import settings
from voxlate.cli import app
from voxlate.config.schema import TrainConfig
from voxlate.training.retention import list_checkpoints
from voxlate.training.train import train
from voxlate.training.training_run import TrainingRun
from voxlate.training.update import train_update


def config(toy: Path, output: Path, **changes: Any) -> TrainConfig:
    """Return the settings of a toy run; ``data__num_workers=1`` changes ``data.num_workers``."""
    return TrainConfig(**settings(toy, output_dir=str(output), **changes))


def run(settings: TrainConfig) -> str:
    """Train and return what was printed."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(file=nowhere, record=True, width=200, soft_wrap=True)
        code = train(settings, console)
    text = console.export_text()
    assert code == 0, text
    return text


def run_interrupted(settings: TrainConfig, update: int) -> None:
    """Train until SIGTERM arrives during an update, counted from 0; the run stops after the next one."""
    with pytest.MonkeyPatch.context() as patch, Path(os.devnull).open("w") as nowhere:
        send_sigterm(patch, update)
        assert train(settings, Console(file=nowhere)) == 130


def send_sigterm(monkeypatch: pytest.MonkeyPatch, update: int) -> None:
    """Let training receive SIGTERM during an update, counted from 0."""

    def interrupted(run: TrainingRun, number: int, *rest: Any) -> Any:
        if number == update:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_update(run, number, *rest)

    monkeypatch.setattr("voxlate.training.train.train_update", interrupted)


def average(folder: Path, *options: str) -> str:
    """Average the checkpoints of a run and return what was printed."""
    result = CliRunner().invoke(app, ["average", str(folder), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stderr


def newest_checkpoint(run: Path) -> Path:
    """Return the folder of a run's newest checkpoint."""
    return list_checkpoints(run)[-1]


def damage_newest_checkpoint(run: Path) -> None:
    """Make a run resume from the checkpoint before its newest one."""
    (newest_checkpoint(run) / "state.json").write_text("{}")


def same_files(one: Path, other: Path, *names: str) -> bool:
    """Return whether files of two folders have the same bytes."""
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)
