"""The cache of manifests as Arrow columns."""

import io
import json
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests import clip, error_of, write
from voxlate.manifest.reading import Manifest, read_manifest
from voxlate.manifest.utterance import Utterance
from voxlate.manifest.writing import write_manifest

pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("damage", ["empty", "cut", "cut at a batch", "flipped", "folder", "no end"])
def test_a_damaged_cache_file_is_written_again(tmp_path: Path, cache: Path, damage: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text("".join(json.dumps({"id": str(i), "audio": f"{i}.wav"}) + "\n" for i in range(50)))
    expected = list(read_manifest(path, check_audio=False))
    [cached] = cache.glob("*.arrow")
    whole = cached.read_bytes()
    assert list(read_manifest(path, check_audio=False)) == expected
    if damage == "folder":
        cached.unlink()
        cached.mkdir()
    else:
        place = whole.index(b"27.wav")
        contents = {
            "empty": b"",
            "cut": whole[: len(whole) // 2],
            "cut at a batch": whole[: whole.index(b"\xff\xff\xff\xff\x00\x00\x00\x00")],
            "flipped": whole[:place] + b"99" + whole[place + 2 :],
            "no end": whole[:-3],
        }
        cached.write_bytes(contents[damage])
    assert list(read_manifest(path, check_audio=False)) == expected
    assert cached.read_bytes() == whole


def test_files_unused_for_a_month_are_deleted(tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    pq.write_table(
        pa.Table.from_pylist([{"id": "a", "audio": {"bytes": b"x" * 10_000, "path": None}}]), tmp_path / "m.parquet"
    )
    manifest = read_manifest(tmp_path / "m.parquet")
    assert "m.parquet: its clips (0.0 MB) were copied to" in caplog.text
    [old] = cache.glob("*.arrow")
    os.utime(old, (0, 0))
    (cache / ".half.part").touch()
    os.utime(cache / ".half.part", (0, 0))
    read_manifest(tmp_path / "m.parquet")
    assert old.stat().st_mtime > 0  # in use again
    os.utime(old, (0, 0))
    (tmp_path / "m.tsv").write_text("id\taudio\na\ta.wav\n")
    caplog.clear()
    read_manifest(tmp_path / "m.tsv", check_audio=False)
    assert not caplog.text  # it holds no clips
    assert not old.exists()
    assert [path.suffix for path in cache.iterdir()] == [".arrow"]
    assert manifest[0].audio.read() == b"x" * 10_000  # type: ignore[union-attr]


def test_a_full_disk_names_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("voxlate.manifest.reading.write_columns", full)
    (tmp_path / "m.tsv").write_text("id\taudio\na\ta.wav\n")
    assert error_of(tmp_path / "m.tsv") == (
        "manifest m.tsv: its columns cannot be written to cache/voxlate (No space left on device); set the environment "
        "variable HF_DATASETS_CACHE to another folder"
    )


def test_a_subset_is_a_manifest(tmp_path: Path) -> None:
    rows = [{"id": str(i), "audio": f"{i}.wav", "seconds": i / 2} for i in range(6)]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(item) + "\n" for item in rows))
    manifest = read_manifest(tmp_path / "m.jsonl", check_audio=False)
    some = manifest.subset([1, 3, 4]).subset([0, 2])
    assert [item.id for item in some] == some.column("id") == ["1", "4"]
    assert some.column("seconds").tolist() == [0.5, 2.0]
    assert (some[-1], len(some), some.is_subset, manifest.is_subset) == (manifest[4], 2, True, False)


def test_a_file_written_again_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "m.tsv", clip(0, target_text="one"))
    time_ns = path.stat().st_mtime_ns
    assert read_manifest(path, check_audio=False)[0].target_text == "one"
    write(path, clip(0, target_text="two"))
    os.utime(path, ns=(time_ns, time_ns))
    assert read_manifest(path, check_audio=False)[0].target_text == "two"


def test_the_second_reading_comes_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "m.tsv", *map(clip, range(3)))
    first = list(read_manifest(path, check_audio=False))
    monkeypatch.setattr("voxlate.manifest.reading.Table", None)
    assert list(read_manifest(path, check_audio=False)) == first


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.mkdir(mode=0o555)], ids=["no folder", "read-only"])
def test_a_cache_that_cannot_be_written(tmp_path: Path, cache: Path, make: Callable[[Path], None]) -> None:
    if os.geteuid() == 0 and make is not Path.touch:
        pytest.skip("root writes anywhere")
    cache.parent.mkdir()
    make(cache)
    manifest = read_manifest(write(tmp_path / "m.tsv", clip(0)), check_audio=False)
    assert manifest[0].id == "clip0"
    assert len(pickle.loads(pickle.dumps(manifest))) == 1


def test_a_large_manifest_is_read_in_seconds(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    (tmp_path / "0.wav").touch()
    utterances = (
        Utterance(f"clip{i}", tmp_path / "0.wav", 1.0, "en", "de", f"source {i}", f"target {i}") for i in range(30_000)
    )
    write_manifest(path, utterances)
    started = time.process_time()
    manifest = read_manifest(path, need=["audio", "seconds", "target_text", "target_language"])
    assert time.process_time() - started < 5
    assert isinstance(manifest, Manifest)
    assert len(manifest) == 30_000
    assert io.BytesIO(pickle.dumps(manifest)).getbuffer().nbytes < 10_000
