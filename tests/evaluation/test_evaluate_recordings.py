"""``voxlate evaluate`` on recordings: cut into segments as by translate, resegmented to the references, and scored."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evaluating import lines, record_translated, run
from media import sweep, write_media
from recordings import Recording, demo_sentences, record
from voxlate import SegmentationOptions, Translator
from voxlate.cli import app
from voxlate.errors import VoxlateError
from voxlate.search_options import SearchOptions

SENTENCES = ["The  first.", "A second one? ", "Third!"]


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Twelve spoken sentences with long pauses."""
    return record(demo_sentences(12), "fr", pauses=[1.5] * 12)


@pytest.fixture
def data(tmp_path: Path, recording: Recording) -> Path:
    """A manifest with a clip, a recording, and a recording that is not audio."""
    folder = tmp_path / "fr-en"
    folder.mkdir()
    write_media(folder / "0.wav", sweep(200, 900, 0.6))
    write_media(folder / "talk.wav", recording.waveform_T)
    (folder / "broken.wav").write_bytes(b"no audio")
    common = {"source_language": "fr", "target_language": "en", "split": "test"}
    rows = [
        {"id": "talk", "audio": "talk.wav", "target_text": SENTENCES, "source_text": ["Un", "Deux", "Trois"], **common},
        {"id": "clip", "audio": "0.wav", "target_text": "The 0", **common},
        {"id": "broken", "audio": "broken.wav", "target_text": ["One.", "Two."], **common},
    ]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_every_sentence_is_a_scored_line(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    done = run(tiny_model, data, tmp_path / "out")
    assert done.exit_code == 1  # one recording failed
    folder = tmp_path / "out/fr-en"
    made = {row["id"]: row for row in lines(folder / "hypotheses.jsonl")}
    assert [*made] == ["talk", "clip", "broken"]
    translator = Translator(tiny_model, dtype="float32", device="cpu")
    options = SearchOptions(beam_size=2, max_length=12, max_repeats=None)
    talk = translator.translate(data / "fr-en/talk.wav", to="en", options=options)
    assert len(talk.segments) >= 3
    assert made["talk"]["text"] == talk.text
    sentences = lines(folder / "sentences.jsonl")
    assert [(row["id"], row["reference"]) for row in sentences] == [
        *((f"talk#{number}", text) for number, text in enumerate(SENTENCES, 1)),
        ("clip", "The 0"),
        ("broken#1", "One."),
        ("broken#2", "Two."),
    ]
    assert " ".join(row["hypothesis"] for row in sentences[:3]).split() == talk.text.split()
    assert [row.get("source") for row in sentences[:4]] == ["Un", "Deux", "Trois", None]
    assert [("audio" in row, "error" in row) for row in sentences] == [
        *[(False, False)] * 3,
        (True, False),
        *[(False, True)] * 2,
    ]
    scores = json.loads((folder / "scores.json").read_text())
    assert (scores["n"], scores["official_n"], scores["hypotheses"]["failed"]["n"]) == (6, None, 2)
    assert scores["recipe"]["resegmentation"]["recordings"] == 2
    assert scores["metrics"]["BLEU"]["signature"].endswith("|reseg:softsegmenter.words.1")


def test_a_report_shows_the_sentences(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    run(tiny_model, data, tmp_path / "out")
    command = ["report", tmp_path / "out", "--output", tmp_path / "report"]
    assert CliRunner().invoke(app, [*map(str, command)], catch_exceptions=False).exit_code == 0
    assert '"talk#2"' in (tmp_path / "report/report.html").read_text()
    assert "|reseg:softsegmenter" in (tmp_path / "report/tables.md").read_text().replace("\\", "")


def test_an_interrupted_evaluation_is_resumed(
    tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tiny_model, data, tmp_path / "whole")
    expected = (tmp_path / "whole/fr-en/hypotheses.jsonl").read_bytes()
    record_translated(monkeypatch, stop_after=1)
    assert run(tiny_model, data, tmp_path / "out").exit_code == 130
    translated = record_translated(monkeypatch)
    run(tiny_model, data, tmp_path / "out")
    assert 0 < len(translated) < 3
    assert (tmp_path / "out/fr-en/hypotheses.jsonl").read_bytes() == expected


def test_a_clip_that_becomes_a_recording_is_translated_again(
    tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = data / "fr-en/test.jsonl"
    rows = lines(manifest)[:2]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(tiny_model, data, tmp_path / "out")
    translated = record_translated(monkeypatch)
    rows[1]["target_text"] = ["The 0"]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run(tiny_model, data, tmp_path / "out")
    assert translated == ["fr-en/0"]
    assert "1 whose audio or kind of reference changed" in done.stderr
    assert lines(tmp_path / "out/fr-en/sentences.jsonl")[-1]["id"] == "clip#1"


def test_recordings_are_segmented_as_asked(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    run(tiny_model, data, tmp_path / "out", "--segmentation", "none", "--no-vad")
    made = {row["id"]: row["text"] for row in lines(tmp_path / "out/fr-en/hypotheses.jsonl")}
    options = SearchOptions(beam_size=2, max_length=12, max_repeats=None)
    segmentation = SegmentationOptions(segmentation="none", vad=False)
    translator = Translator(tiny_model, dtype="float32", device="cpu")
    talk = translator.translate(data / "fr-en/talk.wav", to="en", options=options, segmentation=segmentation)
    assert len(talk.segments) == 1
    assert made["talk"] == talk.text
    recipe = json.loads((tmp_path / "out/fr-en/hypotheses.meta.json").read_text())
    recorded = {name: value for name, value in recipe.items() if name.startswith("recordings_")}
    assert recorded == {
        "recordings_segmentation": "none",
        "recordings_vad": False,
        "recordings_min_pause": 0.1,
        "recordings_coverage_check": False,
    }
    with pytest.raises(
        VoxlateError, match=r"other settings .*recordings_segmentation was 'none', is 'auto'; .*--outpu"
    ):
        run(tiny_model, data, tmp_path / "out")


def test_segmentation_of_clips_is_refused(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    manifest = data / "fr-en/test.jsonl"
    manifest.write_text(json.dumps(lines(manifest)[1]) + "\n")
    with pytest.raises(VoxlateError, match=r"--min-pause: --data has no recordings, .* clips are translated whole"):
        run(tiny_model, data, tmp_path / "out", "--min-pause", "0.2")
    assert run(tiny_model, data, tmp_path / "out").exit_code == 0
    assert "recordings_vad" not in json.loads((tmp_path / "out/fr-en/hypotheses.meta.json").read_text())


def test_lists_in_a_table_are_refused(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    (data / "fr-en/test.jsonl").unlink()
    header = "id\taudio\tsource_language\ttarget_language\ttarget_text"
    (data / "fr-en/test.tsv").write_text(f"{header}\ntalk\ttalk.wav\tfr\ten\t['One.', 'Two.']\n")
    with pytest.raises(
        VoxlateError, match=r"line 2: target_text is a list .*, which a .tsv cannot hold; write the sen"
    ):
        run(tiny_model, data, tmp_path / "out")
