"""COMET, XCOMET and MetricX exchange files with commands that have the interfaces of comet-score and metricx24."""

import sys
from pathlib import Path

import pytest

from voxlate_eval import EvaluationError
from voxlate_eval.metrics import make_metric, statistics

COMET = """#!{python}
import json, sys
given = dict(zip(sys.argv[2::2], sys.argv[3::2]))
if given["--model"] == "broken":
    sys.exit("no such model")
rows = [[line.rstrip() for line in open(given[name], encoding="utf-8")] for name in ("-s", "-t", "-r")]
scores = [{{"COMET": 1.0 if hypothesis == reference else 0.5}} for _, hypothesis, reference in zip(*rows)]
json.dump({{given["-t"]: scores}}, open(given["--to_json"], "w"))
"""


@pytest.fixture
def comet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command with the interface of comet-score."""
    command = tmp_path / "comet-score"
    command.write_text(COMET.format(python=sys.executable))
    command.chmod(0o755)
    monkeypatch.setenv("VOXLATE_COMET", str(command))
    return command


@pytest.mark.usefixtures("comet")
def test_comet_runs_as_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = make_metric("comet", "de")
    sums = statistics(metric, ["a", "b\nc"], ["a", "b"], ["x", "y"])
    assert metric.value(sums.sum(axis=0)) == 75.0
    assert metric.signature == "nrefs:1|model:Unbabel/wmt22-comet-da"
    with pytest.raises(
        EvaluationError, match="COMET needs the transcript of every clip; give references with a source"
    ):
        statistics(metric, ["a", "b"], ["a", "b"], ["x", ""])
    monkeypatch.setenv("VOXLATE_COMET_MODEL", "broken")
    with pytest.raises(EvaluationError, match=r"comet-score failed \(no such model\); run it yourself for details"):
        statistics(make_metric("comet", "de"), ["a"], ["a"], ["x"])


def test_the_message_about_missing_comet_has_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOXLATE_COMET", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        EvaluationError, match=r"^COMET: no command comet-score; install it into an environment of its own"
    ):
        make_metric("comet", "de")


@pytest.mark.usefixtures("comet")
def test_xcomet_is_another_model_of_the_same_command(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = make_metric("xcomet", "de")
    sums = statistics(metric, ["a", "c"], ["a", "b"], ["x", "y"])
    assert (metric.name, metric.value(sums.sum(axis=0))) == ("XCOMET", 75.0)
    assert metric.signature == "nrefs:1|model:Unbabel/XCOMET-XL"
    monkeypatch.setenv("VOXLATE_XCOMET_MODEL", "broken")
    with pytest.raises(EvaluationError, match=r"comet-score failed \(no such model\); .* or omit XCOMET$"):
        statistics(make_metric("xcomet", "de"), ["a"], ["a"], ["x"])
    monkeypatch.setenv("VOXLATE_COMET_GPUS", "all")
    with pytest.raises(EvaluationError, match=r"^VOXLATE_COMET_GPUS is 'all', expected the number of GPUs"):
        make_metric("xcomet", "de")


def test_scores_that_are_not_one_number_for_each_sentence_are_errors(
    comet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for written in ('{"x": [{"COMET": 1.0}]}', '{"x": [{"COMET": null}, {"COMET": 1}]}', "[]", "{", '{"x": 5}'):
        comet.write_text(f"#!{sys.executable}\nimport sys\nopen(sys.argv[-1], 'w').write({written!r})\n")
        with pytest.raises(
            EvaluationError, match=r"comet-score wrote \d scores, expected one number for each of 2 sen"
        ):
            statistics(make_metric("comet", "de"), ["a", "b"], ["a", "b"], ["x", "y"])


METRICX = """#!{python}
import json, os, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2])) if sys.argv[1] != "-m" else dict(zip(sys.argv[3::2], sys.argv[4::2]))
assert given["--tokenizer"] == "google/mt5-" + given["--model_name_or_path"].split("-")[3], given
with open(given["--output_file"], "w") as file:
    for line in open(given["--input_file"]):
        row = json.loads(line)
        assert row["source"] in ("x", "")
        print(json.dumps(row | {{"prediction": 0.5 if row["hypothesis"] == row["reference"] else 4.5}}), file=file)
"""


def test_metricx_runs_in_its_clone_or_as_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOXLATE_METRICX", raising=False)
    with pytest.raises(
        EvaluationError, match=r"^MetricX: VOXLATE_METRICX is not set, expected the folder of its clone"
    ):
        make_metric("metricx", "de")
    command = tmp_path / "metricx/venv/bin/python"
    command.parent.mkdir(parents=True)
    command.write_text(METRICX.format(python=sys.executable))
    command.chmod(0o755)
    for value in (command, tmp_path / "metricx"):
        monkeypatch.setenv("VOXLATE_METRICX", str(value))
        metric = make_metric("metricx", "de")
        sums = statistics(metric, ["a\nb", "c"], ["a\nb", "b"], ["x", "x"])
        assert metric.value(sums.sum(axis=0)) == 2.5
        assert not metric.higher_is_better
        assert statistics(metric, ["a"], ["a"]).tolist() == [[0.5, 1.0]]
    monkeypatch.setenv("VOXLATE_METRICX_MODEL", "google/metricx-24-hybrid-xxl-v2p6")
    xxl = make_metric("metricx", "de")
    monkeypatch.setenv("VOXLATE_METRICX_MODEL", "google/metricx-24-hybrid-large-v2p6")
    for made, size in ((xxl, "xxl"), (make_metric("metricx", "de"), "large")):
        assert made.signature == f"nrefs:1|model:google/metricx-24-hybrid-{size}-v2p6"
    command.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(EvaluationError, match=r"/python failed \(it wrote nothing\); .* or omit MetricX$"):
        statistics(metric, ["a"], ["a"])
