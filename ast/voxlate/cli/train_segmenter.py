"""The command ``voxlate train-segmenter``."""

from pathlib import Path
from typing import Annotated

import typer

from voxlate.cli import options

EXAMPLE = "voxlate train-segmenter data/*/train.jsonl --encoder runs/x-en-300m/best"


def train_segmenter(
    manifests: Annotated[list[Path], typer.Argument(metavar="MANIFEST", help="Manifests with source_language.")],
    encoder: Annotated[
        str,
        options.model_option(metavar="MODEL", help="Model whose recordings to cut at sentences: folder or Hub id."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Folder for segmenter.safetensors. [default: that of the model]"
        ),
    ] = None,
    layers: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Number of layers of the encoder to use; with 0, only its convolutions."),
    ] = 0,
    hours: Annotated[float, typer.Option(min=0.01, metavar="X", help="Hours of joined clips to train on.")] = 5.0,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the joined clips and of the training.")] = 0,
    device: options.Device = "auto",
) -> None:
    """Train a classifier that finds sentence boundaries in long recordings.

    Single sentences are joined, with and without pauses. The encoder is frozen.
    """
    from voxlate.training.segmenter_training import train_segmenter as train

    train(manifests, encoder, output, layers=layers, hours=hours, seed=seed, device=device)
