"""`voxlate report` on untrusted run folders: damaged, from other tools, or trying to read other files."""

import base64
import csv
import io
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from media import sine, write_media
from runs import edit_scores, write_run
from voxlate.cli import app
from voxlate.errors import VoxlateError
from voxlate.evaluation.playable_audio import is_playable
from voxlate_eval import EvaluationError
from voxlate_eval.examples import read_examples
from voxlate_eval.formats import as_csv, as_latex, as_markdown
from voxlate_eval.page_clips import PageClips
from voxlate_eval.report import write_report
from voxlate_eval.tables import make_tables, read_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("made") / "run", ["de-en"], rows=3)


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "run")


def edit_sentences(run: Path, edit: Callable[[list[dict[str, Any]]], object]) -> None:
    path = run / "de-en/sentences.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    edit(rows)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def sentences(run: Path, clips: PageClips) -> tuple[list[dict[str, Any]], str]:
    found = read_examples([read_run(run)], clips, 10)
    return found.sets[0]["rows"], found.note


class TestClips:
    """A file is shown only if it is audio below an allowed folder."""

    @pytest.fixture
    def home(self, tmp_path: Path, run: Path) -> Path:
        (tmp_path / "data/clips").mkdir(parents=True)
        (tmp_path / "private").mkdir()
        clip = write_media(tmp_path / "data/clips/good.wav", sine(440, 0.1))
        write_media(tmp_path / "private/call.wav", sine(440, 0.1))
        (tmp_path / "private/passwd").write_text("root:x:0:0\n")
        (tmp_path / "data/clips/text.wav").write_text("root:x:0:0\n")
        (tmp_path / "data/clips/link.wav").symlink_to(tmp_path / "private/call.wav")
        (tmp_path / "data/clips/suffix.txt").write_bytes(clip.read_bytes())
        os.mkfifo(tmp_path / "data/clips/pipe.wav")
        manifest = tmp_path / "data/de-en/test.jsonl"
        manifest.parent.mkdir()
        manifest.write_text("")
        edit_scores(run, "de-en", files={"references": str(manifest)})
        return tmp_path

    def shown(self, home: Path, name: str, clips: PageClips) -> tuple[str | None, str]:
        edit_sentences(home / "run", lambda rows: rows[0].update(audio=name))
        rows, note = sentences(home / "run", clips)
        return rows[0].get("audio"), note

    def test_audio_of_the_data_set_is_embedded_or_linked(self, home: Path) -> None:
        clip = home / "data/clips/good.wav"
        found, _ = self.shown(home, str(clip), PageClips(home / "report", 1 << 20, (), is_playable))
        assert found is not None
        assert base64.b64decode(found.partition("base64,")[2]) == clip.read_bytes()
        found, note = self.shown(
            home, str(home / "data/de-en/../clips/good.wav"), PageClips(home / "report", 0, (), is_playable)
        )
        assert found == "../data/clips/good.wav"
        assert "1 clips are links to the original files" in note
        assert self.shown(home, str(clip), PageClips(None, 0, (), is_playable))[0] is None
        assert self.shown(home, str(clip), PageClips(home / "report", 1 << 20))[0] is None

    @pytest.mark.parametrize("embed_bytes", [0, 1 << 20])
    @pytest.mark.parametrize(
        "name",
        [
            "private/passwd",
            "private/call.wav",
            "data/../private/call.wav",
            "data/clips/link.wav",
            "data/clips/text.wav",
            "data/clips/suffix.txt",
            "data/clips/pipe.wav",
            "data/clips",
            "data/clips/missing.wav",
            "data/clips/good.wav\0",
            "x" * 5000,
        ],
    )
    def test_other_files_are_not_shown(self, home: Path, name: str, embed_bytes: int) -> None:
        clips = PageClips(home / "report", embed_bytes, (), is_playable)
        assert self.shown(home, f"{home}/{name}", clips)[0] is None

    def test_a_folder_can_be_allowed(self, home: Path) -> None:
        name = str(home / "private/call.wav")
        found, note = self.shown(home, name, PageClips(home / "report", 1 << 20, (), is_playable))
        assert found is None
        assert (
            "1 clips are left out because they are outside the folders of the manifests; --clips FOLDER allows" in note
        )
        assert f"such as {home / 'private'}" in note
        allowed = PageClips(home / "report", 1 << 20, [home / "private"], is_playable)
        assert str(self.shown(home, name, allowed)[0]).startswith("data:audio/")
        with pytest.raises(VoxlateError, match=r"^--clips nowhere: no such folder$"):
            CliRunner().invoke(
                app, ["report", str(home / "run"), "--output", "x", "--clips", "nowhere"], catch_exceptions=False
            )

    @pytest.mark.parametrize("manifest", ["/", "/etc/passwd", "de-en/test.jsonl", "\0", "", "missing.jsonl"])
    def test_an_invalid_manifest_allows_nothing(self, home: Path, manifest: str) -> None:
        edit_scores(home / "run", "de-en", files={"references": manifest})
        clips = PageClips(home / "report", 1 << 20, (), is_playable)
        assert self.shown(home, str(home / "data/clips/good.wav"), clips)[0] is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"id": "a", "reference": "cut o',
            r"sentences.jsonl:4: not JSON \(Unterminated string .*rerun voxlate evaluate",
        ),
        ("[1]", r"sentences.jsonl:4: is a list, expected one object"),
        ('{"id": "a", "reference": ["x"], "hypothesis": "", "chrF": 1}', r":4: reference is a list, expected text"),
        ('{"id": "a", "reference": "", "hypothesis": "", "chrF": "1"}', r":4: chrF is text, expected a number"),
        ('{"id": "a", "reference": "", "hypothesis": "", "chrF": NaN}', r":4: not JSON \(NaN is not a JSON number\)"),
        ('{"id": "a", "reference": "", "hypothesis": "", "chrF": 1e999}', r":4: not JSON \(1e999 is too large"),
        ('{"id": "a", "reference": "", "hypothesis": ""}', r":4: chrF is missing"),
        ('{"id": "\\ud800", "reference": "", "hypothesis": "", "chrF": 1}', r":4: not JSON \(unpaired surrogate"),
        ("[" * 100_000, r":4: not JSON \(nested too deeply\)"),
        (
            '{"audio": 5, "id": 1, "reference": "", "hypothesis": "", "chrF": 1}',
            r":4: audio is a number, expected text",
        ),
    ],
)
def test_damaged_sentences_are_reported(run: Path, line: str, message: str) -> None:
    path = run / "de-en/sentences.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + line, encoding="utf-8")
    with pytest.raises(EvaluationError, match=message) as caught:
        sentences(run, PageClips(None, 0))
    assert "\n" not in str(caught.value)


