"""The commands ``voxlate identify`` and ``voxlate train-identifier``: parse, import the one command, call it."""

from pathlib import Path
from typing import Annotated

import typer

from voxlate.errors import VoxlateError

AudioTrackOption = Annotated[
    str | None,
    typer.Option(
        metavar="N|LANGUAGE",
        help="Audio track: its number, counted from 1, or its language. [default: the file's default track]",
    ),
]


def add_commands(app: typer.Typer) -> None:
    """Add the commands to an app."""
    app.command()(identify)
    app.command("train-identifier")(train_identifier)


def identify(
    model: Annotated[
        str,
        typer.Option(
            help="Language identifier: a folder of `voxlate train-identifier`, or a …ForSequenceClassification model."
        ),
    ],
    audio: Annotated[
        list[str] | None, typer.Argument(metavar="[AUDIO]...", help="Audio or video files, folders, globs.")
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Manifests, instead of audio: report the accuracy for each source language."),
    ] = None,
    audio_track: AudioTrackOption = None,
    device: Annotated[str, typer.Option(help="Device to run on: auto, cpu, cuda, cuda:1, …")] = "auto",
    dtype: Annotated[str, typer.Option(help="Precision: auto, float32, bfloat16, float16.")] = "auto",
) -> None:
    """Identify the language spoken. Prints file, language and probability; with --data, the accuracy per language."""
    if bool(audio) == bool(data):
        raise VoxlateError("expected either audio or --data with manifests")
    from voxlate.decoding.commands import print_languages
    from voxlate.decoding.identifier import Identifier
    from voxlate.evaluation.identification_accuracy import print_accuracy

    identifier = Identifier(model, device=device, dtype=dtype)
    raise typer.Exit(
        print_accuracy(data, identifier) if data else print_languages(audio or [], identifier, audio_track)
    )


def train_identifier(
    manifests: Annotated[list[Path], typer.Argument(metavar="MANIFEST...", help="Manifests with source_language.")],
    encoder: Annotated[
        str, typer.Option(help="Pretrained encoder, or a model whose encoder to use: folder or Hub id.")
    ],
    output: Annotated[Path, typer.Option(help="Folder for the identifier.")],
    clips: Annotated[int, typer.Option(min=1, help="Maximum number of clips per language.")] = 1000,
    device: Annotated[str, typer.Option(help="Device to run on: auto, cpu, cuda, cuda:1, …")] = "auto",
) -> None:
    """Train a language identifier for --from auto. It is a classifier on a frozen speech encoder."""
    from voxlate.training.identifier_training import train_identifier as train

    train(manifests, encoder, output, clips=clips, device=device)
