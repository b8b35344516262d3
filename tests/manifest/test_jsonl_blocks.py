"""Blocks of a jsonl manifest that Arrow reads give the same rows and the same problems as reading line by line."""

import json
from pathlib import Path

import pytest

from voxlate.errors import VoxlateError
from voxlate.manifest import jsonl_blocks, table_files
from voxlate.manifest.reading import read_manifest

PLAIN = [{"id": f"u{number}", "audio": "a.wav", "seconds": number, "extra": [number]} for number in range(200)]


def write(path: Path, *more: str) -> Path:
    """Write plain rows and further lines."""
    (path.parent / "a.wav").touch()
    path.write_text("".join(json.dumps(row) + "\n" for row in PLAIN) + "".join(more), encoding="utf-8")
    return path


def test_plain_rows_become_no_python_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_files, "text_lines", lambda *_, **__: iter(()))  # no line is read
    manifest = read_manifest(write(tmp_path / "m.jsonl"))
    assert (len(manifest), manifest[199].id, manifest[199].seconds) == (200, "u199", 199.0)
    assert manifest.columns == ("id", "audio", "seconds", "extra")
    assert manifest[0].target_text is None


@pytest.mark.parametrize("block_bytes", [100, 1 << 20])
@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"id": "x", "id": "y", "audio": "a.wav"}\n', "line 201: not JSON (a name occurs twice in an object)"),
        ('{"id": "\\udc00", "audio": "a.wav"}\n', "line 201: contains half of a surrogate pair"),
        ('{"id": "x", "audio": "a.wav", "seconds": "two"}\n', "line 201: seconds is 'two', expected a number"),
        ('{"id": "x", "audio": "a.wav"} {"id": "y"}\n', "line 201: not JSON (Extra data"),
        ('{"id": "x",\n"audio": "a.wav"}{"id": "y", "audio": "a.wav"}\n', "line 201: not JSON"),
        ('\n{"id": "x", "audio": "b.wav"}\n', "line 202: audio 'b.wav' not found"),
        ('{"id": "u3", "audio": "a.wav"}\n', "line 201: id 'u3' occurs twice, first in line 4"),
        ("[1]\n", "line 201: is a list, expected one object on each line"),
        ('{"id": "x", "audio": ["a.wav"]}\n', "line 201: audio is a list"),
    ],
)
def test_problems_are_those_of_reading_line_by_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int, line: str, problem: str
) -> None:
    monkeypatch.setattr(jsonl_blocks, "BLOCK_BYTES", block_bytes)
    with pytest.raises(VoxlateError) as error:
        read_manifest(write(tmp_path / "m.jsonl", line))
    assert problem in str(error.value)


def test_numbers_as_ids_and_rows_after_them_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl_blocks, "BLOCK_BYTES", 1000)
    rows = ['{"id": 7, "audio": "a.wav", "seconds": "1.5"}\n', '{"id": "z", "audio": "a.wav", "source_text": "é"}\n']
    manifest = read_manifest(write(tmp_path / "m.jsonl", *rows))
    assert [(row.id, row.seconds, row.source_text) for row in manifest[199:]] == [
        ("u199", 199.0, None),
        ("7", 1.5, None),
        ("z", None, "é"),
    ]
