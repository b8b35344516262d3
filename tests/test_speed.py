"""The benchmark scripts: published sizes to the parameter, and both sides of the comparison run."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from media import sine, write_media
from voxlate.models.interop import load_checkpoint, save_checkpoint

SPEED = Path(__file__).resolve().parents[1] / "eval" / "speed"


@pytest.mark.parametrize(("size", "millions"), [("300m", 792.989), ("1b", 1441.362), ("2b", 2638.779)])
def test_full_size_models_have_the_published_number_of_parameters(size: str, millions: float) -> None:
    with torch.device("meta"):
        model = runpy.run_path(str(SPEED / "build_full_size.py"))["build"](size)
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=5e-4)


def test_memory_is_measured_on_both_sides(tiny_model: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(tiny_model)
    save_checkpoint(tmp_path / "model", checkpoint.model, checkpoint.tokenizer, checkpoint.targets)
    clip = write_media(tmp_path / "clip.wav", sine(300, 1.0))
    command = [
        sys.executable,
        str(SPEED / "memory.py"),
        str(tmp_path / "model"),
        str(clip),
        "--runs",
        "1",
        "--max-length",
        "8",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["voxlate", "transformers"]
    assert all(0.1 < float(line.split()[1]) < 4 for line in result.stdout.splitlines())
