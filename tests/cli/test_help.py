"""Help texts, examples and usage errors of every command."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from voxlate.cli import app


def commands(command: Any, *names: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the command and its subcommands, with the words that call them."""
    yield names, command
    for name, subcommand in getattr(command, "commands", {}).items():
        yield from commands(subcommand, *names, name)


COMMANDS = dict(commands(typer.main.get_command(app)))
EACH = pytest.mark.parametrize("names", COMMANDS, ids=" ".join)


def test_every_command_is_known_here() -> None:
    assert {names[0] for names in COMMANDS if names} == {
        *("translate", "transcribe", "identify", "prepare", "train", "average", "convert", "card", "train-identifier"),
        "train-segmenter",
        "serve",
        *("evaluate", "score", "compare", "report", "published", "models", "languages", "doctor"),
    }
    assert len(COMMANDS) == 27


@EACH
def test_help_texts_are_fragments_that_describe_an_option(names: tuple[str, ...]) -> None:
    command = COMMANDS[names]
    for text in [command.help, *(option.help for option in command.params)]:
        assert text[0].isupper(), text
        assert text.rstrip().endswith((".", "]", "…")), text
        assert not re.search(r"^(Of|That|Those|What)\b", text), text


@EACH
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_readable_at_80_columns(names: tuple[str, ...], option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = CliRunner().invoke(app, [*names, option])
    assert result.exit_code == 0
    body, _, example = result.stdout.partition("\n  Example:\n")
    assert max(map(len, body.splitlines())) <= 80
    assert "-h, --help" in body
    assert not re.search(r"\w\.\.\.", body), "a summary is cut off"
    assert not re.search(r"<(str|list|path)", body), "a type of Python is shown"
    assert example.startswith("    voxlate ")
    assert len(example.splitlines()) == 1


@EACH
def test_the_example_of_the_help_is_a_valid_command(names: tuple[str, ...]) -> None:
    example = COMMANDS[names].epilog.splitlines()[-1]
    words = shlex.split(example.strip())
    assert words[0] == "voxlate"
    assert tuple(words[1 : 1 + len(names)]) == names
    path = max((path for path in COMMANDS if tuple(words[1 : 1 + len(path)]) == path), key=len)
    COMMANDS[path].make_context("voxlate", words[1 + len(path) :])  # raises on a usage error


def test_options_and_commands_are_grouped() -> None:
    titles = re.compile(r"^(\w[\w ]*):$", re.MULTILINE)
    assert titles.findall(CliRunner().invoke(app, ["-h"]).stdout) == [
        "Options", "Use a model", "Train a model", "Measure a model", "Get information",
    ]  # fmt: skip
    assert titles.findall(CliRunner().invoke(app, ["translate", "-h"]).stdout) == [
        "Arguments", "Options", "Input", "Model", "Search", "Segmentation", "Output",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("translat x", "unknown command 'translat'; did you mean 'translate'? (see voxlate --help)"),
        ("prepare covost", "unknown command 'covost'; did you mean 'covost2'? (see voxlate prepare --help)"),
        ("--vers", "unknown option '--vers'; did you mean '--version'? (see voxlate --help)"),
        ("translate x --bem 2", "unknown option '--bem'; did you mean '--beam-size'? (see voxlate translate --help)"),
        ("doctor -x", "unknown option '-x'; known: "),
        ("translate x", "missing option '--to' (see voxlate translate --help)"),
        ("translate x --to", "option '--to' requires an argument"),
        ("translate --to de", "missing argument 'AUDIO' (see voxlate translate --help)"),
        ("translate x --to de --max-repeats -1", "invalid value for '--max-repeats': "),
        ("evaluate --model m --data d -o o --max-repeats -1", "invalid value for '--max-repeats': "),
    ],
)
def test_a_usage_error_is_one_line(words: str, message: str) -> None:
    result = CliRunner().invoke(app, words.split(), prog_name="voxlate")
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert line.startswith(f"error: {message}")


@pytest.mark.parametrize("group", [[], ["prepare"]])
def test_a_group_without_a_command_prints_its_help(group: list[str]) -> None:
    result = CliRunner().invoke(app, group)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: ")


def test_an_interruption_while_libraries_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("voxlate.doctor.run", interrupt)
    result = CliRunner().invoke(app, ["doctor"])
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")
