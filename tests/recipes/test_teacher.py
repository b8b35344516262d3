"""The teacher script translates every source text once, with the right tags, and resumes."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import transformers

from media import sine, write_media
from paths import ROOT
from teacher import Teacher
from tiny import write_mbart, write_tokenizer_json
from voxlate.data.corpus import read_teacher

TEXTS = ["the train leaves at seven", "how much does it cost", "we would like bread", "coffee"]


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, ROOT / "recipes/distillation/teacher.py", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, vocabulary: Path) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    model = write_mbart(folder / "mbart", vocabulary)
    model.final_logits_bias[0, 8:12] = 9.0  # so that it generates some text
    model.save_pretrained(folder / "mbart")
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(write_tokenizer_json(folder / "tokenizer.json", vocabulary)),
        unk_token="<unk>", pad_token="<pad>", eos_token="</s>", bos_token="<s>",
    )  # fmt: skip
    tokenizer.save_pretrained(folder / "mbart")
    write_media(folder / "a.wav", sine(440, 0.5))
    rows = [{"id": f"a{number}", "audio": "a.wav", "source_text": text} for number, text in enumerate(TEXTS)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_every_text_is_translated_once(folder: Path) -> None:
    output = folder / "teacher.jsonl"
    command = [folder / "train.jsonl", "--model", folder / "mbart", "--output", output, "--to-tag", "de_DE"]
    options = ["--max-length", 6, "--batch-size", 3, "--beam-size", 2, "--device", "cpu"]
    first = run(*command, *options)
    assert first.returncode == 0, first.stderr
    assert "4 translations, 0 already done" in first.stderr
    taught = read_teacher([output])
    assert taught.keys() == {"a0", "a1", "a2", "a3"}
    assert any(taught.values())
    lines = output.read_text().splitlines(keepends=True)
    output.write_text("".join(lines[:2]) + lines[2][:9])  # the state after a run was killed
    again = run(*command, *options)
    assert "2 translations, 2 already done" in again.stderr
    assert read_teacher([output]) == taught


@pytest.mark.parametrize(
    ("config", "arguments", "expected"),
    [
        ({}, (None, None), {"num_beams": 5, "max_new_tokens": 200}),
        ({"num_beams": 3, "max_length": 40}, (None, None), {"num_beams": 3}),
        ({"num_beams": 3, "max_length": 40}, (2, 9), {"num_beams": 2, "max_new_tokens": 9}),
    ],
)
def test_arguments_override_the_models_generation_config(
    folder: Path,
    config: dict[str, int],
    arguments: tuple[int, int],
    expected: dict[str, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = shutil.copytree(folder / "mbart", tmp_path / "mbart")
    generation_config = json.loads((model / "generation_config.json").read_text())
    (model / "generation_config.json").write_text(json.dumps(generation_config | config))
    passed: dict[str, object] = {}

    def generate(_: object, **settings: object) -> list[list[int]]:
        passed.update(settings)
        return [[2]]

    monkeypatch.setattr(transformers.MBartForConditionalGeneration, "generate", generate)
    Teacher(str(model), None, None, "cpu").translate(["coffee"], *arguments)
    assert {name: passed[name] for name in ("num_beams", "max_new_tokens") if name in passed} == expected


def test_unknown_tags_and_missing_source_texts_are_errors(folder: Path, tmp_path: Path) -> None:
    command = ["--model", folder / "mbart", "--output", tmp_path / "out.jsonl"]
    result = run(folder / "train.jsonl", *command, "--to-tag", "xx_XX")
    assert "--to-tag xx_XX" in result.stderr
    assert "has no such tag; expected a language tag of its tokenizer" in result.stderr
    (tmp_path / "bare.jsonl").write_text(json.dumps({"id": "b", "audio": str(folder / "a.wav")}) + "\n")
    assert "b has no source_text, which the teacher translates" in run(tmp_path / "bare.jsonl", *command).stderr


def test_the_options_in_the_readme_exist() -> None:
    readme = (ROOT / "recipes/distillation/README.md").read_text(encoding="utf-8")
    [command] = re.findall(r"^python recipes/distillation/teacher.py (.*?)^voxlate", readme, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"--[a-z-]+", command)) <= set(re.findall(r"--[a-z-]+", run("--help").stdout))
