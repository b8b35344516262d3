"""The command ``voxlate convert``."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "voxlate convert checkpoint_best.pt --vocabulary sentencepiece.bpe.model -o model"


def convert(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Model folder, Hub id, id@revision, short name, or a checkpoint of fairseq or fairseq2 (.pt).",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="New folder for the converted model.")
    ],
    trim_to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LANGUAGE[,LANGUAGE]...",
            help="Target languages to prune the vocabulary to; each needs a shortlist.",
        ),
    ] = None,
    vocabulary: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The sentencepiece.bpe.model of mBART-50, for a fairseq checkpoint."),
    ] = None,
) -> None:
    """Convert a checkpoint, or prune its vocabulary.

    Converts a fairseq checkpoint, or a speech encoder of fairseq2 such as omniASR-W2V, to transformers format. Or
    prunes the vocabulary to selected languages.
    """
    from voxlate.checkpoints.convert import convert as run

    languages = [language for item in trim_to or [] for language in item.split(",")]
    print(run(model, output, languages, vocabulary))
