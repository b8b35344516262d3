"""The command ``voxlate card``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from voxlate.cli import options

EXAMPLE = "voxlate card runs/fr-en --scores scores/mine --license apache-2.0 --name me/fr-en"


def card(
    model: Annotated[Path, typer.Argument(metavar="RUN|MODEL", help="Run folder of `voxlate train`, or model folder.")],
    scores: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Scores of this model, written by `voxlate evaluate`. Can be repeated."),
    ] = None,
    license_: Annotated[
        str | None,
        typer.Option("--license", metavar="LICENSE", help="License of the weights, as the Hub names it: apache-2.0."),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="OWNER/NAME", help="Name of the model on the Hub.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="File to write. [default: README.md in the model folder]"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a card that exists.")] = False,
) -> int:
    """Write a model card with scores for the Hub."""
    with options.scorer_errors():
        from voxlate.evaluation.model_card import CardOptions, write_card

        path, folder, notes = write_card(model, scores or [], CardOptions(name, license_), output, overwrite=overwrite)
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
        print(f"wrote {path}; upload the model with: hf upload {name or 'OWNER/NAME'} {folder}", file=sys.stderr)
    return 0
