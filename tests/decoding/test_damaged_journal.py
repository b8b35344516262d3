"""A journal that is damaged or shared by processes, and runs that end with an error."""

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from text_command import TextCommand, write_input, written_results
from voxlate.decoding.results import Candidate, Segment, Translation
from voxlate.errors import VoxlateError
from voxlate.files import atomic_file, write_text


@pytest.mark.parametrize(
    "damage",
    [
        b'{"place": "a.wav", "inp',
        b"\0\0\0\0\n",
        b"\xff\xfe\n[]\n7\nnull\n",
        b'{"place": "../../evil", "input": "/x"}\n',
        b'{"settings": 1, "values": 2}\n{"settings": "a", "values": []}\n{"place": {}, "input": []}\n',
        b'{"language": "de", "place": "a", "input": "a", "formats": "txt", "settings": "", "stamp": [], "sha256": 1}\n',
        b"[" * 100_000 + b"\n",
        b"9" * 10_000 + b"\n",
    ],
)
def test_damaged_lines_are_dropped_once(read: TextCommand, damage: bytes) -> None:
    names = [write_input("a.wav", "one"), write_input("b.wav", "two")]
    read("a.wav")
    with Path("out/.voxlate.jsonl").open("ab") as file:
        file.write(damage)
    assert read(*names) == 0
    assert read.asked == [("two", "de")]
    assert "of out/.voxlate.jsonl dropped" in read.stderr
    assert (read(*names), read.stderr) == (0, "0 read, 0 failed, 2 already done (--overwrite redoes them)\n")


def test_results_are_written_without_a_usable_journal(read: TextCommand) -> None:
    Path("out/.voxlate.jsonl").mkdir(parents=True)
    assert read(write_input("a.wav", "one")) == 0
    assert "out/.voxlate.jsonl cannot be read (Is a directory)" in read.stderr
    assert "out/.voxlate.jsonl cannot be written (Is a directory); the results are" in read.stderr
    assert written_results() == {"a.wav.de.txt": "de one\n"}


def test_a_line_follows_half_a_line_of_a_killed_process(read: TextCommand) -> None:
    read(write_input("a.wav", "one"))
    journal = Path("out/.voxlate.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    read.stream = _interrupted(read, journal)  # type: ignore[method-assign]
    read(write_input("b.wav", "two"))
    kept = journal.read_bytes().splitlines(keepends=True)
    assert kept[: len(lines)] == lines
    assert json.loads(kept[-1])["input"].endswith("b.wav")


def _interrupted(read: TextCommand, journal: Path) -> Any:
    """Another process writes half a line and is killed while this one reads."""
    stream = read.stream

    def other(*arguments: Any, **options: Any) -> Iterator[tuple[int, Any]]:
        with journal.open("ab") as file:
            file.write(b'{"place": "c')
        yield from stream(*arguments, **options)

    return other


def test_two_processes_at_once_keep_both_results(read: TextCommand, tmp_path: Path, capsys: Any) -> None:
    """The second one starts when the first has reserved its file names and has no result yet."""
    first, second = write_input(f"{tmp_path}/one/x.wav", "one"), write_input(f"{tmp_path}/two/x.wav", "two")
    stream, other = read.stream, TextCommand(capsys)

    def meanwhile(*arguments: Any, **options: Any) -> Iterator[tuple[int, Any]]:
        other(second)
        yield from stream(*arguments, **options)

    read.stream = meanwhile  # type: ignore[method-assign]
    read(first)
    assert written_results() == {"x.wav.de.txt": "de one\n", "two/x.wav.de.txt": "de two\n"}


@pytest.mark.parametrize("out", ["out", None])
def test_an_error_keeps_finished_results(read: TextCommand, out: str | None) -> None:
    names = [write_input("a.wav", "one"), write_input("b.wav", "two")]

    def stream(inputs: Any, **_: Any) -> Iterator[tuple[int, Any]]:
        list(inputs)
        yield 1, Translation("", 1.0, "de", (Segment(0.0, 1.0, (Candidate("two", -1.0),)),))
        raise MemoryError

    whole, read.stream = read.stream, stream  # type: ignore[method-assign]
    with pytest.raises(MemoryError):
        read(*names, out=out)
    stdout, stderr = read.capsys.readouterr()
    assert stderr == f"stopped by an error: 1 read, 0 failed{'; wrote out/b.wav.de.txt' if out else ''}\n"
    assert stdout == ("" if out else "b.wav\ttwo\n")
    read.stream = whole  # type: ignore[method-assign]
    if out:
        read(*names)
        assert read.asked == [("one", "de")]


def test_temporary_files_of_killed_processes_are_removed(read: TextCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    folder = Path("out/deep")
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: ended.pid)
        killed = atomic_file(folder / "left.txt")  # keeps a reference, without which it would end and clean up
        left = killed.__enter__()
    old, somebodys = folder / ".x.abcdefgh.part", folder / ".mine.part"
    for path in (old, somebodys):
        path.touch()
        os.utime(path, (0, 0))
    with atomic_file(folder / "now.txt") as part:
        read(write_input("deep/a.wav", "one"))
        assert part.exists()
    assert not left.exists()
    assert sorted(path.name for path in folder.iterdir()) == [".mine.part", "a.wav.de.txt", "now.txt"]


def test_a_full_disk_is_reported_with_the_file(read: TextCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str, **_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    Path("a.wav").touch()
    with pytest.raises(VoxlateError, match=r"left on device: out/a.wav.de.txt\); 0 read, 0 failed"):
        read("a.wav")
    with pytest.raises(OSError, match=r"other\.txt"):
        write_text(Path("other.txt"), "")