def test_sentences_in_another_encoding(run: Path) -> None:
    (run / "de-en/sentences.jsonl").write_bytes(b'{"id": "\xff"}\n')
    with pytest.raises(
        EvaluationError, match=r"sentences.jsonl:1: not UTF-8 \(byte 8 of the line\); rerun voxlate evaluate"
    ):
        sentences(run, PageClips(None, 0))


def test_integers_are_accepted_as_ids(run: Path) -> None:
    edit_sentences(run, lambda rows: [row.update(id=number, speaker=7) for number, row in enumerate(rows)])
    rows, _ = sentences(run, PageClips(None, 0))
    assert [(row["id"], row["speaker"]) for row in rows] == [("0", "7"), ("1", "7"), ("2", "7")]


@pytest.mark.parametrize(
    "changes",
    [
        {"metrics": {"BLEU": None}},
        {"metrics": {"BLEU": {"value": "31", "low": 1.0, "high": 2.0, "signature": "s"}}},
        {"metrics": {"chrF": {"value": 1.0, "low": 1.0, "high": 2.0, "signature": "s"}}},
        {"metrics": []},
        {"n": "3"},
        {"n": True},
        {"n": -1},
        {"direction": 5},
        {"direction": ""},
        {"target_language": ["en"]},
        {"hypotheses": {}},
        {"breakdown": {"duration": [{"group": 3, "n": 1}]}},
        {"breakdown": {"duration": [{"group": "a", "n": 1, "BLEU": None}]}},
        {"recipe": []},
        {"recipe": {"deep": json.loads("[" * 200 + "]" * 200)}},
        {"official_n": 10**400},
        {"files": {"references": 5}},
        {"splitt": "test"},
    ],
)
def test_scores_of_the_wrong_type_are_reported(run: Path, changes: dict[str, Any]) -> None:
    edit_scores(run, "de-en", **changes)
    with pytest.raises(
        EvaluationError, match=r"de-en/scores.json: not scores of voxlate evaluate with BLEU \(.*\); score"
    ):
        read_run(run)


