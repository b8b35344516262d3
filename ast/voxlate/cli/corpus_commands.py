"""Options that the commands ``voxlate prepare …`` share, and commands for further corpora of the table."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from voxlate.cli.command import Command, CommandGroup, Context, example
from voxlate.cli.options import output_option, request
from voxlate.corpora import CORPORA, MAKERS
from voxlate.errors import VoxlateError
from voxlate.processes import core_count
from voxlate.registry import resolve

Output = Annotated[
    Path,
    output_option(
        "--output", "-o", metavar="FOLDER", help="Folder for the manifests; rerun the same command to resume."
    ),
]
Transcode = Annotated[
    str | None,
    output_option(metavar="flac", help="Transcode each clip to 16 kHz FLAC, which is several times faster to read."),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--num-workers",
        min=0,
        metavar="N",
        help="Number of processes that read clips; 0 or 1 for none but this one. [default: one per core]",
    ),
]
Overwrite = Annotated[bool, output_option("--overwrite", help="Redo results that already exist in the output folder.")]


class CorpusGroup(CommandGroup):
    """The commands of a group, and one for each further corpus of the table `CORPORA`."""

    def list_commands(self, ctx: Context) -> list[str]:
        """Return the names of the commands, with those of further corpora last."""
        return [*(names := super().list_commands(ctx)), *sorted(CORPORA.keys() - set(names))]

    def get_command(self, ctx: Context, cmd_name: str) -> Any:
        """Return the command with a name, or None."""
        command = super().get_command(ctx, cmd_name)
        return _build_command(cmd_name) if command is None and cmd_name in CORPORA else command


def prepare_corpus(corpus: str, options: Mapping[str, Any]) -> int:
    """Prepare a corpus; return the exit code. The options are the fields of the corpus's Preparation, by name."""
    if options.get("transcode") not in (None, "flac"):
        raise VoxlateError(f"--transcode {options['transcode']}: expected flac")
    prepare, kind = _function_and_options(corpus)
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    workers = core_count() if values.get("workers") is None else values["workers"]
    parsed = {"transcode": values.get("transcode") == "flac", "workers": workers}
    return prepare(request(kind, {**values, **parsed}))


def _build_command(corpus: str) -> Any:
    """Build a command from the fields of a corpus's Preparation, for a corpus without a function in this package."""
    prepare, kind = _function_and_options(corpus)
    shared = {"output": Output, "transcode": Transcode, "workers": Workers, "overwrite": Overwrite}

    def command(**options: Any) -> int:
        return prepare_corpus(corpus, options)

    hints = {field.name: shared.get(field.name) or _annotation(field, kind) for field in fields(kind)}
    command.__doc__, command.__annotations__ = inspect.getdoc(prepare), hints
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=_default(field), annotation=hints[field.name]
            )
            for field in fields(kind)
        ]
    )
    single = typer.Typer(rich_markup_mode=None, add_completion=False)
    epilog = example(f"voxlate prepare {corpus} {kind.EXAMPLE}") if kind.EXAMPLE else None
    single.command(corpus, cls=Command, epilog=epilog)(command)
    return typer.main.get_command(single)


def _function_and_options(corpus: str) -> tuple[Callable[[Any], int], Any]:
    """Return the function that prepares a corpus, and the class of the options that it takes."""
    prepare = resolve({**CORPORA, **MAKERS}, corpus, "corpus")
    [kind] = [hint for name, hint in get_type_hints(prepare).items() if name != "return"]
    return prepare, kind


def _annotation(field: Field[Any], kind: Any) -> Any:
    hint = get_type_hints(kind)[field.name]
    if get_origin(hint) is tuple:
        hint = list[get_args(hint)[0]]  # type: ignore[misc]
    return Annotated[hint, typer.Option(metavar=field.metadata.get("metavar"), help=field.metadata.get("help"))]


def _default(field: Field[Any]) -> Any:
    if field.name in ("transcode", "workers"):
        return None
    return ... if field.default is MISSING else field.default
