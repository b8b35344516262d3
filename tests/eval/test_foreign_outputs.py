"""`voxlate score` on hypotheses of other projects, and a report of them with their sentences."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from voxlate.cli import app
from voxlate.errors import VoxlateError

TEXTS = ["We are here to ask for a loan.", "Thank God you are here.", "We need to hurry."]
SAMPLES = ["19273358", "19273359", "19273360"]


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def references(tmp_path: Path) -> Path:
    languages = {"source_language": "pt", "target_language": "en", "split": "test"}
    rows = [
        {"id": f"pt-en/{n}", "audio": f"clips/common_voice_pt_{sample}.mp3", "target_text": text, **languages}
        for n, (sample, text) in enumerate(zip(SAMPLES, TEXTS, strict=True))
    ]
    return write_lines(tmp_path / "references.jsonl", rows)


def samples(texts: list[str], **changes: Any) -> list[dict[str, Any]]:
    """Return rows in the layout of hearing2translate's outputs, in another order than the references."""
    languages = {"src_lang": "pt", "tgt_lang": "en"}
    rows = [
        {"dataset_id": "covost2", "sample_id": sample, **languages, "output": text, **changes}
        for sample, text in zip(SAMPLES, texts, strict=True)
    ]
    return rows[::-1]


def scores(hypotheses: Path, references: Path, *others: str) -> dict[str, Any]:
    output = hypotheses.parent / "run/pt-en/scores.json"
    assert run("score", hypotheses, "--references", references, "--output", output, *others).exit_code == 0
    found: dict[str, Any] = json.loads(output.read_text())
    return found


def test_outputs_of_hearing2translate_are_joined_with_their_clips(tmp_path: Path, references: Path) -> None:
    hypotheses = write_lines(tmp_path / "pt-en.jsonl", samples(["We ask for a loan.", TEXTS[1], ""]))
    assert scores(hypotheses, references)["hypotheses"]["empty"]["n"] == 1
    rows = [json.loads(line) for line in (tmp_path / "run/pt-en/sentences.jsonl").read_text().splitlines()]
    assert [row["hypothesis"] for row in rows] == ["We ask for a loan.", TEXTS[1], ""]
    assert rows[1]["chrF"] == 100
    with pytest.raises(VoxlateError, match=r"target languages differ: en \(the references\), de \(the hypotheses\)"):
        scores(write_lines(tmp_path / "de.jsonl", samples(TEXTS, tgt_lang="de")), references)
    with pytest.raises(VoxlateError, match=r"3: output is a list, expected text$"):
        scores(write_lines(tmp_path / "bad.jsonl", [*samples(TEXTS)[:2], *samples(TEXTS, output=[])[:1]]), references)
    with pytest.raises(VoxlateError, match=r"1 clips have no hypothesis: clips/common_voice_pt_19273358.mp3"):
        scores(write_lines(tmp_path / "two.jsonl", samples(TEXTS)[:2]), references)


@pytest.mark.parametrize("name", ["model-outputs-pt-en.txt", "outputs.tsv"])
def test_model_outputs_of_seamless_have_the_order_of_the_data(tmp_path: Path, references: Path, name: str) -> None:
    header = "ref_tgt_text\tpred_tgt_text\tpred_tgt_audio\n"
    lines = [f"{text}\t{text.lower()}\tout/{n}_pred.wav\n" for n, text in enumerate(TEXTS)]
    hypotheses = tmp_path / name
    hypotheses.write_text(header + "".join(lines))
    assert scores(hypotheses, references)["n"] == 3
    hypotheses.write_text(header + "".join(lines[::-1]))
    with pytest.raises(VoxlateError, match=r"line 2 has the reference 'We need to hurry.', the references have 'We"):
        scores(hypotheses, references)
    hypotheses.write_text(header + "x\ty\n")
    with pytest.raises(VoxlateError, match=rf"{name}:2: 2 columns, expected 3 as in the first line$"):
        scores(hypotheses, references)


def test_a_report_of_plain_text_has_its_sentences(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    (tmp_path / "h.txt").write_text("".join(f"{text[2:]}\n" for text in TEXTS))
    scores(tmp_path / "h.txt", tmp_path / "r.txt", "--target-language", "en")
    assert run("report", tmp_path / "run", "--output", tmp_path / "report").exit_code == 0
    assert "pt→en" in (tmp_path / "report/tables.md").read_text()
    assert "line 3" in (tmp_path / "report/report.html").read_text()


def test_sentences_are_next_to_scores_of_any_name(tmp_path: Path, references: Path) -> None:
    hypotheses = write_lines(tmp_path / "h.jsonl", samples(TEXTS))
    done = run("score", hypotheses, "--references", references, "--metrics", "bleu", "--output", tmp_path / "x.json")
    assert done.stderr.endswith(f"wrote {tmp_path / 'x.json'} and {tmp_path / 'x.sentences.jsonl'}\n")
    assert "chrF" not in json.loads((tmp_path / "x.json").read_text())["metrics"]
    assert len((tmp_path / "x.sentences.jsonl").read_text().splitlines()) == 3


def test_published_systems_are_listed() -> None:
    table = run("published").stdout
    row = next(line for line in table.splitlines() if line.startswith("XLS-R (0.3B) "))
    assert re.split("  +", row) == [
        "XLS-R (0.3B)",
        "0.317B enc + 0.459B dec",
        "CoVoST-2",
        "21 X→en, 15 en→X",
        "13.2 X→en, 23.2 en→X",
    ]
    some = run("published", "fr-en", "canary").stdout
    assert "\nCanary-1b-v2 " in some
    assert "XLS-R" not in some
    assert "40.5 X→en of 11, 32.3 en→X of 5" in some
    with pytest.raises(VoxlateError, match=r"^no published system for 'fr-en' 'zzz'; voxlate published lists all"):
        run("published", "fr-en", "zzz")
