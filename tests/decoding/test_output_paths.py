"""Paths of results, and file names of any kind."""

import json
import os
from pathlib import Path

import pytest

from text_command import TextCommand, write_input, written_results


def test_results_keep_the_folders_below_the_common_parent_of_inputs(read: TextCommand, tmp_path: Path) -> None:
    first, second = write_input(f"{tmp_path}/data/x/a.wav", "one"), write_input(f"{tmp_path}/data/y/deep/a.wav", "two")
    read(first, "/nowhere/typo.wav", out="alone")
    assert Path("alone/a.wav.de.txt").is_file()
    read(first, second, write_input("in/here.wav", "three"))
    assert written_results() == {
        "in/here.wav.de.txt": "de three\n",
        "x/a.wav.de.txt": "de one\n",
        "y/deep/a.wav.de.txt": "de two\n",
    }


def test_inputs_of_the_same_name_have_different_results(read: TextCommand, tmp_path: Path) -> None:
    paths = [write_input(f"{tmp_path}/{name}/x.wav", name) for name in ("one", "two", "again/two")]
    for _ in range(2):
        for path in paths:
            read(path)
        read(write_input("x.wav", "here"))
        assert written_results() == {
            "x.wav.de.txt": "de one\n",
            "two/x.wav.de.txt": "de two\n",
            "again/two/x.wav.de.txt": "de again/two\n",
            "work/x.wav.de.txt": "de here\n",
        }
    assert read.asked == []


def test_results_are_numbered_if_all_paths_are_taken(read: TextCommand, tmp_path: Path) -> None:
    below = str(tmp_path).lstrip("/")
    read(write_input(f"{below}/x.wav", "here"), write_input("x.wav", "there"))
    read(write_input(f"{tmp_path}/x.wav", "elsewhere"))
    assert sorted(written_results().values()) == ["de elsewhere\n", "de here\n", "de there\n"]
    assert read(f"{tmp_path}/x.wav") == 0
    assert read.asked == []


def test_moved_recordings_keep_their_results(read: TextCommand, tmp_path: Path) -> None:
    read(write_input(f"{tmp_path}/old/x.wav", "one"))
    (tmp_path / "old").rename(tmp_path / "new")
    read(f"{tmp_path}/new/x.wav")
    assert read.asked == []
    write_input(f"{tmp_path}/old/x.wav", "six")
    read(f"{tmp_path}/old/x.wav")
    assert written_results() == {"x.wav.de.txt": "de one\n", "old/x.wav.de.txt": "de six\n"}


@pytest.mark.parametrize("name", ["x" * 251, "漢" * 83 + "xx", "\U0001f3a7" * 62 + "xxx", "é" * 120 + "x" * 8])
def test_long_names_are_shortened_without_collisions(read: TextCommand, name: str) -> None:
    names = [write_input(f"{name[:-1]}{last}.wav", last) for last in "ab"]
    assert read(*names, formats=("txt", "json")) == 0
    assert len(written_results()) == 4
    assert sorted(text for path, text in written_results().items() if path.endswith(".txt")) == ["de a\n", "de b\n"]
    assert (read(*names, formats=("txt", "json")), read.asked) == (0, [])


def test_paths_that_cannot_be_written_are_reported_first(read: TextCommand) -> None:
    names = [write_input("a.wav", "one"), write_input("taken/b.wav", "two")]
    write_input("out/taken", "a file")
    Path("out/a.wav.de.txt").mkdir()
    assert read(*names, write_input("c.wav", "three")) == 1
    assert read.asked == [("three", "de")]
    assert "error: a.wav: its result cannot be written (Is a directory)\n" in read.stderr
    assert "error: taken/b.wav: its result cannot be written (Not a directory)\n" in read.stderr
    assert "1 read, 2 failed" in read.stderr


def test_names_that_are_not_utf8_are_escaped_in_messages(read: TextCommand) -> None:
    name = os.fsdecode(b"a\xff.wav")
    read(write_input(name, "one"))
    assert read.stderr.endswith("; wrote out/a\\xff.wav.de.txt\n")
    Path("out/.voxlate.jsonl").unlink()
    read(name)
    assert "(out/a\\xff.wav.de.txt)" in read.stderr
    read(name, overwrite=True)
    assert (read(name), read.asked, "note" in read.stderr) == (0, [], False)


LINE_ENDS = "\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"


@pytest.mark.parametrize("form", ["txt", "tsv", "json"])
def test_line_breaks_in_names_do_not_break_lines(read: TextCommand, form: str) -> None:
    names = [write_input(f"a{LINE_ENDS}.wav", f"one{LINE_ENDS}end"), write_input("b.wav", "two")]
    read(*names, out=None, formats=[form])
    rows = read.stdout.splitlines()[form == "tsv" :]
    assert len(rows) == 2
    if form == "json":
        assert [json.loads(row)["audio"] for row in rows] == names
    else:
        assert [row.split("\t")[0].split()[0] for row in rows] == ["a", "b.wav"]
    read(*names, formats=["txt", "srt", "vtt"])
    [subtitles] = [text for name, text in written_results().items() if name.startswith("a") and name.endswith("srt")]
    assert len(subtitles.splitlines()) == 3


def test_messages_stay_on_one_line_despite_line_breaks_in_names(read: TextCommand) -> None:
    read(
        write_input(f"a{LINE_ENDS}\x1b[31m.wav", "broken"),
        write_input(f"b{LINE_ENDS}.wav", "cut"),
        f"http://no{LINE_ENDS}",
    )
    assert [line.split()[:2] for line in read.stderr.splitlines()] == [
        ["error:", "http://no"],
        ["error:", "a"],
        ["warning:", "b"],
        ["0", "read,"],
    ]
    assert "\x1b" not in read.stderr
