"""`voxlate prepare statistics`: counts, suspicious rows, JSON and the picture."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from media import sine, write_media
from voxlate.cli import app

pytestmark = pytest.mark.usefixtures("cache")


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def row(name: str, text: str | None, seconds: float | None = 2.0, **columns: Any) -> dict[str, Any]:
    languages = {"source_language": "German", "target_language": "en"}
    values = {"id": name, "audio": f"{name}.wav", "seconds": seconds, **languages, "target_text": text, **columns}
    return {key: value for key, value in values.items() if value is not None}


def statistics(*words: str) -> Any:
    return CliRunner().invoke(app, ["prepare", "statistics", *words], catch_exceptions=False)


def corpus(folder: Path) -> list[str]:
    """Train of 40 rows with 20 characters in about 2 s, of which some are odd; dev repeats texts of train and test."""
    train = [row(f"t{i}", f"sentence number {i:04}", 1.9 + 0.01 * i, speaker=f"s{i % 3}") for i in range(40)]
    train[5]["seconds"] = 30.0
    train[6]["seconds"] = 0.1
    train[7] |= {"target_text": " "}
    del train[8]["seconds"]
    held_out = [row(f"h{i}", f"held out number {i:04}", split="dev" if i < 3 else "test") for i in range(6)]
    held_out[1]["target_text"] = "sentence number 0001"
    held_out[2]["target_text"] = "held out number 0004"
    held_out[5] |= {"error": "broken"}
    return [str(write(folder / "train.jsonl", train)), str(write(folder / "held_out.jsonl", held_out))]


def test_counts_and_suspicious_rows(tmp_path: Path) -> None:
    result = statistics(*corpus(tmp_path), "--output", str(tmp_path / "out.json"))
    assert result.exit_code == 0
    head, train, dev, test, *suspicious = result.stdout.splitlines()
    assert head.split()[:5] == ["split", "clips", "hours", "errors", "speakers"]
    assert train.split()[:6] == ["de-en", "train", "40", "0.03", "0", "3"]
    assert [line.split()[:3] for line in (dev, test)] == [["de-en", "dev", "3"], ["de-en", "test", "3"]]
    assert suspicious == [
        "1 of de-en train: no target text (t7)",
        "1 of de-en train: no duration (t8)",
        "1 of de-en train: too long for their text (t5)",
        "1 of de-en train: too short for their text (t6)",
        "1 of de-en dev: text also in train (h1)",
        "1 of de-en test: text also in dev (h4)",
        "silence was not searched for; --check-audio reads all clips",
    ]
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert report["audio_checked"] is False
    group = report["groups"][0]
    assert group["suspicious"]["no duration"] == {"count": 1, "first": ["t8"]}
    assert group["seconds"]["0%"] == 0.1
    assert group["seconds"]["50%"] == pytest.approx(2.1, abs=0.02)
    assert group["characters"]["100%"] == 20
    assert group["characters_per_second"]["50%"] == pytest.approx(20 / 2.1, abs=0.2)
    assert report["groups"][2]["errors"] == 1
    picture = (tmp_path / "out.svg").read_text(encoding="utf-8")
    assert "Characters per second" in picture
    assert "de-en train (40)" in picture


def test_silent_and_unreadable_clips(tmp_path: Path) -> None:
    write_media(tmp_path / "a.wav", sine(440, 1.0))
    write_media(tmp_path / "b.wav", np.zeros(16_000, np.float32))
    (tmp_path / "c.wav").write_text("no sound")
    rows = [row(name, f"text {name}", 1.0) for name in "abcd"]
    rows[3]["error"] = "gone"
    path = str(write(tmp_path / "clips.jsonl", rows))
    result = statistics(path, "--check-audio", "--num-workers", "1")
    assert result.stdout.splitlines()[2:] == ["1 of de-en clips: silent (b)", "1 of de-en clips: unreadable (c)"]


def test_texts_are_compared_in_the_source_language_if_it_is_known(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", [row("a", "Yes.", source_text="Ja."), row("b", "No.", source_text="Nein.")])
    test = write(
        tmp_path / "test.jsonl", [row("c", "Yes.", source_text="Jawohl."), row("d", "N.", source_text="Nein.")]
    )
    lines = statistics(str(train), str(test)).stdout.splitlines()
    assert lines[3] == "1 of de-en test: text also in train (d)"


def test_recordings_of_several_sentences_and_unknown_values(tmp_path: Path) -> None:
    rows = [{"id": "talk", "audio": "talk.wav", "target_text": ["One.", "Two."]}]
    lines = statistics(str(write(tmp_path / "talks.jsonl", rows))).stdout.splitlines()
    assert lines[1].split() == ["?-?", "talks", "1", "0.00", "0", "0", "unknown", "unknown", "unknown"]
    assert lines[2] == "1 of ?-? talks: no duration (talk)"


def test_invalid_arguments(tmp_path: Path) -> None:
    for words, message in (
        ([str(tmp_path / "gone.jsonl")], f"manifest {tmp_path / 'gone.jsonl'}: cannot be read"),
        ([*corpus(tmp_path), "-o", "out.csv"], "--output out.csv: expected a file that ends in .json; the picture is"),
    ):
        result = CliRunner().invoke(app, ["prepare", "statistics", *words])
        assert str(result.exception).startswith(message)
