"""The README's way from corpora to a new language, word for word, with tiny models for the published ones."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import Wav2Vec2Model
from typer.testing import CliRunner

from corpus import write_covost2
from preparing import mirror_of
from readme import COMMANDS, README
from tiny import write_encoder, write_mbart
from voxlate.cli import app
from voxlate.config.schema import TrainConfig

YAMLS = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)]
SMALL: dict[str, Any] = {
    "validation": {"every_updates": 1, "max_length": 6},
    "trainable": {"feature_encoder": False},
    "device": "cpu",
}


def commands(*names: str) -> list[list[str]]:
    found = [shlex.split(line)[1:] for line in COMMANDS if line.startswith("voxlate ")]
    return [words for words in found if words[0] in names]


def write_small(path: Path, settings: dict[str, Any], **model: str) -> None:
    """Write settings of the README with few updates, small batches, and other models."""
    TrainConfig.model_validate(settings)
    reduced = {
        **settings,
        **SMALL,
        "model": {**settings["model"], **model},
        "data": {**settings["data"], "batch_seconds": 3, "workers": 0, "batches_per_update": 1},
        "optimizer": {**settings["optimizer"], "updates": 2},
    }
    path.write_text(yaml.safe_dump(reduced), encoding="utf-8")


def test_the_commands_of_the_readme(tmp_path: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    write_covost2(tmp_path, pairs=("fr-en", "en-de", "en-cy"), utterances=20, defects=False)
    clips = sorted((tmp_path / "common_voice" / "en" / "clips").iterdir())
    rows = [f"{i}\t{clips[i % len(clips)]}\tspeaker {i}\ttext {i}" for i in range(40)]
    Path("table.tsv").write_text("\n".join(["id\taudio\tspeaker\ttarget_text", *rows]) + "\n")
    mirror_of(tmp_path / "covost2_mirror")
    Path("sentences.tsv").write_text("cy\ten\nBore da.\tGood morning.\nDiolch yn fawr.\tMany thanks.\n")
    codes = [
        (words[1], CliRunner().invoke(app, words, catch_exceptions=False).exit_code)
        for words in commands("prepare")
        if words[1] != "shortlist"  # tests/docs/test_readme.py has it
    ]
    assert codes == [("covost2", 0), ("manifest", 0), ("parquet", 1), ("spoken", 0), ("covost2", 0)]  # 1: broken clips
    manifests = ("data/fr-en/train", "data/en-de/test", "mine/train", "from_mirror/fr-en/dev", "synthetic/cy-en/train")
    for path in manifests:
        assert Path(f"{path}.jsonl").is_file()

    write_encoder(tmp_path / "encoder", Wav2Vec2Model)
    write_mbart(tmp_path / "mbart", vocabulary)
    run, welsh = YAMLS
    write_small(Path("fr-en.yaml"), run, encoder="encoder", decoder="mbart")
    write_small(Path("welsh.yaml"), welsh)
    more = shlex.split("prepare covost2 --common-voice common_voice --covost covost --pairs en-cy --output data")
    assert CliRunner().invoke(app, more, catch_exceptions=False).exit_code == 0
    outputs = []
    for words in commands("train", "average"):
        result = CliRunner().invoke(app, words, catch_exceptions=False)
        assert result.exit_code == 0, result.stderr
        outputs.append(result.stderr)
    assert len(outputs) == 4
    for folder in ("runs/fr-en/best", "runs/fr-en-lora/best", "runs/fr-en/averaged", "runs/welsh/best"):
        assert (tmp_path / folder / "config.json").is_file()
    assert "dev BLEU before and after" in outputs[-1]
