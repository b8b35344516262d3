"""The project is readable: short files and functions, one name for one thing, plain English."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from paths import ROOT

SOURCES = sorted(path for room in ("ast", "eval", "recipes") for path in (ROOT / room).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
HELPERS = [path for path in TESTS if not path.name.startswith("test_")]
ROOMS = [ROOT / room for room in ("ast", "eval", "recipes", "docs")]
TEXTS = [ROOT / "README.md", *(path for room in ROOMS for path in room.rglob("*") if path.suffix in (".py", ".md"))]

# Phrases of the project's former English, which a reader had to decode.
ODD_ENGLISH = re.compile(r"\banew\b|goes on|there already|behind (it|them|the)|\bof the beam\b|\btold\b", re.IGNORECASE)
# Lines in which a native speaker would keep such a phrase.
NATIVE: set[str] = set()


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def twice(names: Iterator[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=relative)
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 80, f"{node.name}: {length} lines"


def test_no_class_name_occurs_twice() -> None:
    paths = [*SOURCES, *HELPERS]
    assert twice(node.name for path in paths for node in nodes(path) if isinstance(node, ast.ClassDef)) == []


def test_no_file_name_occurs_twice() -> None:
    paths = (path for path in [*SOURCES, *HELPERS] if not relative(path).startswith("ast/voxlate/cli/"))
    assert twice(path.name for path in paths if path.name not in ("__init__.py", "__main__.py")) == []


def test_the_english_is_plain() -> None:
    odd = [
        f"{relative(path)}:{number}: {line.strip()}"
        for path in TEXTS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if ODD_ENGLISH.search(line) and line.strip() not in NATIVE
    ]
    assert odd == []
