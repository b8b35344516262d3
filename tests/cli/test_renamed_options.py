"""Options that have a new name are still accepted under the old one, with a warning."""

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from paths import DEMO
from voxlate.cli import app

CLIP, MODEL = DEMO / "clips" / "es-18.flac", DEMO / "model"


@pytest.mark.parametrize(
    ("old", "new", "command"),
    [
        ("--beam", "--beam-size", "translate no.wav --to en OPTION=0"),
        ("--beam", "--beam-size", "evaluate --model m --data d -o o OPTION 0"),
        ("--slot", "--language-token", "translate no.wav --to en OPTION lv"),
        ("--slot", "--language-token", "evaluate --model m --data d -o o OPTION=lv"),
        ("--workers", "--num-workers", "prepare manifest no.tsv -o out.jsonl OPTION 1"),
        ("--workers", "--num-workers", "prepare spoken no.tsv --pairs x -o out OPTION=1"),
    ],
)
def test_an_old_name_means_the_new_one(old: str, new: str, command: str, tmp_path: Path) -> None:
    def run(option: str) -> tuple[str, str]:
        result = CliRunner().invoke(app, shlex.split(command.replace("OPTION", option).replace("out", str(tmp_path))))
        return result.stderr, f"{result.exit_code} {result.exception}"

    (old_output, old_end), (new_output, new_end) = run(old), run(new)
    assert old_output == f"warning: {old} is deprecated; use {new}\n{new_output}"
    assert old_end == new_end
    assert not new_end.startswith("2 ")  # the option itself is accepted; the values are what is wrong


def test_an_old_name_is_reported_once_and_not_in_the_help() -> None:
    given = ["translate", "no.wav", "--to", "en", "--slot", "en=en_XX", "--slot", "fr=fr_XX", "--model", str(MODEL)]
    assert CliRunner().invoke(app, given).stderr.count("deprecated") == 1
    assert "--slot" not in CliRunner().invoke(app, ["translate", "--help"]).stdout


def test_both_names_are_refused() -> None:
    result = CliRunner().invoke(app, ["translate", "x", "--to", "en", "--beam", "2", "--beam-size=3"])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --beam is the old name of --beam-size; give only --beam-size")


def test_what_follows_two_dashes_is_no_option() -> None:
    result = CliRunner().invoke(app, ["translate", "--to", "en", "--model", str(MODEL), "--", "--beam"])
    assert result.exit_code == 1
    assert "--beam: no such file" in result.stderr
    assert "deprecated" not in result.stderr


def test_short_options(tmp_path: Path) -> None:
    given = ["translate", str(CLIP), "--to", "en", "--model", str(MODEL), "-f", "txt", "-o", str(tmp_path)]
    assert CliRunner().invoke(app, given).exit_code == 0
    assert [path.name for path in tmp_path.rglob("*.txt")] == ["es-18.flac.en.txt"]
