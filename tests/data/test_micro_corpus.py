"""A small corpus in the layout of CoVoST-2, with defects: from archives to translations with the README's commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from micro_corpus import PAIRS, WORDS, write_covost2
from toy import log, settings, write_settings, write_vocabulary

SHORT = ["fr-en", "de-en", "zh-en", "en-de", "en-sv"]


def voxlate(folder: Path, *arguments: str, expected: int = 0) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, "-m", "voxlate", *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_DATASETS_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert result.returncode == expected, result.stderr
    return result


def test_prepare_train_average_translate(tmp_path: Path) -> None:
    voice, covost = write_covost2(tmp_path, utterances=40)
    common = ["--common-voice", str(voice), "--covost", str(covost), "--output", "data"]
    prepared = voxlate(tmp_path, "prepare", "covost2", *common, "--pairs", ",".join(PAIRS), expected=1)
    assert "35 clips failed; see the rows' errors and drops.json" in prepared.stderr
    rows = {pair: len((tmp_path / "data" / pair / "train.jsonl").read_text().splitlines()) for pair in SHORT}
    assert min(rows.values()) >= 24
    drops = json.loads((tmp_path / "data" / "fr-en" / "drops.json").read_text())
    assert "not in validated.tsv" in json.dumps(drops)

    write_vocabulary(tmp_path / "sentencepiece.bpe.model")
    raw = settings(
        tmp_path,
        output_dir="run",
        data={
            "train": [f"data/{pair}/train.jsonl" for pair in SHORT],
            "dev": [f"data/{pair}/dev.jsonl" for pair in SHORT],
            "batch_seconds": 15,
            "sampling_temperature": 2,
            "num_workers": 1,
        },
        loss={"ctc_weight": 0.3, "label_smoothing": 0.0},
        optimizer={"max_updates": 120, "lr": 5e-3, "lr_scheduler": "linear", "warmup_updates": 10},
        validation={"every_updates": 60, "max_length": 12},
        checkpoints={"every_updates": 40},
    )
    trained = voxlate(tmp_path, "train", str(write_settings(tmp_path / "micro.yaml", raw)), "log_every=10")
    losses = [line["loss"] for line in log(tmp_path / "run")]
    assert losses[-1] < losses[0] / 3
    for pair in SHORT:
        assert pair in trained.stderr
    dev = log(tmp_path / "run", "dev")[-1]["directions"]
    assert {pair: dev[pair]["utterances"] for pair in SHORT} == {
        pair: len((tmp_path / "data" / pair / "dev.jsonl").read_text().splitlines()) for pair in SHORT
    }
    assert all(dev[pair]["failed"] >= 2 for pair in SHORT)  # a missing clip and an empty one: counted, not dropped

    voxlate(tmp_path, "average", "run")
    clip = next(path for path in sorted((voice / "de" / "clips").iterdir()) if path.stat().st_size > 1000)
    for model in ("run/best", "run/averaged"):
        text = voxlate(tmp_path, "translate", str(clip), "--model", model, "--to", "en", "--no-vad").stdout
        assert set(text.split()) & set(WORDS["en"])


def test_transformers_loads_a_trained_model(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from rich.console import Console

    from toy import write_toy
    from voxlate.config.schema import TrainConfig
    from voxlate.training.train import train

    write_vocabulary(tmp_path / "sentencepiece.bpe.model")
    write_toy(tmp_path, "train", 8)
    raw = settings(tmp_path, optimizer__max_updates=2, trainable={"preset": "lora"}, loss__ctc_weight=0.3)
    assert train(TrainConfig(**raw), Console(quiet=True)) == 0
    model, report = transformers.SpeechEncoderDecoderModel.from_pretrained(
        tmp_path / "run" / "best", output_loading_info=True
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.generation_config.num_beams == 5
