"""The command ``voxlate report``."""

from pathlib import Path
from typing import Annotated

import typer

from voxlate.cli import options
from voxlate.errors import VoxlateError

EXAMPLE = "voxlate report scores/fr-en --against 'XLS-R (0.3B)' -o report"


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders written by `voxlate evaluate`.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Folder for report.html, tables.md, tables.csv and tables.tex."
        ),
    ],
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SYSTEM",
            help="Published system (see `voxlate published`), or a pattern such as 'XLS-R (*B)'. Can be repeated.",
        ),
    ] = None,
    sentences: Annotated[
        int, typer.Option(min=0, metavar="N", help="Number of sentences to show per direction, worst first.")
    ] = 100,
    embed_mib: Annotated[
        int, typer.Option(min=0, metavar="MIB", help="Total size of the clips to embed in the page.")
    ] = 20,
    link: Annotated[bool, typer.Option(help="Link the clips that are not embedded.")] = True,
    clips: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER", help="Folder of additional clips to show besides those of the manifests. Can be repeated."
        ),
    ] = None,
) -> None:
    """Write BLEU tables next to published scores.

    The page also has plots, sentences and clips.
    """
    with options.scorer_errors():
        from voxlate.evaluation.playable_audio import is_playable
        from voxlate.progress import progress_bar
        from voxlate_eval.report import write_report
        from voxlate_eval.strict_json import path_text

        missing = [path_text(folder) for folder in clips or [] if not folder.is_dir()]
        if missing:
            raise VoxlateError(f"--clips {missing[0]}: no such folder")
        written = write_report(
            runs,
            output,
            against or [],
            sentences=sentences,
            embed_bytes=embed_mib << 20,
            link=link,
            clip_folders=clips or [],
            is_playable=is_playable,
            progress=progress_bar,
        )
        print(*map(path_text, written), sep="\n")
