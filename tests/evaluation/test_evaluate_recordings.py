"""``voxlate evaluate`` on recordings: cut into segments as by translate, resegmented to the references, and scored."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluating import lines, record_translated, run
from media import sweep, write_media
from voxlate import Translator
from voxlate.errors import VoxlateError
from voxlate.search_options import SearchOptions

SENTENCES = ["The  first.", "A second one? ", "Third!"]


@pytest.fixture(scope="module")
def recording() -> Any:
    """Three sounds with pauses of 1.5 s, (T,), longer than the 30 s up to which a clip is not cut."""
    pause = np.zeros(24_000, np.float32)
    sounds = [sweep(200 + 100 * number, 900, 11.0) for number in range(3)]
    return np.concatenate([part for sound in sounds for part in (sound, pause)])


@pytest.fixture
def data(tmp_path: Path, recording: Any) -> Path:
    """A manifest with a clip, a recording, and a recording that is not audio."""
    folder = tmp_path / "fr-en"
    folder.mkdir()
    write_media(folder / "0.wav", sweep(200, 900, 0.6))
    write_media(folder / "talk.wav", recording)
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


def test_lists_in_a_table_are_refused(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    (data / "fr-en/test.jsonl").unlink()
    header = "id\taudio\tsource_language\ttarget_language\ttarget_text"
    (data / "fr-en/test.tsv").write_text(f"{header}\ntalk\ttalk.wav\tfr\ten\t['One.', 'Two.']\n")
    with pytest.raises(
        VoxlateError, match=r"line 2: target_text is a list .*, which a .tsv cannot hold; write the sen"
    ):
        run(tiny_model, data, tmp_path / "out")
