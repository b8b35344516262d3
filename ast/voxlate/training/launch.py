"""The command ``voxlate train``: read the settings, train, and report on standard error."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from voxlate.config.schema import read_config
from voxlate.errors import VoxlateError


def run(config: Path, overrides: Sequence[str], add_language: Sequence[str], init_from: Sequence[str]) -> int:
    """Train with the settings of a file; return 0 if training has finished, 130 if it was interrupted.

    `add_language` lists languages to add, and `init_from`, for each, the one whose embedding initializes it.
    VoxlateError if their numbers differ or the settings are invalid.
    """
    if len(add_language) != len(init_from):
        raise VoxlateError(
            f"{len(add_language)} --add-language and {len(init_from)} --init-from; expected one --init-from for each "
            "--add-language"
        )
    added = [
        f"model.add_languages.{code}.init_from={source}" for code, source in zip(add_language, init_from, strict=True)
    ]
    settings = read_config(config, [*overrides, *added])
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    from voxlate.training.trackers import exit_if_tracker_hangs  # noqa: PLC0415
    from voxlate.training.train import train  # noqa: PLC0415 (settings are checked before torch is loaded)

    try:
        code = train(settings, console, keep_freed_memory=True)
    except KeyboardInterrupt:
        console.print("interrupted; rerun the same command to resume from the last checkpoint", style="bold")
        code = 130
    exit_if_tracker_hangs(code)
    return code
