"""The documentation site: what is generated from the code, and that the whole can be built."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer

import voxlate
from documentation import read
from paths import ROOT
from site_generator.build import GENERATED, INCLUDED, site_links
from site_generator.command_line import command_line_page
from site_generator.python_api import python_page
from site_generator.setting_reference import describe_values, settings_page
from voxlate.cli import app
from voxlate.config.schema import TrainConfig


def all_commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the commands of a group at any depth, each with its name."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from all_commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def test_the_command_line_page_has_every_option_of_every_command() -> None:
    sections = dict(re.findall(r"^#{2,3} (voxlate .*)\n((?:(?!^#{2,3} ).*\n?)*)", command_line_page(), re.MULTILINE))
    commands = dict(all_commands(typer.main.get_command(app), "voxlate"))
    assert len(commands) > 18
    assert commands.keys() <= sections.keys()
    for name, command in commands.items():
        for parameter in command.params:
            shown = parameter.opts[0] if parameter.param_type_name == "option" else parameter.metavar
            assert f"`{shown}" in sections[name] or f", {shown}" in sections[name], f"{name} {shown}"
    assert "Default: txt." in sections["voxlate translate"]
    assert "Required." in sections["voxlate translate"]


def test_every_setting_is_described() -> None:
    page = settings_page()
    described = dict(re.findall(r"^`([\w.]+)`\n:   (.*)<br>", page, re.MULTILINE))
    expected = set(leaves(TrainConfig.model_json_schema(), TrainConfig.model_json_schema()))
    assert expected <= described.keys()
    assert all(meaning.endswith((".", "`.")) for meaning in described.values())
    assert "`data.max_seconds`\n:   Leave out training clips longer than this." in page
    assert "*Number above 0. Default: `30.0`.*" in page


def leaves(schema: Any, root: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all settings of a schema that are not sections."""
    for name, field in schema["properties"].items():
        reference = field.get("$ref", "")
        if reference:
            yield from leaves(root["$defs"][reference.rpartition("/")[2]], root, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_values_are_described_in_words() -> None:
    assert describe_values({"type": "integer", "minimum": 1, "maximum": 10}) == "Whole number from 1 to 10"
    assert describe_values({"anyOf": [{"type": "number"}, {"const": "auto"}]}) == "Number or `auto`"
    assert describe_values({"enum": ["a", "b"]}) == "One of `a`, `b`"
    assert describe_values({"type": "array", "items": {"type": "string"}}) == "List, each item a text"


def test_the_python_page_has_every_public_name() -> None:
    documented = set(re.findall(r"^::: voxlate\.(\w+)$", python_page(), re.MULTILINE))
    assert documented == {name for name in voxlate.__all__ if not name.startswith("__")}


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        ("translating.md", "[M](models.md#x)", "[M](models.md#x)"),
        ("tutorials/talk.md", "[S](../../eval/README.md#y)", "[S](../scoring.md#y)"),
        ("scoring.md", "[D](../docs/data.md#z)", "[D](data.md#z)"),
        ("recipes/demo.md", "[model/README.md](model/README.md)", "[model/README.md](demo_model.md)"),
        ("models.md", "[scores.csv](../eval/scores.csv)", "`eval/scores.csv`"),
        ("models.md", "[The table](../eval/scores.csv)", "The table (`eval/scores.csv`)"),
        ("models.md", "`[a](b)` [W](https://example.org)", "`[a](b)` [W](https://example.org)"),
    ],
)
def test_links_between_files_of_the_repository_work_on_the_site(page: str, link: str, expected: str) -> None:
    assert site_links(link, page) == expected


def literals() -> set[str]:
    """Return the texts in the code, with … for each value that is formatted into one."""
    found = set()
    for path in [*(ROOT / "ast/voxlate").rglob("*.py"), *(ROOT / "eval/voxlate_eval").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
                found.add("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(re.sub(r"%[\w.]*[sdgf]", "…", node.value))
    return found


def test_every_message_of_the_page_is_in_the_code() -> None:
    messages = re.findall(r"^`(.+)`\n:   ", read("docs/troubleshooting.md"), re.MULTILINE)
    assert len(messages) > 50
    texts = literals()
    missing = []
    for message in messages:
        pattern = re.compile(".*".join(map(re.escape, re.split(" ?… ?", message))), re.DOTALL)
        if not any(pattern.search(text) for text in texts):
            missing.append(message)
    assert missing == []


class ExternalFiles(HTMLParser):
    """Collects what a page loads from other hosts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the address of a file that the browser would load."""
        address = dict(attrs).get("href" if tag == "link" else "src") or ""
        if tag in ("link", "script", "img", "iframe", "audio", "source") and re.match(r"(https?:)?//", address):
            self.found.append(address)


@pytest.mark.slow
def test_the_site_is_built_strictly_and_loads_nothing_from_other_hosts(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stderr
    pages = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.html")}
    assert {name.replace(".md", ".html") for name in [*GENERATED, *INCLUDED]} < pages
    assert {path.replace(".md", ".html") for path in ("index.md", "troubleshooting.md")} < pages
    for page in pages - {"recipes/demo_report.html"}:
        parser = ExternalFiles()
        parser.feed((tmp_path / "site" / page).read_text(encoding="utf-8"))
        assert parser.found == [], page
    text = (tmp_path / "site/reference/python.html").read_text(encoding="utf-8")
    assert "A loaded model that translates speech." in text
