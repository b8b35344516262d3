"""Manifests, settings, models and names that failed in the past; each case has a README with the expected result."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cases import CLIPS, MODEL, OPERATION, Case, translate, voxlate


@pytest.mark.parametrize("manifest", ["a.jsonl", "b.jsonl", "b2.jsonl", "nul.jsonl", "d.parquet"])
@pytest.mark.parametrize("command", ["prepare", "evaluate"])
def test_rows_of_manifests(case: Case, manifest: str, command: str) -> None:
    case.open("26-manifests")
    arguments = (
        ("prepare", "manifest", manifest, "--output", "o.jsonl")
        if command == "prepare"
        else ("evaluate", "--model", MODEL, "--data", manifest, "--output", "out")
    )
    result = voxlate(*arguments)
    assert result.code in (0, 1, 2)
    if result.code == 2:
        assert manifest in result.stderr


@pytest.mark.parametrize(
    ("voice", "covost", "file"),
    [("cv", "covost", "de"), ("cvu", "covost", "validated.tsv"), ("cv", "covost_bad", "covost_v2.de_en.tsv")],
)
def test_headers_that_are_not_utf8(case: Case, voice: str, covost: str, file: str) -> None:
    case.open("29-tsv-header")
    result = voxlate(
        "prepare", "covost2", "--common-voice", voice, "--covost", covost, "--pairs", "de-en", "--output", "o"
    )
    assert result.code == 2
    assert "not UTF-8" in result.stderr
    assert file in result.stderr


def test_yaml_whose_anchors_multiply(case: Case) -> None:
    case.open("30-yaml-bomb")
    result = voxlate("train", "bomb.yaml")
    assert result.code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert len(result.stderr) < 1000


def test_resuming_on_other_data(case: Case) -> None:
    folder = case.open("14-resume-other-data")
    train = folder / "allp.jsonl"
    rows = [json.loads(line) for line in (folder / "clean.jsonl").read_text(encoding="utf-8").splitlines()]
    train.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    settings = ("d.yaml", "optimizer.max_updates=2", "data.batch_seconds=5", "data.batches_per_update=1")
    assert voxlate("train", *settings).code == 0
    train.write_text("".join(json.dumps({**row, "target_text": "No."}) + "\n" for row in rows), encoding="utf-8")
    result = voxlate("train", *settings)
    assert result.code == 2
    assert "allp.jsonl" in result.stderr


def test_a_lora_adapter_as_model(case: Case, tmp_path: Path) -> None:
    case.open("21-model-messages")
    adapter = tmp_path / "lora"
    adapter.mkdir()
    settings = {"peft_type": "LORA", "base_model_name_or_path": "no/such-model", "r": 4, "target_modules": ["q_proj"]}
    (adapter / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (adapter / "adapter_model.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
    result = voxlate("translate", CLIPS / "es-18.flac", "--model", adapter, "--to", "en")
    assert result.code == 2
    assert "adapter" in result.stderr
    assert "no weights" not in result.stderr


def test_weights_that_are_not_numbers(case: Case, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    case.open("21-model-messages")
    folder = tmp_path / "nanw"
    shutil.copytree(MODEL, folder)
    weights = load_file(folder / "model.safetensors")
    next(value for name, value in weights.items() if name.endswith("fc1.weight")).fill_(float("nan"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    result = voxlate("translate", CLIPS / "es-18.flac", "--model", folder, "--to", "en", "--dtype", "float32")
    assert result.code in (1, 2)
    assert "try float32" not in result.stderr
    assert "weights" in result.stderr


def test_lower_case_of_ctc_tokenizers(case: Case) -> None:
    folder = case.open("22-lower-case")
    environment = {**os.environ, "C": str(CLIPS)}
    script = [sys.executable, "-W", "ignore", "mk.py"]
    subprocess.run(script, env=environment, capture_output=True, check=True, timeout=300)
    result = voxlate("transcribe", CLIPS / "es-18.flac", "--model", folder / "lower")
    expected = re.sub(r"<.*?>", "", (folder / "lower.expected").read_text(encoding="utf-8"))  # special tokens
    assert (result.code, result.stdout) == (0, f"{expected}\n")


def test_long_names_and_carriage_returns(case: Case) -> None:
    folder = case.open("23-names")
    long = folder / f"{'x' * 250}.flac"
    shutil.copy(CLIPS / "de-28.flac", long)
    for code_text in (("1 translated", f"{OPERATION}\n"), None):
        result = translate(long.name, "--output-dir", "o")
        assert result.code == 0
        if code_text is not None:
            [output] = (folder / "o").glob("*.en.txt")
            assert output.read_text(encoding="utf-8") == code_text[1]
    shutil.copy(CLIPS / "de-28.flac", folder / "a\rb.flac")
    rows = translate("a\rb.flac", "--format", "tsv").stdout.splitlines()
    assert len(rows) == 2
    assert rows[1].endswith(OPERATION)
