"""The commands of docs/evaluating.md and eval/README.md run word for word on small data."""

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from documentation import blocks, commands, prose, run
from media import sweep, write_media
from voxlate.cli import app
from voxlate.errors import VoxlateError


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all files that the commands name."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_model, "runs/fr-en/best")
    Path("data/fr-en").mkdir(parents=True)
    clip = write_media(tmp_path / "data/fr-en/clip.wav", sweep(200, 900, 0.5))
    languages = {"source_language": "fr", "target_language": "en", "split": "test", "audio": clip.name}
    rows = [{"id": str(number), "target_text": f"The number here is {number}.", **languages} for number in range(3)]
    Path("data/fr-en/test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for system in ("ours", "theirs", "whisper"):
        hypotheses = [{"id": str(number), "text": f"The number here is {number}."} for number in range(3)]
        Path(f"{system}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in hypotheses))
    Path("hypotheses.txt").write_text("我去。\n")
    Path("references.txt").write_text("我走。\n")
    write_media(tmp_path / "talk.wav", sweep(200, 900, 2.0))
    Path("talks.jsonl").write_text("".join(blocks("docs/evaluating.md", "json")))
    for name in ("talk", "talk.theirs"):
        Path(f"{name}.txt").write_text("Good morning, today\nI want to talk about the sea.\n")
    Path("talk.references.txt").write_text("Good morning.\nToday I want\nto talk about the sea.\n")
    for name in "xyr":
        Path(f"{name}.txt").write_text("A line of words.\n")
    cue = "00:00:01.000 --> 00:00:03.000\n我去。\n"
    Path("talk.de.srt").write_text(f"1\n{cue}")
    Path("talk.zh.vtt").write_text(f"WEBVTT\n\n{cue}")
    return tmp_path


def test_the_commands_run_one_after_another(folder: Path) -> None:
    documented = commands("docs/evaluating.md")
    assert {command.split()[1] for command in documented} == {"evaluate", "report", "score", "compare", "published"}
    for start in ("voxlate score", "voxlate compare"):
        documented += commands("eval/README.md", start)
    for command in documented:
        assert run(command).exit_code == 0, command
    sentences = (folder / "scores/talks/fr-en/sentences.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in sentences] == ["talk#1", "talk#2"]
    assert (folder / "report/report.html").stat().st_size > 10_000
    assert json.loads((folder / "runs/whisper/fr-en/scores.json").read_text())["metrics"]["BLEU"]["value"] > 99


def test_every_published_table_names_its_checkpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is downloaded here: the command runs until it needs the checkpoint."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    (folder / "data/en-de").mkdir()
    text = (folder / "data/fr-en/test.jsonl").read_text().replace('"en"', '"de"').replace('"fr"', '"en"')
    (folder / "data/en-de/test.jsonl").write_text(text.replace("clip.wav", "../fr-en/clip.wav"))
    documented = commands("eval/README.md", "voxlate evaluate")
    assert len(documented) == 2
    for command in documented:
        words = command.split()
        with pytest.raises(VoxlateError, match=f"{words[words.index('--model') + 1]} is not on this machine"):
            run(command)


def test_every_option_of_eval_readme_is_in_the_help() -> None:
    names = ("evaluate", "score", "compare", "report")
    help_text = "".join(CliRunner().invoke(app, [name, "--help"]).stdout for name in names)
    code = re.findall(r"`(voxlate [^`]+|--[^`]+)`", prose("eval/README.md"))
    named = {option for text in code for option in re.findall(r"--[a-z-]+", text)}
    assert named - {"--sacrebleu-char-level", "--paired-bs"} <= set(re.findall(r"--[a-z-]+", help_text))
