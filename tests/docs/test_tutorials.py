"""The tutorials, word for word: every command runs, and prints what the page shows."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from documentation import blocks, read, run, steps
from paths import ROOT


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a clone, for what the commands write."""
    for name in ("docs", "recipes"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def follow(page: str) -> list[str]:
    """Run the commands of a page that need no download, and compare what they print; return their standard errors."""
    errors = []
    for command, shown in steps(page):
        words = shlex.split(command)
        if words[0] == "voxlate" and ("--model" in words or words[1] != "translate") and "facebook/" not in command:
            if "--against" in words:
                continue  # the report of the evaluation that was left out
            result = run(command)
            assert result.exit_code == 0, result.stderr
            printed, error = result.stdout, result.stderr
            errors.append(error)
        elif words[0] == "python":
            printed = subprocess.run(
                [sys.executable, *words[1 : words.index(">")]], capture_output=True, text=True, check=True
            ).stdout
            Path(words[-1]).write_text(printed, encoding="utf-8")
        elif words[0] in ("cp", "cat"):
            printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        else:
            assert "facebook/" in command or "--model" not in words
            continue
        if shown is not None:
            assert printed.rstrip("\n") == shown.rstrip("\n"), command
    return errors


@pytest.mark.slow
@pytest.mark.vad
def test_a_talk_is_translated(clone: Path) -> None:
    page = "docs/tutorials/talk.md"
    errors = follow(page)
    assert len(errors) == 4
    again = next(command for command, _ in steps(page) if "--output-dir" in command)
    assert run(again).stderr.splitlines()[-1] in blocks(page, "text")[0]


@pytest.mark.slow
@pytest.mark.vad
def test_a_new_language_is_taught(clone: Path) -> None:
    """Training on another processor may differ in the last digits, and with them in a few words."""
    page = "docs/tutorials/new_language.md"
    [settings] = blocks(page, "yaml")
    Path("italian.yaml").write_text(settings, encoding="utf-8")
    errors = follow(page)
    [table] = blocks(page, "text")
    shown = dict(re.findall(r"(en-\w\w) .*│ +([\d.]+) │ +[-+]", table))
    [log] = [error for error in errors if "dev BLEU before and after" in error]
    trained = dict(re.findall(r"(en-\w\w) .*│ +([\d.]+) │ +[-+]", log.partition("dev BLEU before and after")[2]))
    assert trained.keys() == shown.keys() == {"en-de", "en-it"}
    for direction, bleu in shown.items():
        assert float(trained[direction]) == pytest.approx(float(bleu), abs=5)


@pytest.mark.slow
@pytest.mark.vad
def test_a_table_is_regenerated(clone: Path) -> None:
    assert len(follow("docs/tutorials/table.md")) == 6


def test_the_tutorials_share_their_commands_with_the_guides() -> None:
    published = [command for command, _ in steps("docs/tutorials/table.md") if "facebook/" in command]
    assert len(published) == 2
    assert all(command in read("eval/README.md") for command in published)
