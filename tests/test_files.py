"""Files are replaced atomically, after they are flushed to disk."""

import os
from pathlib import Path

import pytest

from voxlate.files import atomic_file, write_text


def test_a_file_is_flushed_before_it_is_renamed_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "a.txt"
    flushed = []

    def fsync(descriptor: int) -> None:
        inode = os.fstat(descriptor).st_ino
        [found] = [entry for entry in (path.parent, *path.parent.iterdir()) if entry.stat().st_ino == inode]
        flushed.append((found.suffix or found.name, path.exists(), found.read_text() if found.is_file() else None))

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(path, "whole")
    assert flushed == [(".part", False, "whole"), ("new", True, None)]
    flushed.clear()
    with atomic_file(path, durable=False) as part:
        part.write_text("again")
    assert (flushed, path.read_text()) == ([], "again")


def test_a_failed_flush_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fsync(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output error"):
        write_text(path, "new")
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["old"]


def test_a_file_is_written_atomically(tmp_path: Path) -> None:
    target = tmp_path / "new" / "result.txt"
    write_text(target, "first\n")
    assert target.read_bytes() == b"first\n"
    with pytest.raises(ZeroDivisionError), atomic_file(target) as part:
        part.write_text(f"half {1 / 0}")
    assert target.read_text() == "first\n"
    assert [path.name for path in target.parent.iterdir()] == ["result.txt"]
