"""The command ``voxlate train-identifier``."""

from pathlib import Path
from typing import Annotated

import typer

from voxlate.cli import options

EXAMPLE = "voxlate train-identifier data/*/train.jsonl --encoder facebook/wav2vec2-xls-r-300m -o identifier"


def train_identifier(
    manifests: Annotated[list[Path], typer.Argument(metavar="MANIFEST", help="Manifests with source_language.")],
    encoder: Annotated[
        str,
        options.model_option(
            metavar="MODEL", help="Pretrained encoder, or a model that contains one: folder or Hub id."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the identifier.")],
    clips: Annotated[int, typer.Option(min=1, metavar="N", help="Maximum number of clips per language.")] = 1000,
    device: options.Device = "auto",
) -> None:
    """Train a language identifier for --from auto.

    It is a classifier on a frozen speech encoder.
    """
    from voxlate.training.identifier_training import train_identifier as train

    train(manifests, encoder, output, clips=clips, device=device)
