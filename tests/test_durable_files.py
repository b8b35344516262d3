"""Files take their place whole, and only when they are on the disk."""

import os
from pathlib import Path

import pytest

from voxlate.files import atomic_file, write_text


def test_a_file_is_flushed_before_it_takes_its_place_and_its_folder_after(
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


def test_what_cannot_be_flushed_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fsync(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output error"):
        write_text(path, "new")
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["old"]
