"""The script that makes a teacher's translations: every id once, tags, a second run."""

import importlib.util
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
    model.final_logits_bias[0, 8:12] = 9.0  # it says something
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
    options = ["--max-length", 6, "--batch-size", 3, "--beam", 2, "--device", "cpu"]
    first = run(*command, *options)
    assert first.returncode == 0, first.stderr
    assert "4 translations, 0 already done" in first.stderr
    taught = read_teacher([output])
    assert taught.keys() == {"a0", "a1", "a2", "a3"}
    assert any(taught.values())
    lines = output.read_text().splitlines(keepends=True)
    output.write_text("".join(lines[:2]) + lines[2][:9])  # as a killed run leaves it
    again = run(*command, *options)
    assert "2 translations, 2 already done" in again.stderr
    assert read_teacher([output]) == taught


@pytest.mark.parametrize(
    ("stated", "said", "expected"),
    [
        ({}, (None, None), {"num_beams": 5, "max_new_tokens": 200}),
        ({"num_beams": 3, "max_length": 40}, (None, None), {"num_beams": 3}),
        ({"num_beams": 3, "max_length": 40}, (2, 9), {"num_beams": 2, "max_new_tokens": 9}),
    ],
)
def test_what_is_not_said_is_what_the_model_states(
    folder: Path, stated: dict[str, int], said: tuple[int, int], expected: dict[str, int], tmp_path: Path
) -> None:
    model = shutil.copytree(folder / "mbart", tmp_path / "mbart")
    config = json.loads((model / "generation_config.json").read_text())
    (model / "generation_config.json").write_text(json.dumps(config | stated))
    loader = importlib.util.spec_from_file_location("teacher", ROOT / "recipes/distillation/teacher.py")
    assert loader is not None
    assert loader.loader is not None
    script = importlib.util.module_from_spec(loader)
    loader.loader.exec_module(script)
    teacher = script.Teacher(str(model), None, None, "cpu")
    asked: dict[str, object] = {}

    def generate(**settings: object) -> list[list[int]]:
        asked.update(settings)
        return [[2]]

    teacher._network.generate = generate
    teacher.translate(["coffee"], *said)
    assert {name: asked.get(name) for name in ("num_beams", "max_new_tokens") if name in asked} == expected


def test_a_tag_that_the_model_lacks_and_a_text_that_is_missing(folder: Path, tmp_path: Path) -> None:
    command = ["--model", folder / "mbart", "--output", tmp_path / "out.jsonl"]
    result = run(folder / "train.jsonl", *command, "--to-tag", "xx_XX")
    assert "--to-tag xx_XX" in result.stderr
    assert "has no such tag; expected one of its tokenizer" in result.stderr
    (tmp_path / "bare.jsonl").write_text(json.dumps({"id": "b", "audio": str(folder / "a.wav")}) + "\n")
    assert "b has no source_text; a teacher translates nothing else" in run(tmp_path / "bare.jsonl", *command).stderr


def test_the_options_of_the_readme_exist() -> None:
    readme = (ROOT / "recipes/distillation/README.md").read_text(encoding="utf-8")
    [command] = re.findall(r"^python recipes/distillation/teacher.py (.*?)^voxlate", readme, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"--[a-z-]+", command)) <= set(re.findall(r"--[a-z-]+", run("--help").stdout))
