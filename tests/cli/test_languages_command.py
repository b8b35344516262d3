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
    assert table("Latvian", "cat", "en", "de", "bg")[1:] == [
        ["lv", "Latvian", "lv_LV", "250016", "21-to-en, 22-to-16", "en-to-15 (token 250017), 22-to-16 (token 250017)"],
        ["ca", "Catalan", "-", "-", "21-to-en, 22-to-16", "en-to-15 (token 250005), 22-to-16 (token 250005)"],
        ["en", "English", "en_XX", "250004", "en-to-15, 22-to-16", "21-to-en, 22-to-16"],
        ["de", "German", "de_DE", "250003", "21-to-en, 22-to-16", "en-to-15, 22-to-16"],
        ["bg", "Bulgarian", "-", "-", "-", "-"],
    ]


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(VoxlateError, match="unknown language 'Germn'; did you mean de"):
        table("Germn")
