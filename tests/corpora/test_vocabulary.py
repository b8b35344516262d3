"""`voxlate prepare vocabulary`: pieces of the target texts, in the layout that the tokenizer expects."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from voxlate.cli import app
from voxlate.corpora.vocabulary import make_vocabulary
from voxlate.errors import VoxlateError
from voxlate.tokenizer import Tokenizer

TEXTS = ["Où est la gare ?", "La gare est loin.", "Wo ist der Bahnhof?", "Das Auto ist grün.", "Où est l'hôtel ?"]


def write(path: Path, texts: list[str | None]) -> Path:
    (path.parent / "a.wav").touch()
    rows = [{"id": str(number), "audio": "a.wav", "target_text": text} for number, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_texts_are_encoded_and_decoded_without_loss(tmp_path: Path) -> None:
    manifests = [write(tmp_path / "a.jsonl", [*TEXTS[:3], None]), write(tmp_path / "b.jsonl", [*TEXTS[2:]])]
    output = tmp_path / "out/sentencepiece.bpe.model"
    words = ["prepare", "vocabulary", *map(str, manifests), "--size", "32", "--output", str(output)]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (0, f"{output}: 32 pieces\n")
    tokenizer = Tokenizer(output)
    assert tokenizer.vocabulary_size == 32 + 1 + 52 + 1
    assert [tokenizer.decode(tokenizer.encode(text)) for text in TEXTS] == TEXTS
    first = output.read_bytes()
    make_vocabulary(manifests, output, 32)
    assert output.read_bytes() == first


def test_too_few_texts_for_the_size(tmp_path: Path) -> None:
    with pytest.raises(VoxlateError, match=r"--size 5000: .*too high"):
        make_vocabulary([write(tmp_path / "a.jsonl", [*TEXTS])], tmp_path / "x.model", 5000)
    with pytest.raises(VoxlateError, match="no target_text to train a vocabulary on"):
        make_vocabulary([write(tmp_path / "b.jsonl", [None, None])], tmp_path / "x.model", 50)
    assert not (tmp_path / "x.model").exists()
