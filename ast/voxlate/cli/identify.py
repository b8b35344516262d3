"""The command ``voxlate identify``."""

from pathlib import Path
from typing import Annotated

import typer

from voxlate.cli import options
from voxlate.errors import VoxlateError

EXAMPLE = "voxlate identify talk.mp3 --model facebook/mms-lid-126"


def identify(
    model: Annotated[
        str,
        options.model_option(
            metavar="MODEL",
            help="Language identifier: a folder written by `voxlate train-identifier`, or a folder or Hub id of a "
            "transformers audio classifier (…ForSequenceClassification).",
        ),
    ],
    audio: Annotated[
        list[str] | None,
        typer.Argument(metavar="AUDIO", help="Audio or video files, folders or glob patterns."),
    ] = None,
    data: Annotated[
        list[Path] | None,
        options.input_option(
            metavar="MANIFEST",
            help="Manifest to use instead of audio; reports the accuracy per source language. Can be repeated.",
        ),
    ] = None,
    audio_track: options.AudioTrack = None,
    num_workers: options.NumWorkers = None,
    vad: options.Vad = True,
    device: options.Device = "auto",
    dtype: options.DType = "auto",
) -> int:
    """Identify the spoken language. Prints each file with its language and probability."""
    if bool(audio) == bool(data):
        raise VoxlateError("expected either audio or --data with manifests")
    from voxlate.decoding.commands import print_languages
    from voxlate.decoding.identifier import Identifier
    from voxlate.evaluation.identification_accuracy import print_accuracy

    identifier = Identifier(model, device=device, dtype=dtype)
    if data:
        return print_accuracy(data, identifier, num_workers)
    return print_languages(audio or [], identifier, audio_track, vad=vad, num_workers=num_workers)
