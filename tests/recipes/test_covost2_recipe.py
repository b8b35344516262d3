"""recipes/covost2/run.sh on a micro corpus, from archives to a report, and a second run; the table of costs."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from micro_corpus import write_covost2
from paths import ROOT
from voxlate.config.schema import read_config

RECIPES = ROOT / "recipes/covost2"


def run(folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "HF_DATASETS_CACHE": str(folder / "cache"),
    }
    return subprocess.run(
        ["bash", RECIPES / "run.sh"], cwd=folder, env=environment | variables,
        capture_output=True, text=True, check=False, timeout=1200,
    )  # fmt: skip


@pytest.mark.slow
def test_from_archives_to_a_report(tmp_path: Path) -> None:
    write_covost2(tmp_path, utterances=40, pairs=("fr-en",), defects=False, layout="tar.gz")
    small = "optimizer.max_updates=3 optimizer.warmup_updates=1 data.batch_seconds=10"
    first = run(tmp_path, RECIPE="debug", SETTINGS=small, PIECES="20")
    assert first.returncode == 0, first.stderr[-2000:]
    assert (tmp_path / "runs/debug/averaged/model.safetensors").exists()
    rows = (tmp_path / "scores/debug/fr-en/sentences.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(rows) == len((tmp_path / "data/fr-en/test.jsonl").read_text(encoding="utf-8").splitlines())
    page = (tmp_path / "report/debug/tables.md").read_text(encoding="utf-8")
    assert all(row in page for row in ("XLSR-53", "XLS-R (0.3B)", "XLS-R (1B)", "XLS-R (2B)"))
    model = (tmp_path / "runs/debug/best/model.safetensors").stat().st_mtime_ns
    again = run(tmp_path, RECIPE="debug", SETTINGS=small, PIECES="20")
    assert again.returncode == 0, again.stderr[-2000:]
    assert (tmp_path / "runs/debug/best/model.safetensors").stat().st_mtime_ns == model


def test_an_unknown_recipe_is_an_error_with_suggestions(tmp_path: Path) -> None:
    write_covost2(tmp_path, utterances=5, pairs=("fr-en",), defects=False)
    result = run(tmp_path, RECIPE="fr-en-3b")
    assert result.returncode != 0
    assert "fr-en-3b.yaml: no such recipe; expected one of debug, en-de-300m," in result.stderr


def test_the_readme_lists_every_recipe_and_the_computed_costs() -> None:
    readme = (RECIPES / "README.md").read_text(encoding="utf-8")
    for path in RECIPES.glob("*.yaml"):
        assert f"| `{path.name}` |" in readme
        assert read_config(path).output_dir == Path("runs") / path.stem
    costs = subprocess.run(
        [sys.executable, ROOT / "eval/speed/cost.py"], capture_output=True, text=True, check=True
    ).stdout
    assert costs in readme
    cost = runpy.run_path(str(ROOT / "eval/speed/cost.py"))
    share, speed = f"{100 * cost['measured_share']():.1f} %", f"{cost['MEASURED_SPEED']:.0f} s of speech per second"
    scaling = (RECIPES / "scaling.md").read_text(encoding="utf-8")
    assert share in readme
    assert f"a share of {share}" in scaling
    assert speed in scaling
