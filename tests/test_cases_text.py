"""Texts, tables, scores and reports that failed in the past; each case has a README with the expected result."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cases import Case, voxlate


def test_chinese_segments_are_joined_without_spaces(case: Case) -> None:
    folder = case.open("15-cjk-join")
    script = subprocess.run([sys.executable, "join.py"], capture_output=True, text=True, check=True, timeout=120)
    assert script.stdout == "'我们明天去北京。他说你好。'\n"
    (folder / "joined.txt").write_text(
        (folder / "zj.txt").read_text(encoding="utf-8").replace(" ", ""), encoding="utf-8"
    )
    result = voxlate("score", "joined.txt", "--references", "zr.txt", "--target-language", "zh")
    assert result.code == 0
    assert "100.00" in result.stdout


def test_own_output_is_scored(case: Case) -> None:
    case.open("16-own-output-scored")
    result = voxlate("score", "tr.txt", "--references", "trr.txt", "--target-language", "en")
    assert result.code == 0
    assert "100.00" in result.stdout


def test_a_table_that_pandas_wrote(case: Case) -> None:
    case.open("17-pandas-tsv")
    result = voxlate("prepare", "manifest", "pd.tsv", "--output", "pd_out.jsonl")
    if result.code == 0:
        rows = [json.loads(line) for line in Path("pd_out.jsonl").read_text(encoding="utf-8").splitlines()]
        assert rows[0]["target_text"] == 'He said "yes" today.' or "quotes" in result.stderr
    else:
        assert "quote" in result.stderr
        assert "pd.tsv" in result.stderr


def test_parquet_of_paths(case: Case) -> None:
    case.open("18-parquet-paths")
    result = voxlate("prepare", "parquet", "path", "--pair", "es-en", "--output", "out")
    assert "out/clips/es/c1.flac" not in result.stderr  # an unknown name
    [path] = {row["path"] for row in pq.read_table("path")["audio"].to_pylist()}
    errors = [json.loads(line).get("error") for line in Path("out/es-en/test.jsonl").read_text().splitlines()]
    assert result.code == (1 if any(errors) else 0)
    assert all(error is None or path in error for error in errors)


def test_no_is_norwegian(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    case.open("19-yaml-norwegian")
    result = voxlate("train", "no.yaml")
    assert result.code == 0
    assert "line 5: no is read as text ('no')" in caplog.text  # other readers of YAML need the quotes
    assert json.loads(Path("runNo/best/languages.json").read_text(encoding="utf-8"))["targets"].keys() >= {"no"}


def test_columns_of_other_tools_are_named(case: Case) -> None:
    case.open("20-other-columns")
    given = ("fs.tsv", "--output", "o.jsonl", "--source-language", "es", "--target-language", "en")
    refused = voxlate("prepare", "manifest", *given)
    assert refused.code == 2
    assert "tgt_text" in refused.stderr
    allowed = voxlate("prepare", "manifest", *given, "--allow", "target_text")
    assert allowed.code == 0
    assert "tgt_text" in allowed.stderr
    assert "n_frames" in allowed.stderr


def test_arabic_in_a_report(case: Case) -> None:
    folder = case.open("25-rtl-report")
    assert voxlate("report", "run", "--output", "rep").code == 0
    assert 'dir="auto"' in (folder / "rep" / "report.html").read_text(encoding="utf-8")


def test_a_report_of_a_file_that_was_cut_off(case: Case) -> None:
    case.open("27-report-inputs")
    result = voxlate("report", "run", "--output", "rep")
    assert result.code == 2
    assert re.search(r"sentences\.jsonl:\d+", result.stderr)


@pytest.mark.parametrize("hypotheses", ["h.jsonl", "deep.jsonl"])
def test_lists_where_a_text_belongs(case: Case, hypotheses: str) -> None:
    case.open("28-score-inputs")
    result = voxlate("score", hypotheses, "--references", "r.jsonl")
    assert result.code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert len(result.stderr) < 1000
