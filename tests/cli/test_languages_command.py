"""The command ``voxlate languages``."""

import re

import pytest
from typer.testing import CliRunner

from voxlate.cli import app
from voxlate.errors import VoxlateError
from voxlate.languages import LANGUAGES


def table(*names: str) -> list[list[str]]:
    result = CliRunner().invoke(app, ["languages", *names], catch_exceptions=False)
    assert result.exit_code == 0
    return [re.split(r"  +", line) for line in result.stdout.splitlines()]


def test_all_languages_are_listed() -> None:
    header, *rows = table()
    assert header == [
        "code", "name", "mBART-50 tag", "token", "published models from it", "published models into it",
    ]  # fmt: skip
    assert [(row[0], row[1]) for row in rows] == [(language.code, language.name) for language in LANGUAGES]


def test_tokens_and_published_models() -> None:
    seamless = "seamless-v2-large"
    both, into = f"21-to-en, 22-to-16, {seamless}", "en-to-15 (token {0}), 22-to-16 (token {0}), " + seamless
    assert table("Latvian", "cat", "en", "de", "bg", "gv")[1:] == [
        ["lv", "Latvian", "lv_LV", "250016", both, into.format(250017)],
        ["ca", "Catalan", "-", "-", both, into.format(250005)],
        ["en", "English", "en_XX", "250004", f"en-to-15, 22-to-16, {seamless}", both],
        ["de", "German", "de_DE", "250003", both, f"en-to-15, 22-to-16, {seamless}"],
        ["bg", "Bulgarian", "-", "-", seamless, seamless],
        ["gv", "Manx", "-", "-", "-", "-"],
    ]


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(VoxlateError, match="unknown language 'Germn'; did you mean de"):
        table("Germn")
