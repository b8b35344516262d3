"""The commands that README.md and eval/README.md give for evaluation run as they stand, on small data."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from media import sweep, write_media
from paths import ROOT
from voxlate.cli import app
from voxlate.errors import VoxlateError

TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "eval/README.md")}


def commands(name: str, *beginnings: str) -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", TEXTS[name], re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith(beginnings)]


@pytest.fixture
def home(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that the commands name."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_model, "runs/fr-en/best")
    Path("data/fr-en").mkdir(parents=True)
    clip = write_media(tmp_path / "data/fr-en/clip.wav", sweep(200, 900, 0.5))
    languages = {"source_language": "fr", "target_language": "en", "split": "test", "audio": clip.name}
    rows = [{"id": str(number), "target_text": f"The number here is {number}.", **languages} for number in range(3)]
    Path("data/fr-en/test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for system in ("ours", "theirs", "whisper"):
        made = [{"id": str(number), "text": f"The number here is {number}."} for number in range(3)]
        Path(f"{system}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    Path("hypotheses.txt").write_text("我去。\n")
    Path("references.txt").write_text("我走。\n")
    for name in "xyr":
        Path(f"{name}.txt").write_text("A line of words.\n")
    return tmp_path


def test_the_readmes_commands_run_one_after_the_other(home: Path) -> None:
    given = commands("README.md", "voxlate evaluate", "voxlate report", "voxlate score", "voxlate compare")
    assert {words[0] for words in given} == {"evaluate", "report", "score", "compare"}
    for words in [*given, *commands("eval/README.md", "voxlate score", "voxlate compare")]:
        done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert done.exit_code == 0, words
    assert (home / "report/report.html").stat().st_size > 10_000
    assert json.loads((home / "runs/whisper/fr-en/scores.json").read_text())["metrics"]["BLEU"]["value"] > 99


def test_every_published_table_names_its_checkpoint(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is downloaded here: a command is taken as far as the checkpoint that it wants."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home))
    (home / "data/en-de").mkdir()
    text = (home / "data/fr-en/test.jsonl").read_text().replace('"en"', '"de"').replace('"fr"', '"en"')
    (home / "data/en-de/test.jsonl").write_text(text.replace("clip.wav", "../fr-en/clip.wav"))
    given = commands("eval/README.md", "voxlate evaluate")
    assert len(given) == 2
    for words in given:
        with pytest.raises(VoxlateError, match=f"{words[words.index('--model') + 1]} is not on this machine"):
            CliRunner().invoke(app, words, catch_exceptions=False)


def test_every_option_in_the_prose_is_in_the_help() -> None:
    help_text = "".join(
        CliRunner().invoke(app, [command, "--help"]).stdout for command in ("evaluate", "score", "compare", "report")
    )
    prose = re.sub(r"^```.*?^```$", "", TEXTS["eval/README.md"], flags=re.MULTILINE | re.DOTALL)
    named = {
        option for code in re.findall(r"`(voxlate [^`]+|--[^`]+)`", prose) for option in re.findall(r"--[a-z-]+", code)
    }
    assert named - {"--sacrebleu-char-level"} <= set(re.findall(r"--[a-z-]+", help_text))
