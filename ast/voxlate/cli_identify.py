"""The commands ``voxlate identify`` and ``voxlate train-identifier``: parse, import the one command, call it."""

from pathlib import Path
from typing import Annotated

import typer

from voxlate.errors import VoxlateError

AudioTrackOption = Annotated[
    str | None,
    typer.Option(
        metavar="N|LANGUAGE", help="Audio track to take: its number, from 1, or language. [default: the file's]"
    ),
]


def add_commands(app: typer.Typer) -> None:
    """Add the commands to an app."""
    app.command()(identify)
    app.command("train-identifier")(train_identifier)


def identify(
    model: Annotated[
        str, typer.Option(help="Folder of train-identifier, or a …ForSequenceClassification of languages.")
    ],
    audio: Annotated[list[str] | None, typer.Argument(metavar="[AUDIO]...", help="Files, folders, globs.")] = None,
    data: Annotated[
        list[Path] | None, typer.Option(help="Manifests instead: how often each source language is told right.")
    ] = None,
    audio_track: AudioTrackOption = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.")] = "auto",
) -> None:
    """Tell which language is spoken: name, language, probability. With --data, the accuracy for each language."""
    if bool(audio) == bool(data):
        raise VoxlateError("expected audio, or manifests with --data, and not both")
    from voxlate.decoding.identification import Identifier, print_languages
    from voxlate.evaluation.identification import print_accuracy

    identifier = Identifier(model, device=device, dtype=dtype)
    raise typer.Exit(
        print_accuracy(data, identifier) if data else print_languages(audio or [], identifier, audio_track)
    )


def train_identifier(
    manifests: Annotated[list[Path], typer.Argument(metavar="MANIFEST...", help="Clips with a source_language.")],
    encoder: Annotated[
        str, typer.Option(help="Pretrained encoder, or a model whose encoder is taken: folder or Hub id.")
    ],
    output: Annotated[Path, typer.Option(help="Folder of the identifier.")],
    clips: Annotated[int, typer.Option(min=1, help="Of each language, at most.")] = 1000,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")] = "auto",
) -> None:
    """Train a language identifier for --from auto: a classifier upon a speech encoder that stays as it is."""
    from voxlate.training.identifier import train_identifier as train

    train(manifests, encoder, output, clips=clips, device=device)
