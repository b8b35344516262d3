"""The project is readable: short files and functions, one name for one thing, plain English."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from paths import ROOT

SOURCES = sorted(path for room in ("ast", "docs", "eval", "recipes") for path in (ROOT / room).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
ROOMS = [ROOT / room for room in ("ast", "eval", "recipes", "docs")]
PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
TEXTS = [*PAGES, *(path for room in ROOMS for path in room.rglob("*") if path.suffix in (".py", ".md"))]

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
    classes = (node for path in [*SOURCES, *TESTS] for node in nodes(path) if isinstance(node, ast.ClassDef))
    assert twice(node.name.lstrip("_") for node in classes) == []


def test_no_file_name_occurs_twice() -> None:
    paths = (path for path in [*SOURCES, *TESTS] if not relative(path).startswith("ast/voxlate/cli/"))
    assert twice(path.name for path in paths if path.name not in ("__init__.py", "__main__.py")) == []


def test_the_english_is_plain() -> None:
    odd = [
        f"{relative(path)}:{number}: {line.strip()}"
        for path in TEXTS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if ODD_ENGLISH.search(line) and line.strip() not in NATIVE
    ]
    assert odd == []


def private_names(node: ast.AST) -> Iterator[str]:
    """Yield the private names of voxlate, and the test modules, that an import or a patch names."""
    match node:
        case ast.ImportFrom(module=module, names=aliases):
            names = [*(module or "").split("."), *(alias.name for alias in aliases)]
            yield from (name for name in names if re.match(r"_[a-z]|test_", name) and name != "__future__")
        case ast.Call(func=ast.Attribute(attr="setattr"), args=[ast.Constant(value=str(target)), *_]):
            yield from (name for name in target.split(".") if re.match(r"_[a-z]", name))
        case ast.Call(func=ast.Attribute(attr="setattr"), args=[_, ast.Constant(value=str(name)), *_]):
            if re.match(r"_[a-z]", name) and name != "_exit":  # os._exit is public
                yield name


@pytest.mark.parametrize("path", TESTS, ids=relative)
def test_tests_use_public_names_and_no_other_test_module(path: Path) -> None:
    assert [name for node in nodes(path) for name in private_names(node)] == []
