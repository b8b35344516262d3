"""`voxlate prepare parquet`: datasets whose rows contain their clips."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from media import sine, write_media
from preparing import counts, drops, error_of, lines, mirror_of, run
from voxlate.audio.loading import load_audio
from voxlate.corpora.parquet import ParquetPreparation
from voxlate.manifest.reading import read_manifest

pytestmark = pytest.mark.usefixtures("cache")


def test_a_damaged_drops_file_is_written_again(tmp_path: Path) -> None:
    command = ParquetPreparation(tmp_path / "out", sources=(mirror_of(tmp_path / "in"),), pair="fr-en")
    for contents in ("", "[]", '{"title": "x"}', '{"title": "x", "inputs": {}, "splits": {"dev": {}}}'):
        (tmp_path / "out/fr-en").mkdir(parents=True, exist_ok=True)
        (tmp_path / "out/fr-en/drops.json").write_text(contents)
        assert run(command) == 1
        assert drops(tmp_path / "out/fr-en")["dev"]["rows"] == 3


def test_parquet_files_give_manifests(tmp_path: Path) -> None:
    command = ParquetPreparation(tmp_path / "out", sources=(mirror_of(tmp_path / "in"),), pair="fr_en")
    assert run(command) == 1
    found = drops(tmp_path / "out/fr-en")
    assert [found[split]["rows"] for split in ("train", "dev", "test")] == [1, 3, 3]
    assert counts(found["train"]["left_out"]) == {"clip of 0 bytes": 1, "no translation": 1}
    assert found["dev"]["difference"] == 3 - 14760
    first = lines(tmp_path / "out/fr-en/dev.jsonl")[0]
    assert first == {
        "id": "fr-en/common_voice_fr_validation0",
        "audio": "../clips/fr/common_voice_fr_validation0.mp3",
        "seconds": first["seconds"],
        "source_language": "fr",
        "target_language": "en",
        "source_text": "un",
        "target_text": "text 0",
        "speaker": "s0",
        "split": "dev",
    }
    assert load_audio(tmp_path / "out/clips/fr/common_voice_fr_validation0.mp3").seconds == first["seconds"]


def test_splits_can_be_prepared_separately(tmp_path: Path) -> None:
    command = ParquetPreparation(tmp_path / "out", sources=(mirror_of(tmp_path / "in"),), pair="fr-en", split="test")
    assert run(command) == 1
    assert [*drops(tmp_path / "out/fr-en")] == ["test"]
    assert run(replace(command, split="train")) == 1
    assert (tmp_path / "out/fr-en/test.jsonl").exists()
    assert [*drops(tmp_path / "out/fr-en")] == ["test", "train"]
    folder = tmp_path / "elsewhere" / "fr_en"
    folder.mkdir(parents=True)
    (tmp_path / "in/fr_en/validation-00000-of-00001.parquet").rename(folder / "part0.parquet")
    assert run(replace(command, sources=(folder,), split="validation")) == 1
    assert (tmp_path / "out/fr-en/dev.jsonl").exists()


def test_rows_without_names_and_with_invalid_names(tmp_path: Path) -> None:
    sound = write_media(tmp_path / "a.wav", sine(440, 0.1)).read_bytes()
    texts = {"sentence": "x", "translation": "y"}
    rows = [{"audio": {"bytes": sound, "path": path}, **texts} for path in ("../../a.wav", None, "/b/.c.wav", "a.wav")]
    rows.append({"audio": {"bytes": None, "path": "d.wav"}, **texts})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "test.parquet")
    assert run(ParquetPreparation(tmp_path / "out", sources=(tmp_path / "test.parquet",), pair="de-fr")) == 1
    rows = lines(tmp_path / "out/de-fr/test.jsonl")
    assert [row["id"] for row in rows] == ["de-fr/a", "de-fr/test-1", "de-fr/c", "de-fr/a#2", "de-fr/d"]
    assert sorted(path.name for path in (tmp_path / "out/clips/de").iterdir()) == ["a.wav", "c.wav", "test-1"]
    assert "error" in rows[4]


def test_rows_with_paths_and_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "in/clips").mkdir(parents=True)
    write_media(tmp_path / "in/clips/a.wav", sine(440, 0.1))
    write_media(tmp_path / "far.wav", sine(440, 0.1))
    names = ["clips/a.wav", str(tmp_path / "far.wav"), "gone.wav", None, "in.wav"]
    texts = {"sentence": "x", "translation": "y"}
    rows: list[dict[str, Any]] = [{"audio": {"bytes": None, "path": name}, **texts} for name in names]
    rows[4]["audio"]["bytes"] = (tmp_path / "far.wav").read_bytes()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in/test.parquet")
    command = ParquetPreparation(tmp_path / "out", sources=(tmp_path / "in/test.parquet",), pair="de-fr")
    for _ in range(2):
        assert run(command) == 1
        found = read_manifest(tmp_path / "out/de-fr/test.jsonl")
        assert [row.audio for row in found][:2] == [tmp_path / "in/clips/a.wav", tmp_path / "far.wav"]
        assert [row.seconds for row in found] == [0.1, 0.1, None, None, 0.1]
        gone = f"has a path but no bytes, and the file does not exist ('{tmp_path / 'in/gone.wav'}')"
        assert [row.error for row in found][2:4] == [
            f"gone.wav: its row {gone}",
            "test-3: its row has neither bytes nor a path",
        ]
    journal = (tmp_path / "out/durations/de.jsonl").read_text()
    assert journal.count("\n") == 5  # the second run wrote only the missing files
    write_media(tmp_path / "in/gone.wav", sine(440, 0.2))
    assert run(replace(command, transcode=True)) == 1
    assert [row.error is None for row in read_manifest(tmp_path / "out/de-fr/test.jsonl")] == [True] * 3 + [False, True]
    only_paths = [{"audio": {"path": "clips/a.wav"}, **texts}]
    pq.write_table(pa.Table.from_pylist(only_paths), tmp_path / "in/dev.parquet")
    assert run(replace(command, sources=(tmp_path / "in/dev.parquet",), output=tmp_path / "3")) == 0


def test_columns_of_wrong_types(tmp_path: Path) -> None:
    rows = {"audio": [{"bytes": 5}], "sentence": [["x"]], "translation": ["x"], "client_id": [1.5]}
    pq.write_table(pa.table(rows), tmp_path / "test.parquet")
    message = error_of(ParquetPreparation(tmp_path / "out", sources=(tmp_path / "test.parquet",), pair="fr-en"))
    assert message.replace(f"{tmp_path}/", "").splitlines()[1:] == [
        "  test.parquet: column sentence is list<element: string>, expected string",
        "  test.parquet: column audio.bytes is int64, expected binary",
        "  test.parquet: column client_id is double, expected string",
    ]


def test_unusable_parquet_files(tmp_path: Path) -> None:
    pq.write_table(pa.table({"audio": ["a.wav"], "sentence": ["x"], "translation": ["x"]}), tmp_path / "train.parquet")
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "test.parquet")
    (tmp_path / "dev.parquet").write_text("no more than text")
    (tmp_path / "empty").mkdir()
    sources = [tmp_path / name for name in ("train.parquet", "test.parquet", "dev.parquet", "x.parquet", "empty")]
    message = error_of(
        ParquetPreparation(tmp_path / "out", sources=(*sources, tmp_path / "gone_test.parquet"), pair="frenglish")
    )
    parts = message.replace(f"{tmp_path}/", "").splitlines()
    assert parts[1:4] == [
        "  --pair frenglish: expected two languages, such as fr-en",
        "  empty: no .parquet files in this folder",
        "  train.parquet: column audio is string, expected a struct of bytes and path",
    ]
    assert parts[4] == (
        "  test.parquet: no column audio, sentence, translation; its columns: text; rename text to sentence if that is "
        "its content"
    )
    assert parts[5].startswith("  dev.parquet: not a complete parquet file (Parquet magic bytes not found")
    assert parts[6:] == [
        "  x.parquet: its name does not contain the split; name it with --split",
        "  gone_test.parquet: no such file",
    ]
    assert "--split best: expected train, dev, test" in error_of(
        ParquetPreparation(tmp_path / "out", sources=(tmp_path / "x.parquet",), pair="fr-en", split="best")
    )
    assert "no files of the split dev among 1" in error_of(
        ParquetPreparation(tmp_path / "out", sources=(tmp_path / "test.parquet",), pair="fr-en", split="dev")
    )
