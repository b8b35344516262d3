"""The command line, one file per command. Each parses its options, imports what it needs and calls a function."""

import logging
import os
import platform
import sys
from types import ModuleType
from typing import Annotated

import typer

from voxlate import __version__
from voxlate.cli import (
    average,
    card,
    compare,
    convert,
    doctor,
    evaluate,
    identify,
    languages,
    models,
    prepare,
    published,
    report,
    score,
    serve,
    train,
    train_identifier,
    train_segmenter,
    transcribe,
    translate,
)
from voxlate.cli.command import Command, CommandGroup, example
from voxlate.errors import STORAGE_ERRORS, VoxlateError, is_out_of_memory, memory_advice
from voxlate.models.cpu.malloc import ask_for_huge_pages

# The panels of `voxlate --help`. Each module defines a function with the name of the module, and an EXAMPLE.
_COMMANDS: dict[str, tuple[ModuleType, ...]] = {
    "Use a model": (translate, transcribe, identify, serve),
    "Train a model": (prepare, train, average, convert, card, train_identifier, train_segmenter),
    "Measure a model": (evaluate, score, compare, report, published),
    "Get information": (models, languages, doctor),
}


def _build_app() -> typer.Typer:
    app = typer.Typer(
        name="voxlate",
        cls=CommandGroup,
        help="Translate speech to text with XLS-R encoders and mBART decoders.",
        epilog=example(translate.EXAMPLE),
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    for panel, modules in _COMMANDS.items():
        for module in modules:
            name = module.__name__.rpartition(".")[2]
            epilog = example(module.EXAMPLE)
            if module is prepare:
                app.add_typer(prepare.app, name=name, epilog=epilog, rich_help_panel=panel)
            else:
                register = app.command(name.replace("_", "-"), cls=Command, epilog=epilog, rich_help_panel=panel)
                register(getattr(module, name))
    app.callback()(_root)
    return app


def main() -> None:
    """Run the command line. Exit codes: 0 all done, 1 some inputs failed, 2 wrong command, 130 interrupted."""
    logging.addLevelName(logging.WARNING, "warning")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    ask_for_huge_pages()
    _limit_numpy_threads()
    try:
        app()
    except VoxlateError as error:
        process = os.environ.get("RANK", "0")  # one of several that accelerate launch or torchrun started
        print(f"error{'' if process == '0' else f' (process {process})'}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (MemoryError, OSError, ImportError, RuntimeError) as error:
        if is_out_of_memory(error):
            print(f"error: {memory_advice()}", file=sys.stderr, flush=True)
            os._exit(2)  # libraries may crash on exit when memory is exhausted
        if not isinstance(error, OSError):
            raise
        print(f"error: {error.strerror}: {error.filename2 or error.filename or 'standard output'}", file=sys.stderr)
        sys.exit(1 if error.errno in STORAGE_ERRORS else 2)


def _limit_numpy_threads() -> None:
    """Let NumPy multiply matrices in one thread, before it is imported; this keeps the user's own setting.

    The thread that decodes audio multiplies small ones, for which several threads need several times as much processor
    time, and take the cores from the model.
    """
    if platform.machine().lower() in ("x86_64", "amd64"):  # torch uses the same library on other processors
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _print_version(is_given: bool) -> None:
    if is_given:
        print(f"voxlate {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


app = _build_app()
