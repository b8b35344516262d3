"""The command ``voxlate models``."""

from typing import Annotated

import typer

EXAMPLE = "voxlate models xls-r-300m-en-to-15"


def models(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Models to describe: short names or Hub ids.")
    ] = None,
) -> None:
    """List published models: languages, sizes, licenses, BLEU.

    Their short names are accepted wherever a model is.
    """
    from voxlate.evaluation.model_list import describe, text_tables

    print("\n\n".join(map(describe, names)) if names else text_tables())
    if not names:
        print("\nWeights: their size in memory, in float32 / bfloat16.")
        print("To show the languages of a model, and the source of its BLEU: voxlate models NAME")
