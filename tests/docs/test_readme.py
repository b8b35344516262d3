"""Every command and every piece of Python in the README is run, or shown to be what it says."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from paths import ROOT
from readme import COMMANDS, ENVIRONMENT, README, SESSIONS, blocks
from voxlate.cli import app


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 7
    assert len(SESSIONS) >= 3


@pytest.mark.parametrize("session", SESSIONS)
def test_sessions_print_what_the_readme_shows(shared: Path, session: str) -> None:
    command, _, expected = session.partition("\n")
    result = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=120
    )
    assert result.stdout == expected, result.stderr


@pytest.mark.parametrize("code", blocks("python"))
def test_python_prints_what_its_comment_says(shared: Path, code: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True, timeout=120
    )
    assert result.stdout.strip() == re.findall(r"# (.*)$", code, re.MULTILINE)[-1]


@pytest.mark.parametrize(
    "command", [line for line in COMMANDS if line.startswith("voxlate translate ") and "--model" not in line]
)
def test_commands_without_a_model_choose_the_published_one(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is downloaded here: the command is taken as far as the checkpoint that it wants."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name in ("talk.mp3", "interview.mp4", "recordings/a.wav", "more/b.wav"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    words = shlex.split(command.partition(" > ")[0])[1:]
    expected = "21-to-en" if "en" in words else "en-to-15"
    assert f"facebook/wav2vec2-xls-r-300m-{expected} is not on this machine" in str(
        CliRunner().invoke(app, words).exception
    )


def test_a_shortlist_is_made_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the bundled model and clips; what the manifest's sentences need is enough to say one of them."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "recipes/demo/model", "my-model")
    rows = [
        json.loads(row) for row in (ROOT / "recipes/demo/clips/clips.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    [row, *_] = [row for row in rows if row["target_language"] == "de"]
    Path("talk.mp3").write_bytes((ROOT / "recipes/demo/clips" / row["audio"]).read_bytes())
    Path("data/en-de").mkdir(parents=True)
    Path("data/en-de/train.jsonl").write_text(json.dumps(row | {"audio": "../../talk.mp3"}) + "\n", encoding="utf-8")
    Path("news.de.txt").write_text("Guten Tag.\n", encoding="utf-8")
    prepare, translate = (line for line in COMMANDS if "shortlist" in line)

    def said_by(command: str) -> str:
        return CliRunner().invoke(app, shlex.split(command)[1:], catch_exceptions=False).stdout.strip()

    assert re.match(r"my-model/shortlists/de.json: \d+ of 1,7\d\d ids, from 2 lines", said_by(prepare))
    assert said_by(translate) == row["target_text"]
    [convert] = [line for line in COMMANDS if line.startswith("voxlate convert ")]
    assert "4.8 million" in said_by(convert)
    assert said_by(translate.replace("my-model --shortlist", "my-german-model")) == row["target_text"]


def test_a_transcript_has_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "recipes/demo/model", "my-model")
    Path("talk.mp3").write_bytes((ROOT / "recipes/demo/clips/en-63.flac").read_bytes())
    [command] = [line for line in COMMANDS if line.startswith("voxlate transcribe ")]
    result = json.loads(CliRunner().invoke(app, shlex.split(command)[1:], catch_exceptions=False).stdout)
    assert len(result["segments"][0]["words"]) > 2


def test_a_language_is_learnt_and_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "recipes/demo/model", "my-model")
    clips = ROOT / "recipes/demo/clips"
    rows = [json.loads(row) for row in (clips / "clips.jsonl").read_text(encoding="utf-8").splitlines()]
    for place, split in (("fr-en", "train"), ("en-de", "train"), ("fr-en", "test")):
        Path("data", place).mkdir(parents=True, exist_ok=True)
        chosen = [row | {"audio": str(clips / row["audio"])} for row in rows if row["source_language"] == place[:2]]
        Path("data", place, f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chosen))
    french = clips / next(row["audio"] for row in rows if row["source_language"] == "fr")
    shutil.copy(french, "talk.mp3")
    Path("recordings").mkdir()
    shutil.copy(french, "recordings/a.flac")
    train, *identify, translate = (line for line in COMMANDS if "identifier" in line)

    def result(command: str) -> Any:
        return CliRunner().invoke(app, shlex.split(command)[1:], catch_exceptions=False)

    assert "2 languages" in result(train).stdout
    assert result(identify[0]).stdout.split("\t")[:2] == ["talk.mp3", "fr"]
    assert "100.0%" in result(identify[1]).stdout
    said = result(translate)
    assert "heard: French 1" in said.stderr
    assert said.stdout.strip()


@pytest.mark.parametrize("command", [line for line in COMMANDS if not line.startswith("voxlate ")])
def test_other_commands_name_what_exists(command: str) -> None:
    words = shlex.split(command)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif words[0] == "python":
        help_text = subprocess.run(
            [sys.executable, ROOT / words[1], "--help"], capture_output=True, text=True, check=True, timeout=60
        ).stdout
        assert {word for word in words if word.startswith("--")} <= set(re.findall(r"--[a-z-]+", help_text))
    else:
        assert command == "python3 -m pip install ."
        assert (ROOT / "pyproject.toml").is_file()


def test_the_table_of_checkpoints_is_the_registry() -> None:
    from voxlate.languages import COVOST2_SOURCES, COVOST2_TARGETS

    rows = [row.split("|") for row in README.splitlines() if row.startswith("| `facebook/")]
    assert sorted(rows[0][2].split()) == sorted(COVOST2_SOURCES)
    assert sorted(rows[1][3].split()) == sorted(COVOST2_TARGETS)


def test_every_option_is_in_the_help() -> None:
    corpora = ("covost2", "manifest", "parquet", "spoken", "vocabulary", "shortlist")
    commands = (
        ["translate"],
        ["convert"],
        ["train"],
        ["average"],
        ["score"],
        ["report"],
        ["identify"],
        *(["prepare", corpus] for corpus in corpora),
    )
    help_text = "".join(CliRunner().invoke(app, [*command, "--help"]).stdout for command in commands)
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    named = {option for code in re.findall(r"`([^`]+)`", prose) for option in re.findall(r"--[a-z-]+", code)}
    assert len(named) > 5
    assert named <= set(re.findall(r"--[a-z-]+", help_text))
