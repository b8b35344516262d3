"""eval/speed/gpu.sh runs from end to end on a CPU with a tiny model, so that it will on a GPU, and fails readably."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from paths import ROOT

pytestmark = pytest.mark.slow

STAGES = {
    "rates", "parity_with_cpu", "parity_with_transformers", "translation", "transformers", "training", "trainer",
    "latency", "busy", "roofline", "other_sizes", "training_busy", "training_compiled",
    "training_bfloat16_weights",
}  # fmt: skip


def run(*arguments: object, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = ["bash", str(ROOT / "eval/speed/gpu.sh"), "--work", str(folder / "work"), *map(str, arguments)]
    environment = os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=environment)


def test_the_whole_script_runs_on_a_cpu(tmp_path: Path) -> None:
    output = tmp_path / "result" / "gpu.json"
    done = run("--quick", "--device", "cpu", "--output", output, folder=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == str(output)
    result = json.loads(output.read_text())
    assert (result["card"], result["size"], result["quick"]) == ("CPU", "tiny", True)
    assert result["stage_seconds"].keys() == STAGES
    assert result["parity_with_cpu"]["differing from CPU"]["cpu, float32"] == 0
    assert result["parity_with_transformers"] == {"clips": 3, "differing": 0}
    assert result["translation"]["batch default, beam 5"]["speed"] > 0
    assert result["transformers"]["batch 4, beam 5"]["speed"] > 0
    assert result["transformers"]["voxlate is as fast, times"]["batch default, beam 1"] > 0
    assert result["training"]["batch_seconds=15.0"]["loss"] > 0
    assert result["training"]["batch_seconds=auto"]["batch_seconds"] == 120
    assert result["other_sizes"]["tiny"]["speed"] > 0
    assert result["training_bfloat16_weights"]["as fast as autocast, times"] > 0
    assert result["trainer"]["voxlate is as fast, times"]["batch_seconds=15.0"] > 0
    assert result["latency"]["beam 5"]["median_ms"] > 0
    assert result["busy"]["busy_share"] is None  # there are no kernels on a CPU
    assert result["training_busy"]["host_waits"]["aten::_local_scalar_dense"] > 0


def test_a_failed_stage_is_reported_and_the_others_run(tmp_path: Path) -> None:
    missing = tmp_path / "missing.jsonl"
    stages = ["--stages", "rates", "parity_with_cpu"]
    done = run("--device", "cpu", *stages, "--parity-data", missing, "--output", tmp_path / "o.json", folder=tmp_path)
    assert done.returncode == 1
    assert f"failed: parity_with_cpu; {tmp_path / 'o.json'} has the errors" in done.stderr
    result = json.loads((tmp_path / "o.json").read_text())
    assert "missing.jsonl" in result["parity_with_cpu"]["error"]
    assert result["rates"]["reading, GB/s"] > 0
