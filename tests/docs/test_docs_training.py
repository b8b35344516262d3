"""From corpora to a new language, by the commands of README.md, docs/data.md and docs/training.md, word for word.

Tiny models take the place of the published ones.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from transformers import Wav2Vec2Model

from corpus_layouts import write_europarl_st, write_fleurs, write_librispeech, write_talks
from documentation import blocks, commands, run
from local_hub import serve_hub
from m2m100_models import write_nllb
from micro_corpus import write_covost2
from paths import ROOT
from preparing import mirror_of
from tiny import write_encoder, write_kind, write_mbart
from toy import write_toy
from voxlate.checkpoints.model_folder import load_checkpoint
from voxlate.config.schema import TrainConfig, read_config
from voxlate.training.train import train

# Corpora in their own layouts, by command: what writes them, the folder in the documentation, and further arguments.
LAYOUTS: dict[str, Any] = {
    "must-c": (write_talks, "MUST-C"),
    "mtedx": (write_talks, "mTEDx", ["es-en", "es-es"], ["train", "valid", "test"], ".flac"),
    "europarl-st": (write_europarl_st, "europarl-st/v1.1"),
    "fleurs": (write_fleurs, "google-fleurs"),
    "librispeech": (write_librispeech, "LibriSpeech"),
}
SMALL: dict[str, Any] = {
    "validation": {"every_updates": 1, "max_length": 6},
    "trainable": {"feature_encoder": False},
    "device": "cpu",
}


def write_small(path: Path, settings: dict[str, Any], **model: str) -> None:
    """Write documented settings with few updates, small batches, and other models."""
    TrainConfig.model_validate(settings)
    reduced = {
        **settings,
        **SMALL,
        "model": {**settings["model"], **model},
        "data": {**settings["data"], "batch_seconds": 3, "num_workers": 0, "batches_per_update": 1},
        "optimizer": {**settings["optimizer"], "max_updates": 2},
    }
    path.write_text(yaml.safe_dump(reduced), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with small corpora, and with tiny models under the names `encoder` and `mbart`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    write_covost2(tmp_path, pairs=("fr-en", "en-de", "en-cy"), utterances=20, defects=False)
    write_encoder(tmp_path / "encoder", Wav2Vec2Model)
    write_mbart(tmp_path / "mbart", vocabulary)
    return tmp_path


def test_the_commands_of_the_data_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = sorted((folder / "common_voice" / "en" / "clips").iterdir())
    rows = [f"{i}\t{clips[i % len(clips)]}\tspeaker {i}\ttext {i}" for i in range(40)]
    Path("table.tsv").write_text("\n".join(["id\taudio\tspeaker\ttarget_text", *rows]) + "\n")
    others = [f"{clip},translation {i}" for i, clip in enumerate(clips)]
    Path("others.csv").write_text("\n".join(["path,translation", *others]) + "\n")
    mirror_of(folder / "covost2_mirror")
    Path("sentences.tsv").write_text("cy\ten\nBore da.\tGood morning.\nDiolch yn fawr.\tMany thanks.\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)  # small corpora need no processes
    for write, name, *arguments in LAYOUTS.values():
        write(folder / name, *arguments)
    *prepare, vocabulary = commands("docs/data.md")
    hub_files = mirror_of(folder / "hub").joinpath("fr_en").rename(folder / "hub" / "de_en").parent
    with serve_hub({("fixie-ai/covost2", "main"): hub_files}, monkeypatch):
        codes = [(command.split()[2], run(command).exit_code) for command in prepare]
    expected = {
        "covost2": [1, 0, 0],
        **{name: [1] for name in LAYOUTS},
        "manifest": [0, 0],
        "parquet": [1],
        "spoken": [0],
        "statistics": [0],
    }  # 1: broken clips
    assert {name: [code for other, code in codes if other == name] for name, _ in codes} == expected
    manifests = ["data/de-en/test", "data/fr-en/train", "data/en-de/test", "mine/train", "from_mirror/fr-en/dev"]
    manifests += ["must-c/en-de/tst-COMMON", "mtedx/es-es/valid", "europarl/en-de/dev", "fleurs/en-de/test"]
    manifests += ["librispeech/en-en/test-clean", "synthetic/cy-en/train"]
    for path in manifests:
        assert Path(f"{path}.jsonl").is_file()
    small = vocabulary.replace("--size 8000", "--size 30")  # the texts of this corpus have no more pieces
    assert small != vocabulary
    assert run(small).exit_code == 0
    assert Path("sentencepiece.bpe.model").is_file()
    assert Path("statistics.svg").is_file()


def test_the_commands_of_the_readme_and_the_training_page(folder: Path) -> None:
    settings, welsh = blocks("docs/training.md", "yaml")
    write_small(Path("fr-en.yaml"), yaml.safe_load(settings), encoder="encoder", decoder="mbart")
    write_small(Path("welsh.yaml"), yaml.safe_load(welsh))
    shutil.copy(next((folder / "common_voice/fr/clips").glob("*.mp3")), "talk.mp3")

    chain = commands("README.md", "voxlate")[-5:]
    assert [command.split()[1] for command in chain] == ["prepare", "train", "translate", "evaluate", "report"]
    for command in chain:
        assert run(command).exit_code == 0, command
    assert (folder / "report/tables.md").is_file()

    assert run(chain[0].replace("fr-en", "en-cy")).exit_code == 0
    outputs = []
    for command in commands("docs/training.md"):
        result = run(f"{command} --hours 0.01" if "train-segmenter" in command else command)
        assert result.exit_code == 0, result.stderr
        outputs.append(result.stderr)
    assert len(outputs) == 6
    assert [*(folder / "runs/fr-en").glob("*/README.md")]
    for name in ("runs/fr-en/best", "runs/fr-en-lora/best", "runs/fr-en/averaged", "runs/welsh/best"):
        assert (folder / name / "config.json").is_file()
    assert "dev BLEU before and after" in outputs[-1]
    assert (folder / "runs/fr-en/best/segmenter.safetensors").is_file()


def test_the_warm_start_of_the_models_page(tmp_path: Path) -> None:
    write_kind(tmp_path / "encoder", "w2v-BERT 2.0")
    write_nllb(tmp_path / "nllb")
    manifest = write_toy(tmp_path, "train", 16)
    [command] = commands("docs/models.md", "voxlate train")
    _, _, recipe, *settings = command.split()
    names = {"output_dir": "run", "model.encoder": "encoder", "model.decoder": "nllb"}
    small = [f"{key}={tmp_path / name}" for key, name in names.items()]
    small += [f"data.train=[{manifest}]", f"data.dev=[{manifest}]", "data.batch_seconds=2", "data.num_workers=0"]
    small += ["optimizer.max_updates=2", "optimizer.warmup_updates=1", "optimizer.hold_updates=0", "sharded=false"]
    small += ["trainable.freeze_encoder_updates=1", "validation.max_length=8", "precision=float32", "device=cpu"]
    config = read_config(ROOT / recipe, [*settings, *small])
    assert config.model.adapter == "conformer"
    assert train(config, Console(quiet=True)) == 0
    [saved] = [path for path in (tmp_path / "run").glob("*/model.safetensors") if "frozen" not in str(path)]
    checkpoint = load_checkpoint(saved.parent)
    assert checkpoint.targets == {"en": checkpoint.tokenizer.tag_id("eng_Latn")}
    assert checkpoint.model.state_seconds == pytest.approx(0.16)
