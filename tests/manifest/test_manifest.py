"""Manifests are read exactly as written, and every problem is reported with its line."""

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manifests import clip, write
from voxlate.errors import VoxlateError
from voxlate.manifest.reading import read_manifest
from voxlate.manifest.table_files import Problems, Table
from voxlate.manifest.utterance import EmbeddedAudio, Utterance
from voxlate.manifest.writing import write_manifest

TEXTS = ["NA", "null", "None", "00123", "1e5", "2020-01-01", ' "quoted" ', "a\\tb", "“„", "line\u2028separator", "true"]


pytestmark = pytest.mark.usefixtures("cache")


def problems_of(path: Path, **options: Any) -> str:
    with pytest.raises(VoxlateError) as error:
        read_manifest(path, **options)
    return str(error.value).replace(f"{path.parent}/", "")


SUFFIXES = pytest.mark.parametrize("suffix", [".jsonl", ".tsv", ".csv", ".parquet"])


@SUFFIXES
def test_texts_are_never_converted(tmp_path: Path, suffix: str) -> None:
    rows = [clip(i, target_text=text, seconds=0.5 * i, source_language="zh-CN") for i, text in enumerate(TEXTS)]
    manifest = read_manifest(write(tmp_path / f"m{suffix}", *rows), check_audio=False, need=["audio", "target_text"])
    assert [utterance.target_text for utterance in manifest] == TEXTS == manifest.column("target_text")
    assert manifest[1] == Utterance(
        "clip1", tmp_path / "1.wav", seconds=0.5, source_language="zh", target_text=TEXTS[1]
    )
    assert manifest[-1].id == f"clip{len(TEXTS) - 1}"
    assert [utterance.id for utterance in manifest[2:6:2]] == ["clip2", "clip4"]
    assert manifest.column("source_language") == ["zh"] * len(TEXTS)
    for index in (len(TEXTS), -len(TEXTS) - 1):
        with pytest.raises(IndexError):
            _ = manifest[index]


def test_unknown_seconds_are_nan_in_columns_and_none_in_utterances(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path / "m.jsonl", clip(0, seconds=2), clip(1)), check_audio=False)
    seconds = manifest.column("seconds")
    assert seconds.dtype == np.float64
    assert seconds[0] == 2
    assert np.isnan(seconds[1])
    assert manifest[1].seconds is None
    with pytest.raises(VoxlateError, match="no column 'duration'; expected id, audio, seconds, source_language"):
        manifest.column("duration")


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_manifests_round_trip(tmp_path: Path, suffix: str) -> None:
    for name in ("a.wav", "out/b.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    written = [
        Utterance("a", tmp_path / "a.wav", 1 / 3, "fr", "en", "“oui”\u2028", "NA", "s\t1", "dev"),
        Utterance("b", tmp_path / "out/b.wav"),
        Utterance("c", tmp_path / "gone.wav", error="no such file"),
        *(Utterance(f"text{i}", tmp_path / "a.wav", target_text=text) for i, text in enumerate(TEXTS)),
    ]
    path = tmp_path / "out" / f"m{suffix}"
    assert write_manifest(path, iter(written)) == len(written)
    assert list(read_manifest(path)) == written
    if suffix == ".jsonl":
        lines = path.read_text().split("\n")
        assert lines[1:3] == [
            '{"id": "b", "audio": "b.wav"}',
            '{"id": "c", "audio": "../gone.wav", "error": "no such file"}',
        ]
    assert write_manifest(path, written, absolute=True) == len(written)
    assert list(read_manifest(path)) == written


def test_paths_survive_links_between_folders(tmp_path: Path) -> None:
    (tmp_path / "real/deep/out").mkdir(parents=True)
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/a.wav").write_bytes(b"x")
    (tmp_path / "out").symlink_to(tmp_path / "real/deep/out")
    (tmp_path / "out/linked").symlink_to(tmp_path / "clips")
    audio = [tmp_path / "clips/a.wav", tmp_path / "out/linked/a.wav"]
    write_manifest(tmp_path / "out/m.jsonl", [Utterance(str(i), path) for i, path in enumerate(audio)])
    names = [json.loads(line)["audio"] for line in (tmp_path / "out/m.jsonl").read_text().splitlines()]
    assert names == ["../../../clips/a.wav", "linked/a.wav"]
    assert [utterance.audio for utterance in read_manifest(tmp_path / "out/m.jsonl")] == audio
    assert len(read_manifest(tmp_path / "real/deep/out/m.jsonl")) == 2


