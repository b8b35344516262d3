"""The command ``voxlate average``."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "voxlate average runs/fr-en --last 5"


def average(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder written by `voxlate train`.")],
    last: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of scheduled checkpoints to average. [default: checkpoints.keep_last of the run]",
        ),
    ] = None,
    around_best: Annotated[
        bool,
        typer.Option("--around-best", help="Average the checkpoints nearest to the best one instead of the last ones."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the averaged model. [default: RUN/averaged]"),
    ] = None,
) -> int:
    """Average the last checkpoints of a run into one model. Only scheduled checkpoints count."""
    from voxlate.training.averaging import run

    return run(run_folder, last, output or run_folder / "averaged", around_best)
