"""Shortlists: the ids that text in a language needs, and their files."""

import json
import re
from pathlib import Path

import pytest

from voxlate.checkpoints.shortlist import find_shortlists, make_shortlist, prepare_shortlist
from voxlate.errors import VoxlateError
from voxlate.tokenizer import EOS_ID, Tokenizer


def test_a_shortlist_covers_its_text_and_each_of_its_characters(tiny_model: Path) -> None:
    tokenizer = Tokenizer(tiny_model / "sentencepiece.bpe.model")
    texts = ["Wo ist der Bahnhof?", "Der Zug kommt um acht."]
    shortlist = make_shortlist("de", texts, tokenizer)
    ids = {*shortlist.ids}
    assert {0, 1, EOS_ID, 3, tokenizer.tag_id("de_DE"), tokenizer.vocabulary_size - 1} <= ids
    for text in [*texts, "Bahn", "achtzig", "km"]:  # of the same characters
        assert {*tokenizer.encode(text)} - {3} <= ids or text not in texts
    assert {*tokenizer.encode("B")} <= ids | {3}


def test_the_command_writes_it_next_to_the_model(tiny_model: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "sentencepiece.bpe.model").write_bytes((tiny_model / "sentencepiece.bpe.model").read_bytes())
    (tmp_path / "a.txt").write_text("Wo ist der Bahnhof?\nDer Zug kommt.\n", encoding="utf-8")
    (tmp_path / "a.wav").touch()
    (tmp_path / "b.jsonl").write_text(
        json.dumps(
            {
                "id": "1",
                "audio": "a.wav",
                "target_language": "de",
                "target_text": "Zwei Züge",
                "seconds": 1.0,
                "source_language": "fr",
            }
        )
        + "\n"
        + json.dumps(
            {
                "id": "2",
                "audio": "a.wav",
                "target_language": "en",
                "target_text": "@",
                "seconds": 1.0,
                "source_language": "fr",
            }
        )
        + "\n",
        encoding="utf-8",
    )
    said = prepare_shortlist([tmp_path / "a.txt", tmp_path / "b.jsonl"], "de", model)
    assert re.fullmatch(
        rf"{model}/shortlists/de.json: \d+ of \d+ ids, from 3 lines; coverage of held-out text: .*%", said
    )
    tokenizer = Tokenizer(model / "sentencepiece.bpe.model")
    found = find_shortlists(model, tokenizer, ["de", "de"])
    assert {*tokenizer.encode("Zwei Züge")} - {3} <= {*found["de"].ids}
    with pytest.raises(
        VoxlateError,
        match=r"shortlists/fr.json does not exist; create it with: voxlate prepare shortlist TEXT "
        r"--language fr --model",
    ):
        find_shortlists(model, tokenizer, ["de", "fr"])
    path = model / "shortlists/de.json"
    path.write_text(path.read_text().replace('"vocabulary_sha256": "', '"vocabulary_sha256": "0'))
    with pytest.raises(VoxlateError, match="made for a vocabulary other than"):
        find_shortlists(model, tokenizer, ["de"])
    path.write_text("[]")
    with pytest.raises(VoxlateError, match=r"de\.json: expected a JSON object, got list"):
        find_shortlists(model, tokenizer, ["de"])
    with pytest.raises(VoxlateError, match="no text for a shortlist of fr"):
        prepare_shortlist([tmp_path / "b.jsonl"], "fr", model)
    with pytest.raises(VoxlateError, match="contains no vocabulary; expected a model's folder with one of"):
        prepare_shortlist([tmp_path / "a.txt"], "de", tmp_path)
