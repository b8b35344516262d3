"""The benchmark scripts: models have the published number of parameters, and both sides of each comparison run."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import SeamlessM4Tv2Config

from m2m100_models import SEAMLESS
from media import sine, write_media
from paths import ROOT
from voxlate.checkpoints.model_folder import load_checkpoint, save_checkpoint

pytestmark = pytest.mark.slow

SPEED = ROOT / "eval" / "speed"


@pytest.mark.parametrize(
    ("size", "millions"),
    [("300m", 792.989), ("1b", 1441.362), ("2b", 2638.779), ("seamless-v2-large", 1501.978)],
)
def test_full_size_models_have_the_published_number_of_parameters(size: str, millions: float) -> None:
    with torch.device("meta"):
        model = runpy.run_path(str(SPEED / "build_full_size.py"))["build"](size)
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=5e-4)


@pytest.fixture(scope="module")
def model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model saved by voxlate, with its language token ids."""
    checkpoint, folder = load_checkpoint(tiny_model), tmp_path_factory.mktemp("speed") / "model"
    save_checkpoint(folder, checkpoint.model, checkpoint.tokenizer, checkpoint.targets)
    return folder


def run(script: str, *arguments: object) -> list[str]:
    command = [sys.executable, str(SPEED / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout.splitlines()


def test_translation_is_measured_on_all_sides_and_the_texts_are_the_same(model: Path) -> None:
    common = ["--clips", 5, "--rounds", 1, "--max-length", 9]
    lines = run("translation.py", model, *common, "--batch-size", 2, "--float32", "--int8")
    assert lines[0].startswith("5 clips, ")
    sides = ["voxlate", "voxlate, profiled", "voxlate, int8", "voxlate, float32", "transformers, as on its model card"]
    for side in [*sides, "transformers, tuned, 2"]:
        [line] = [line for line in lines if line.startswith(f"{side:36}")]
        assert float(line[36:].split()[0]) > 0
    assert "same texts as voxlate, float32: 100% transformers, as on its model card" in lines


def test_seamless_is_measured_too(tmp_path: Path) -> None:
    builder = runpy.run_path(str(SPEED / "build_full_size.py"))
    config = SeamlessM4Tv2Config(**SEAMLESS | {"vocab_size": 201 + 98 + 3})
    torch.manual_seed(1)
    builder["save_seamless"](tmp_path / "model", builder["build_seamless"](config), pieces=200)
    lines = run("translation.py", tmp_path / "model", "--clips", 3, "--rounds", 1, "--max-length", 7, "--batch-size", 2)
    for side in ("voxlate", "transformers, as on its model card", "transformers, tuned, 2"):
        [line] = [line for line in lines if line.startswith(f"{side:36}")]
        assert float(line[36:].split()[0]) > 0


def test_the_minimum_work_of_a_translation_is_counted() -> None:
    count_work = runpy.run_path(str(SPEED / "roofline.py"))["count_work"]
    stages = count_work("300m", np.array([4.0, 6.0]), tokens=18, beam=5, pool=64, width_bytes=2)
    # 24 layers of 12.6M weights process 50 frames per second; the convolutions take 4.9 GFLOP per second of audio.
    assert stages["encoder and adapter"].flops == pytest.approx(2 * 24 * 12.58e6 * 500 + 10 * 4.9e9, rel=0.1)
    assert stages["output layer"].flops == 2 * 2 * 5 * 18 * 1024 * 250_054
    assert stages["output layer"].bytes == 18 * 2 * 1024 * 250_054
    assert stages["decoder"].seconds(1e12, 1e10) == pytest.approx(18 * 2 * 12 * 14 * 1024**2 / 1e10, rel=0.05)
    lines = run("roofline.py", "--clips", 2)
    assert lines[-1].startswith("at best ")


def test_time_and_memory_are_measured_by_number_of_files(model: Path) -> None:
    lines = run("scaling.py", model, "--to", "de", "--counts", 3, "--hours", 0.02, "--rows", 2000)
    assert [line.split("  ")[0] for line in lines[:2]] == ["3 clips", "0.02 hours in one file"]
    for line, unit in zip(lines[:2], ("ms per clip", "s per hour"), strict=True):
        cost, mebibytes, descriptors, rerun_seconds = (float(number) for number in re.findall(r" ([\d.]+) ", line[22:]))
        assert unit in line
        assert cost > 1
        assert 50 < mebibytes < 4000
        assert 3 <= descriptors < 200
        assert 0.1 < rerun_seconds < 600
    assert lines[2].startswith("manifest of 2,000 rows: ")
    assert "'sampled rows': 2000" in lines[2]


def test_start_up_is_measured(model: Path, tmp_path: Path) -> None:
    lines = run("startup.py", model, write_media(tmp_path / "clip.wav", sine(300, 1.0)), "--runs", 1)
    assert len(lines) == 7
    assert all(0.005 < float(line[36:].split()[0]) < 600 for line in lines)


def test_memory_is_measured_on_both_sides(model: Path, tmp_path: Path) -> None:
    lines = run("memory.py", model, write_media(tmp_path / "clip.wav", sine(300, 1.0)), "--runs", 1, "--max-length", 8)
    assert [line.split()[0] for line in lines] == ["voxlate", "transformers"]
    assert all(0.1 < float(line.split()[1]) < 4 for line in lines)


def test_decoding_is_measured_in_a_thread_and_in_processes() -> None:
    lines = run("decoding.py", "--counts", 2, 5, "--workers", 1, 2, "--rounds", 1)
    sides = ["thread", "default", "1 process", "2 processes"]
    assert [line[15:27].strip() for line in lines] == sides * 2
    assert all(float(line[27:].split()[0]) > 0 for line in lines)
    assert lines[0].endswith(" 1.00 times the thread's speed")
