"""The command ``voxlate published``."""

from typing import Annotated

import typer

from voxlate.cli import options

EXAMPLE = "voxlate published fr-en seamless"

_TITLES = ("system", "parameters", "test set", "directions", "average BLEU")


def published(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORD",
            help="Directions (fr-en, x-en, en-x) and parts of names. Systems that have all of them are listed.",
        ),
    ] = None,
) -> None:
    """List published systems for `voxlate report --against`."""
    from voxlate_eval.published_list import describe_averages, describe_directions, name_test_sets, select_systems

    with options.scorer_errors():
        systems = select_systems(words or ())
    rows = [
        (
            system.name,
            system.parameters or "-",
            name_test_sets(system),
            describe_directions(system),
            describe_averages(system),
        )
        for system in systems
    ]
    widths = [max(map(len, column)) for column in zip(_TITLES, *rows, strict=True)]
    for row in (_TITLES, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print('\n"of 7": the mean of the 7 directions that have a score. Other averages are as printed in the sources.')
    print(f'To compare with one: voxlate report RUN --against "{systems[0].name}" --output report')
