"""The commands, sessions, Python and settings that the documentation shows."""

import re
import shlex
from pathlib import Path
from textwrap import dedent
from typing import Any

from typer.testing import CliRunner

from paths import ROOT
from voxlate.cli import app

PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
)


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """Return the contents of a page's code blocks in a language, without their indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", read(page), re.MULTILINE | re.DOTALL)
    return [dedent(block) for _, block in found]


def prose(page: str) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", read(page), flags=re.MULTILINE | re.DOTALL)


def commands(page: str, start: str = "") -> list[str]:
    """Return the lines of a page's shell blocks that begin with `start`."""
    lines = (line for block in blocks(page, "sh") for line in block.replace("\\\n", "").splitlines())
    return [line for line in lines if line.startswith(start)]


def sessions(page: str) -> list[tuple[str, str]]:
    """Return each command of a page that is shown with its output, and that output."""
    shown = [re.split(r"^\$ ", block, flags=re.MULTILINE)[1:] for block in blocks(page, "console")]
    return [(command, output) for parts in shown for command, _, output in (part.partition("\n") for part in parts)]


def steps(page: str) -> list[tuple[str, str | None]]:
    """Return the commands of a page in order, each with its output if that is shown."""
    found: list[tuple[str, str | None]] = []
    for language, block in re.findall(r"^```(sh|console)\n(.*?)^```$", read(page), re.MULTILINE | re.DOTALL):
        if language == "sh":
            found += [(line, None) for line in block.splitlines()]
        else:
            shown = (part.partition("\n") for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:])
            found += [(command, output) for command, _, output in shown]
    return found


def run(command: str) -> Any:
    """Run a `voxlate` command in this process, with the file after `<` as standard input; return the result."""
    words, _, file = command.partition(" < ")
    contents = Path(file).read_bytes() if file else None
    return CliRunner().invoke(app, shlex.split(words)[1:], input=contents, catch_exceptions=False)