@pytest.mark.parametrize("text", [b"", b"{", b"null", b"\xff\xfe{\0", b"{}" * 2, b'{"n": NaN}', b"\0" * 100])
def test_scores_that_are_not_json_are_reported(run: Path, text: bytes) -> None:
    (run / "de-en/scores.json").write_bytes(text)
    with pytest.raises(
        EvaluationError, match=r"de-en/scores.json: not scores of voxlate evaluate with BLEU \(.*\); score"
    ):
        read_run(run)


def test_a_direction_in_two_folders_is_an_error(run: Path) -> None:
    (run / "copy").mkdir()
    (run / "copy/scores.json").write_bytes((run / "de-en/scores.json").read_bytes())
    with pytest.raises(
        EvaluationError, match=r"de-en/scores.json: direction de-en is also in another folder of .*once$"
    ):
        read_run(run)


NAMES = [  # for a run's folder or a direction
    "=1+1",
    "+1",
    "-1",
    "@a",
    "\t=1",
    "\r=1",
    "$x^{2}$",
    "_hidden",
    "[1cm]",
    "a\nb",
    "*",
    "<script>",
    "\\input{/etc/passwd}",
    "![a](http://b)",
    "$\\frac{",
    "https://x.y",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_escaped_in_every_format(run: Path, tmp_path: Path, name: str) -> None:
    edit_scores(run, "de-en", direction=name)
    moved = run.rename(tmp_path / name.replace("/", "∕"))
    tables = make_tables([moved], [])
    rows = list(csv.reader(io.StringIO(as_csv(tables), newline="")))
    for row in rows[1:]:
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)
        assert row[0].removeprefix("'") == " ".join(name.split())
    body = as_latex(tables).split(r"\midrule")[1]
    assert "\\input" not in body
    assert not body.lstrip().startswith(("[", "*"))
    assert "\r" not in as_latex(tables)
    markdown = as_markdown(tables)
    assert "<script>" not in markdown
    assert "](" not in re.sub(r"\\.", "", markdown)
    assert "s://x" not in markdown
    assert all(line.count(" | ") == 1 for line in markdown.splitlines() if line.startswith("| "))


def test_a_page_with_such_names_is_rendered_and_runs_nothing(run: Path, tmp_path: Path) -> None:
    for number, name in enumerate(NAMES):
        shutil.copytree(run / "de-en", run / str(number))
        edit_scores(run, str(number), direction=name)
    moved = run.rename(tmp_path / "$_<script>")
    [*_, page] = write_report([moved], tmp_path / "report", [])
    text = page.read_text(encoding="utf-8")
    assert text.count("<script") == 2  # the page's own data and program
    assert "&lt;script&gt;" in text


def test_an_interval_without_its_value_is_plotted(run: Path, tmp_path: Path) -> None:
    bleu = {"value": 5.0, "low": 9.0, "high": 1.0, "signature": "s"}
    edit_scores(run, "de-en", metrics={"BLEU": bleu})
    assert write_report([run], tmp_path / "report", [])[0].is_file()
