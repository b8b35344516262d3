"""The page about files has every field that is written."""

import json
import re
import shutil
from pathlib import Path

import pytest

from documentation import blocks, read, run
from paths import DEMO
from voxlate.decoding.journal import JOURNAL_NAME
from voxlate.decoding.results import Candidate, Segment, SpanResult
from voxlate.decoding.segment_journal import SegmentJournal
from voxlate.manifest.utterance import COLUMNS

PAGE = "docs/reference/files.md"
MODEL = f"--model {DEMO / 'model'}"


def fields(heading: str) -> set[str]:
    """Return the fields in the first table of a section, or in the table whose first cell is `heading`."""
    text = read(PAGE)
    table = text[text.index(heading) :]
    table = table[table.index("|---|---|") :].partition("\n\n")[0]
    return set(re.findall(r"^\| `([\w.]+)` \|", table, re.MULTILINE))


def json_lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_fields_of_manifests() -> None:
    assert fields("## Manifests") == {*COLUMNS}
    [example] = blocks(PAGE, "json")
    assert example.strip() in (DEMO / "clips/clips.jsonl").read_text(encoding="utf-8")


def test_the_fields_of_results_and_of_their_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(DEMO / "clips/en-63.flac", "talk.flac")
    options = f"--to de --format json,srt --bilingual --output-dir out {MODEL}"
    assert run(f"voxlate translate talk.flac {options}").exit_code == 0
    result = json.loads(Path("out/talk.flac.de.json").read_text(encoding="utf-8"))
    assert fields("## Results in json") == {*result}
    [segment] = result["segments"]
    assert {*segment} <= fields("| field of a segment |") <= {*segment, "warnings"}
    journal = json_lines(Path("out") / JOURNAL_NAME)
    assert fields("| field of the journal |") == {*journal[-1]}
    assert {*journal[0]} == {"place", "input"}


def test_the_fields_of_the_journal_of_a_recording(tmp_path: Path) -> None:
    journal = SegmentJournal(tmp_path / ".talk.de.jsonl", "origin", print)
    journal.add_spans([(0, 16)], 16)
    journal.add((0, 16), SpanResult((Segment(0.0, 1.0, (Candidate("Ja.", -0.1),)),)))
    lines = json_lines(tmp_path / ".talk.de.jsonl")
    assert fields("| field of a line |") == {name for line in lines for name in line}


def test_the_fields_of_hypotheses_and_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    row = next(row for row in json_lines(DEMO / "clips/clips.jsonl") if row["target_language"] == "de")
    shutil.copy(DEMO / f"clips/{row['audio']}", str(row["audio"]))
    Path("test.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert run(f"voxlate evaluate {MODEL} --data test.jsonl --output scores").exit_code == 0
    [hypothesis] = json_lines(Path("scores/en-de/hypotheses.jsonl"))
    documented = fields("| field of a hypothesis |")
    assert {"id", "text"} <= {*hypothesis} <= documented
    scores = json.loads(Path("scores/en-de/scores.json").read_text(encoding="utf-8"))
    assert fields("| field of scores.json |") == {*scores}
    assert all(f"`{name}`" in read(PAGE) for name in scores["metrics"]["BLEU"])
