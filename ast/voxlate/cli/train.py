"""The command ``voxlate train``."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "voxlate train recipes/covost2/x-en-300m.yaml optimizer.lr=1e-4"


def train(
    config: Annotated[
        Path,
        typer.Argument(metavar="CONFIG", help="YAML file with the settings. Those in recipes/ are found anywhere."),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings that override the file, such as optimizer.lr=1e-4."),
    ] = None,
    add_language: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LANGUAGE", help="Target language to add to the model, with a new token. Can be repeated."
        ),
    ] = None,
    init_from: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LANGUAGE",
            help="Language whose token embedding initializes the new one; once for each --add-language.",
        ),
    ] = None,
) -> int:
    """Train a model. Rerun the same command to resume an interrupted run.

    For several GPUs or machines: accelerate launch -m voxlate train …
    """
    from voxlate.training.launch import run

    return run(config, overrides or [], add_language or [], init_from or [])