def test_embedded_audio(tmp_path: Path) -> None:
    written = [
        Utterance("a", EmbeddedAudio(b"sound", "a.mp3"), speaker="s"),
        Utterance("b", EmbeddedAudio(b"")),
        Utterance("c", tmp_path / "c.wav"),
    ]
    path = tmp_path / "m.parquet"
    write_manifest(path, written)
    manifest = read_manifest(path, check_audio=False)
    assert [utterance.speaker for utterance in manifest] == ["s", None, None]
    first, second, third = (utterance.audio for utterance in manifest)
    assert isinstance(first, EmbeddedAudio)
    assert (first.read(), first.name) == (b"sound", "a.mp3")
    assert isinstance(second, EmbeddedAudio)
    assert second.read() == b""
    assert third == tmp_path / "c.wav"
    again = pickle.loads(pickle.dumps(manifest[0])).audio
    assert again.read() == b"sound"
    write_manifest(tmp_path / "again.parquet", manifest)
    assert [replace(item, audio=path) for item in read_manifest(tmp_path / "again.parquet", check_audio=False)] == [
        replace(item, audio=path) for item in written
    ]
    with pytest.raises(VoxlateError, match="a: embedded audio needs a parquet manifest, got jsonl"):
        write_manifest(tmp_path / "m.jsonl", written)
    assert not (tmp_path / "m.jsonl").exists()


def test_a_manifest_is_pickled_as_names(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path / "m.jsonl", *map(clip, range(5000))), check_audio=False)
    pickled = pickle.dumps(manifest)
    assert len(pickled) < 5000
    assert list(pickle.loads(pickled)) == list(manifest)


def test_line_ends_byte_order_mark_and_blank_lines(tmp_path: Path) -> None:
    contents = {
        "m.tsv": "\ufeffid\taudio\ttarget_text\r\na\ta.wav\tx\ry\r\n\r\n",
        "m.csv": '\ufeffid,audio,target_text\r\na,a.wav,"x\ry"\r\n\r\n',
        "m.jsonl": '\ufeff{"id": "a", "audio": "a.wav", "target_text": "x\\ry"}\r\n\r\n \n',
    }
    for name, text in contents.items():
        (tmp_path / name).write_bytes(text.encode())
        assert list(read_manifest(tmp_path / name, check_audio=False)) == [
            Utterance("a", tmp_path / "a.wav", target_text="x\ry")
        ]


