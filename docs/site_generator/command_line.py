"""The reference page of the command line, from the commands themselves."""

import re
from collections.abc import Iterator
from typing import Any

import typer

from voxlate.cli import app

_INTRODUCTION = """\
# Command line

This page is generated from the commands. `voxlate COMMAND --help` prints the same text.

Exit codes: 0 if all was done, 1 if some inputs failed (each is named, with the reason) or the disk is full, 2 if the
command was wrong, 130 if it was interrupted.
"""


def command_line_page() -> str:
    """Return the page in Markdown: a section for each command, with its arguments and options."""
    group = typer.main.get_command(app)
    return "\n".join([_INTRODUCTION, *_sections(group, "voxlate", 2)])


def _sections(group: Any, path: str, level: int) -> Iterator[str]:
    context = group.context_class(group, info_name=path)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield from _command(command, f"{path} {name}", level)
        if hasattr(command, "list_commands"):
            yield from _sections(command, f"{path} {name}", level + 1)


def _command(command: Any, path: str, level: int) -> Iterator[str]:
    context = command.context_class(command, info_name=path)
    yield f"{'#' * level} {path}\n"
    yield f"{inline(' '.join((command.help or '').split()))}\n"
    if not hasattr(command, "list_commands"):
        yield f"```text\n{path} {' '.join(command.collect_usage_pieces(context))}\n```\n"
        yield f"Example:\n\n```text\n{command.epilog.splitlines()[-1].strip()}\n```\n"
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in command.get_params(context):
            is_argument = parameter.param_type_name == "argument"
            panel = getattr(parameter, "rich_help_panel", None) or ("Arguments" if is_argument else "Options")
            names, text = parameter.get_help_record(context)
            panels.setdefault(panel, []).append((names.partition(" <")[0] if is_argument else names, text))
        for panel, records in panels.items():
            yield f"**{panel}**\n"
            for names, text in records:
                yield f"`{names}`\n:   {inline(text)}\n"


def inline(text: str) -> str:
    """Return the text of a help message in Markdown: options as code, and the default after the description."""
    text = re.sub(r"\s*\[default: ([^\]]+)\]", r" Default: \1.", text)
    text = re.sub(r"\s*\[required\]", " Required.", text)
    text = text.replace("<", "&lt;").replace("*", r"\*")
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"(?<![\w-])(--[a-z][\w-]*)", r"`\1`", part) for part in parts
    )
