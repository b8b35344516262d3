"""The demo's stages at reduced size: sentences, speech, manifests, vocabulary, training, scores, and a second run."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ablations import table as ablations
from card import table
from paths import ROOT
from voxlate import Translator

pytestmark = pytest.mark.slow

ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
}
README = (ROOT / "recipes/demo/README.md").read_text(encoding="utf-8")


def run(folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", ROOT / "recipes/demo/run.sh"],
        cwd=folder,
        env=ENVIRONMENT | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("demo")
    [line] = re.findall(r"^(TRAIN=[^`]*) \\\n  bash recipes/demo/run.sh$", README, re.MULTILINE)
    variables = dict(word.split("=", 1) for word in shlex.split(line))
    result = run(folder, **variables)
    assert result.returncode == 0, result.stderr[-2000:]
    return folder, variables


def test_all_stages_from_phrases_to_scores(finished: tuple[Path, dict[str, str]]) -> None:
    folder, _ = finished
    scores: dict[str, Any] = json.loads((folder / "model/scores.json").read_text(encoding="utf-8"))
    assert [*scores["sets"]] == ["test", "test-babble", "test-voices", "test-voices-babble"]
    for name, found in scores["sets"].items():
        assert [*found] == ["ca-en", "de-en", "es-en", "fr-en", "it-en", "en-ca", "en-de", "en-fr"]
        for direction, numbers in found.items():
            assert numbers["n"] == 2
            rows = (folder / "scores" / name / direction / "sentences.jsonl").read_text(encoding="utf-8").splitlines()
            assert [row["reference"] for row in map(json.loads, rows)] == [
                json.loads(row)["target_text"]
                for row in (folder / name / direction / "test.jsonl").read_text(encoding="utf-8").splitlines()
            ]
    assert [*scores["signatures"]] == ["BLEU", "chrF"]
    assert scores["signatures"]["BLEU"][0].startswith("nrefs:1|case:mixed|eff:no|tok:13a")
    card = (folder / "model/README.md").read_text(encoding="utf-8")
    assert "{" not in card
    assert table(scores) in card
    assert Translator(folder / "model").checkpoint.targets.keys() == {"ca", "de", "en", "fr"}
    tables = (folder / "report/tables.md").read_text(encoding="utf-8")
    assert "| direction | test | test-babble | test-voices | test-voices-babble |" in tables
    assert "mean of these 5 X→en" in tables
    assert scores["recipe"]["weights_sha256"]
    assert json.loads((folder / "run/best/languages.json").read_text(encoding="utf-8"))["targets"].keys() == {
        "ca",
        "de",
        "en",
        "fr",
    }


def test_a_second_run_resumes(finished: tuple[Path, dict[str, str]]) -> None:
    folder, variables = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.flac")}
    weights = (folder / "run/best/model.safetensors").read_bytes()
    result = run(folder, **variables)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "finished at update 4" in result.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.flac")} == before
    assert (folder / "run/best/model.safetensors").read_bytes() == weights


def test_the_ablations_run(finished: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder, _ = finished
    small = {
        "UPDATES": "1",
        "SEEDS": "1",
        "SETTINGS": "optimizer.warmup_updates=1",
        "OPTIONS": "base distilled mbr",
        "ONE_IN": "2",
    }
    result = subprocess.run(
        ["bash", ROOT / "recipes/demo/ablations.sh"],
        cwd=folder, env=ENVIRONMENT | small, capture_output=True, text=True, check=False, timeout=1200,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    rows = [line.split("|")[1].strip() for line in result.stdout.splitlines() if line.startswith("| ")]
    assert rows[1] == "base"
    assert {*rows[2:]} == {"distilled", "mbr"}


def test_the_table_of_ablations_has_intervals(tmp_path: Path) -> None:
    values = {"base-1": 50.0, "base-2": 60.0, "base-3": 55.0, "other-1": 52.0, "other-2": 61.0, "other-3": 58.0}
    for run, value in values.items():
        for direction, change in (("fr-en", 1.0), ("en-de", -1.0)):
            (tmp_path / run / direction).mkdir(parents=True)
            found = {"metrics": {"BLEU": {"value": value + change}}}
            (tmp_path / run / direction / "scores.json").write_text(json.dumps(found))
    assert ablations(tmp_path).splitlines()[2:] == ["| base | 55.0 | | 3 |", "| other | 57.0 | +2.0 ± 2.5 | 3 |"]
