"""The command ``voxlate train``: from settings to a run, reported on standard error."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from voxlate.config.schema import read_config
from voxlate.errors import VoxlateError


def run(config: Path, overrides: Sequence[str], add_language: Sequence[str], init_from: Sequence[str]) -> int:
    """Train; return 0 when done, 130 when interrupted."""
    if len(add_language) != len(init_from):
        raise VoxlateError(
            f"{len(add_language)} --add-language and {len(init_from)} --init-from; expected one --init-from for each"
        )
    new = [
        f"model.add_languages.{code}.init_from={origin}" for code, origin in zip(add_language, init_from, strict=True)
    ]
    settings = read_config(config, [*overrides, *new])
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    from voxlate.training.trackers import leave_if_stuck  # noqa: PLC0415
    from voxlate.training.train import train  # noqa: PLC0415 (a wrong setting is answered before torch is loaded)

    try:
        code = train(settings, console)
    except KeyboardInterrupt:
        console.print("interrupted; rerun the same command to resume from the last checkpoint", style="bold")
        code = 130
    leave_if_stuck(code)
    return code
