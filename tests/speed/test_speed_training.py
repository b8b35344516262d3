"""The training benchmarks run at tiny sizes and print all documented results."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from paths import ROOT

pytestmark = pytest.mark.slow

SPEED = ROOT / "eval" / "speed"


def run(script: str, *arguments: str) -> list[str]:
    command = [sys.executable, str(SPEED / script), *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(SPEED.parent), os.environ.get("PYTHONPATH", "")])}
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=environment)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_training_is_measured_on_both_sides(vocabulary: Path) -> None:
    sizes = ["--width", "32", "--convolution-width", "8", "--encoder-layers", "1", "--decoder-layers", "1"]
    counts = ["--clips", "12", "--rounds", "1", "--updates", "2", "--batch-size", "4"]
    lines = run("training.py", "--vocabulary", str(vocabulary), "data.batch_seconds=15", *sizes, *counts)
    speeds = {line[:16].strip(): float(line[16:].split()[0]) for line in lines if "audio-s/s" in line}
    assert speeds.keys() == {"voxlate", "defaults", "best, batch 4"}
    assert all(speed > 0 for speed in speeds.values())
    parts = [line for line in lines if line.endswith("%")]
    assert [line.split("  ")[1] for line in parts][:4] == [
        "data and the rest",
        "front end",
        "projection",
        "encoder layers",
    ]
    assert 95 <= sum(int(line.split()[-1][:-1]) for line in parts) <= 105


def test_preparing_and_batching_are_measured(vocabulary: Path) -> None:
    lines = run("data.py", "--vocabulary", str(vocabulary), "--clips", "6", "--rounds", "1")
    assert [line.split("  ")[0] for line in lines[1:3]] == ["prepare", "prepare --transcode flac"]
    assert len([line for line in lines if line.startswith("batches, ")]) == 4
    planned, mixed = (float(share) for share in re.findall(r"([\d.]+)%", lines[-1]))
    assert planned < 10 < mixed  # in percent


def test_the_loss_needs_less_memory_and_learns_the_same() -> None:
    lines = run("loss_memory.py", "--tokens", "1024", "--vocabulary-size", "60000", "--width", "64")
    assert [line.split()[0] for line in lines] == ["voxlate", "plain", "plain", "loss", "states", "weight"]
    assert float(lines[2].split()[3]) > 1  # 4.5 at full size, where a chunk is small compared with all logits
    for line in lines[3:]:
        assert float(line.split()[3]) < 1e-5