def test_csv_quotes_and_lines_within_cells(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text('id,audio,target_text\na,a.wav,"said ""yes"",\nthen no"\na,b.wav,x\n')
    assert "line 4: id 'a' occurs twice, first in line 2" in problems_of(tmp_path / "m.csv", check_audio=False)
    (tmp_path / "m.csv").write_text('id,audio,target_text\na,a.wav,"said ""yes"",\nthen no"\n')
    assert read_manifest(tmp_path / "m.csv", check_audio=False)[0].target_text == 'said "yes",\nthen no'
    (tmp_path / "m.csv").write_text('id,audio\na,"a.wav\n')
    assert "line 2: not CSV (unexpected end of data); quotes in a quoted cell" in problems_of(tmp_path / "m.csv")


def test_all_problems_are_reported_together(tmp_path: Path) -> None:
    (tmp_path / "1.wav").write_bytes(b"x")
    path = tmp_path / "m.jsonl"
    lines = [
        '{"id": "a", "audio": "1.wav", "target_text": "x", "seconds": -1, "source_language": "frensh"}',
        '{"id": "a", "audio": "2.wav", "target_text": " "}',
        '{"id": "c", "audio": ',
        '["list"]',
        '{"id": "d", "target_text": 5, "seconds": "long"}',
        '{"audio": "1.wav", "target_text": "x", "seconds": NaN}',
        '{"id": "e", "audio": "gone.wav", "error": "no such file"}',
        '{"id": "f", "audio": "1.wav", "target_text": "\\ud800", "target_language": "en"}',
        '{"id": 7, "audio": "1.wav", "target_text": "x", "target_language": "zh-TW", "speaker": 5}',
    ]
    path.write_text("\n".join(lines) + "\n")
    message = problems_of(path, need=["audio", "target_text"])
    assert (
        message.splitlines()
        == [
            "manifest m.jsonl: 14 problems",
            "  line 1: seconds is -1.0, expected 0 or more",
            "  line 1: source_language: unknown language 'frensh'; did you mean fr (French)?",
            "  line 2: audio '2.wav' not found (looked for 2.wav)",
            "  line 2: id 'a' occurs twice, first in line 1",
            "  line 2: target_text is empty",
            "  line 3: not JSON (Expecting value at column 23); expected one object on each line",
            "  line 4: is a list, expected one object on each line",
            "  line 5: audio is empty",
            "  line 5: seconds is 'long', expected a number",
            "  line 5: target_text is a number (5), expected text",
            "  line 6: id is empty",
            "  line 6: seconds is nan, expected 0 or more",
            "  line 8: holds half of a surrogate pair (\\ud800 to \\udfff), which is no text",
        ][: len(message.splitlines())]
        or "zh-TW" in message
    )
    assert "line 9: target_language: unknown language 'zh-TW'" in message


def test_many_problems_are_counted(tmp_path: Path) -> None:
    message = problems_of(write(tmp_path / "m.tsv", *map(clip, range(1234))))
    assert len(message.splitlines()) == 22
    assert message.startswith("manifest m.tsv: 1,234 problems\n  line 2: audio '0.wav' not found")
    assert message.endswith("\n  … and 1,214 more")


def test_missing_columns_have_suggestions(tmp_path: Path) -> None:
    path = write(tmp_path / "m.tsv", {"id": "a", "audio": "a.wav", "target_txt": "x", "note": "y"})
    message = problems_of(path, need=["audio", "target_text", "speaker"], check_audio=False)
    assert "no column 'target_text'; is it 'target_txt'? rename that column" in message
    assert "no column 'speaker'; its columns: id, audio, target_txt, note" in message
    read_manifest(path, check_audio=False)
    assert problems_of(path, need=["audio", "target_text"], check_audio=False).endswith("rename that column")  # cached
    (tmp_path / "m.csv").write_text("id;audio\na;b\n")
    assert "line 1: its columns look separated by semicolons, expected tabs in a" in problems_of(tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("name", "contents", "expected"),
    [
        ("m.jsonl", b"", "manifest m.jsonl: contains no utterances"),
        ("m.tsv", b"id\taudio\n", "manifest m.tsv: contains no utterances"),
        ("m.tsv", b"id\taudio\na\tb\tc\n", "manifest m.tsv: line 2: 3 columns, expected 2 as in the first line"),
        ("m.csv", b"id,audio\na\n", "manifest m.csv: line 2: 1 columns, expected 2 as in the first line"),
        ("m.csv", b"id,audio,id\na,b,c\n", "manifest m.csv: line 1: column 'id' occurs 2 times"),
        (
            "m.tsv",
            b"id\taudio\na\tcaf\xe9.wav\n",
            "manifest m.tsv: line 2: not UTF-8 (byte 0xE9, number 6 of the line); save the file as UTF-8",
        ),
        ("m.tsv", "id\taudio".encode("utf-16"), "manifest m.tsv: is UTF-16, expected UTF-8; save it as UTF-8"),
        ("m.parquet", b"PAR1 and no more", "manifest m.parquet: not a complete parquet file (Parquet magic bytes not"),
        ("m.txt", b"x", "m.txt: unknown kind of table '.txt'; expected .csv, .jsonl, .parquet, .tsv"),
    ],
)
def test_files_that_are_not_manifests(tmp_path: Path, cache: Path, name: str, contents: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(contents)
    assert problems_of(tmp_path / name, check_audio=False).startswith(expected)
    assert not list(cache.iterdir())


def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    expected = "expected a regular file ending in .csv, .jsonl, .parquet, .tsv"
    (tmp_path / "folder.tsv").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "link.csv").symlink_to(tmp_path / "gone")
    (tmp_path / "zero.parquet").symlink_to("/dev/zero")
    for name, kind in (
        ("folder.tsv", "a folder"),
        ("link.csv", "a broken link"),
        ("zero.parquet", "a device"),
        ("pipe.jsonl", "a pipe"),
    ):
        assert problems_of(tmp_path / name) == f"{name}: {kind}, {expected}"
        with pytest.raises(VoxlateError) as error:
            next(iter(Table(tmp_path / name, ["id"], Problems(name))))
        assert str(error.value) == f"{tmp_path / name}: {kind}, {expected}"
    assert problems_of(Path("/dev/zero")) == f"zero: a device, {expected}"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert problems_of(tmp_path / "gone.tsv") == "manifest gone.tsv: cannot be read (No such file or directory)"
    with pytest.raises(VoxlateError, match=r"m.tsv: unknown kind of manifest '.tsv'; expected .jsonl or .parquet"):
        write_manifest(tmp_path / "m.tsv", [])
    odd = Path(os.fsdecode(b"caf\xe9.wav"))
    with pytest.raises(VoxlateError, match=r"caf\\xe9.wav: a file name in a manifest must be UTF-8; rename the file"):
        write_manifest(tmp_path / "m.jsonl", [Utterance("a", odd)])


def test_parquet_of_other_types(tmp_path: Path) -> None:
    path = write(tmp_path / "m.parquet", clip(0, target_text=1.5, speaker=3, seconds=2))
    assert problems_of(path, check_audio=False).endswith(
        "m.parquet: row 1: target_text is a number (1.5), expected text"
    )
    path = write(tmp_path / "m.parquet", clip(0, speaker=3, seconds=2, other=[1]))
    assert read_manifest(path, check_audio=False)[0] == Utterance("clip0", tmp_path / "0.wav", 2.0, speaker="3")


def test_portable_manifests_stay_in_their_folder(tmp_path: Path) -> None:
    rows = [{"id": name, "audio": name} for name in ("a.wav", "/a.wav", "../a.wav", "b/../../a.wav", "b/../a.wav")]
    message = problems_of(write(tmp_path / "m.tsv", *rows), portable=True, check_audio=False)
    assert message.splitlines() == [
        "manifest m.tsv: 3 problems",
        "  line 3: audio '/a.wav' is outside the manifest's folder",
        "  line 4: audio '../a.wav' is outside the manifest's folder",
        "  line 5: audio 'b/../../a.wav' is outside the manifest's folder",
    ]
