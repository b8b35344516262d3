"""Toy training runs in this process."""

import os
from pathlib import Path
from typing import Any

from rich.console import Console

from toy import settings
from voxlate.config.schema import TrainConfig
from voxlate.training.train import train


def config(toy: Path, output: Path, **changes: Any) -> TrainConfig:
    return TrainConfig(**settings(toy, output=str(output), **changes))


def run(settings: TrainConfig) -> str:
    """Train and return what was printed."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(file=nowhere, record=True, width=200, soft_wrap=True)
        code = train(settings, console)
    text = console.export_text()
    assert code == 0, text
    return text


def same_files(one: Path, other: Path, *names: str) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)
