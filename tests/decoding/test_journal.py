"""Which results are already done, decided by the contents of inputs and by settings, not by names."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from voxlate.decoding.results import Candidate, Segment, Translation
from voxlate.decoding.run_inputs import InputsCommand, run_inputs
from voxlate.errors import AudioError, VoxlateError
from voxlate.files import whole_file, write_text


class Reader:
    """Runs `run_inputs` with a stream that repeats what files say: broken ones fail, cut ones give a warning."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.stdout = self.stderr = ""
        self.asked: list[tuple[str, ...]] = []

    def stream(self, inputs: Any, *, to: Sequence[str | Sequence[str]], progress: Any) -> Iterator[tuple[int, Any]]:
        for index, item in enumerate(inputs):
            if isinstance(item, Path) and not item.exists():
                yield index, AudioError(f"{item}: no such file")
                continue
            text = item.read_text() if isinstance(item, Path) else item.read().decode()
            languages = [to[index]] if isinstance(to[index], str) else to[index]
            self.asked.append((text, *languages))
            if text.startswith("broken"):
                yield index, AudioError(f"{item}: broken")
                continue
            progress(index, index + 1.0)
            for language in languages:
                warnings = ("truncated",) if text.startswith("cut") else ()
                segment = Segment(0.0, 1.0, (Candidate(f"{language} {text}", -1.0),))
                recipe = {"reads": language}
                yield index, Translation(str(item), 1.0, str(language), (segment,), warnings=warnings, recipe=recipe)

    def __call__(
        self,
        *audio: str,
        to: Sequence[str] = ("de",),
        formats: Sequence[str] = ("txt",),
        out: str | None = "out",
        overwrite: bool = False,
        model: str = "m",
    ) -> int:
        command = InputsCommand(audio, formats, None if out is None else Path(out), overwrite)
        self.asked.clear()
        code = run_inputs(command, to, "read", lambda _: {"model": model, "beam": 5}, lambda _: self.stream)
        self.stdout, self.stderr = self.capsys.readouterr()
        return code


@pytest.fixture
def read(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return Reader(capsys)


def say(name: str, text: str) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return name


def results() -> dict[str, str]:
    paths = (path for path in sorted(Path("out").rglob("*")) if path.is_file() and not path.name.startswith(".voxlate"))
    return {str(path.relative_to("out")): path.read_text() for path in paths}


# --- changed inputs and settings -------------------------------------------------------------------------------------


def test_an_input_is_done_once_and_again_when_it_says_something_else(read: Reader) -> None:
    name = say("a.wav", "one")
    assert (read(name), read.stderr) == (0, "1 read, 0 failed; wrote out/a.wav.de.txt\n")
    assert (read(name), read.asked) == (0, [])
    assert read.stderr == "0 read, 0 failed, 1 already done (--overwrite redoes them)\n"
    say(name, "two")
    assert (read(name), read.asked) == (0, [("two", "de")])
    assert results() == {"a.wav.de.txt": "de two\n"}


def test_size_and_time_of_other_contents_do_not_deceive(read: Reader) -> None:
    read(say("a.wav", "one"))
    state = Path("a.wav").stat()
    say("new", "two")
    os.utime("new", ns=(state.st_atime_ns, state.st_mtime_ns))
    Path("new").replace("a.wav")
    read("a.wav")
    assert results() == {"a.wav.de.txt": "de two\n"}


def test_a_file_that_is_only_touched_or_copied_is_the_same(read: Reader) -> None:
    read(say("a.wav", "one"))
    os.utime("a.wav", (0, 0))
    read("a.wav")
    assert read.asked == []
    shutil.copy("a.wav", "copy")
    Path("copy").replace("a.wav")
    read("a.wav")
    assert read.asked == []


def test_a_file_that_changes_while_it_is_read_is_done_again(read: Reader) -> None:
    stream = read.stream

    def slow(*arguments: Any, **options: Any) -> Iterator[tuple[int, Any]]:
        for result in stream(*arguments, **options):
            say("a.wav", "more")
            yield result

    read.stream = slow  # type: ignore[method-assign]
    read(say("a.wav", "one"))
    read.stream = stream  # type: ignore[method-assign]
    read("a.wav")
    assert read.asked == [("more", "de")]


def test_results_of_other_settings_are_kept_and_named(read: Reader) -> None:
    names = [say(f"{number}.wav", str(number)) for number in range(3)]
    read(*names, model="first")
    assert (read(*names, model="second"), read.asked) == (0, [])
    assert "note: 3 results were made with other settings (model); --overwrite redoes them\n" in read.stderr
    assert "0 read, 0 failed, 3 already done" in read.stderr
    say("0.wav", "changed")
    read(*names, model="second")
    assert read.asked == [("changed", "de")]
    assert "note: 2 results were made with other settings" in read.stderr
    read(*names, model="second", overwrite=True)
    read(*names, model="second")
    assert "other settings" not in read.stderr


def test_what_is_done_is_found_out_without_torch(read: Reader) -> None:
    read(say("a.wav", "one"))
    say("model/config.json", "{}")
    command = ["voxlate", "translate", "a.wav", "--to", "de", "--model", "model", "--output-dir", "out"]
    code = (
        f"import sys; sys.argv = {command}; from voxlate.cli import main\n"
        "try: main()\nexcept SystemExit as end: print(end.code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "0 False\n"
    assert "note: 1 result was made with other settings (" in done.stderr


def test_other_formats_are_added_and_results_of_other_settings_stay(read: Reader) -> None:
    read(say("a.wav", "one"), model="first")
    Path("out/a.wav.de.txt").write_text("mine\n")
    read("a.wav", formats=("txt", "tsv"), model="second")
    assert sorted(results()) == ["a.wav.de.tsv", "a.wav.de.txt"]
    assert results()["a.wav.de.txt"] == "mine\n"
    assert "note: 1 result was made with other settings (model); --overwrite redoes it" in read.stderr


def test_a_result_that_is_deleted_is_made_again(read: Reader) -> None:
    read(say("a.wav", "one"), say("b.wav", "two"))
    Path("out/a.wav.de.txt").unlink()
    read("a.wav", "b.wav")
    assert read.asked == [("one", "de")]


def test_failed_inputs_are_tried_again_and_cut_ones_are_not(read: Reader) -> None:
    names = [say("a.wav", "cut short"), say("b.wav", "broken")]
    assert read(*names) == 1
    assert read(*names) == 1
    assert read.asked == [("broken", "de")]
    say("b.wav", "mended")
    assert read(*names) == 1  # as it would have been if nothing had been broken
    assert "warning: a.wav: truncated; what was decoded is already read" in read.stderr
    assert "1 read, 0 failed, 1 already done" in read.stderr


def test_nameless_inputs_are_always_done(read: Reader) -> None:
    os.mkfifo("pipe.wav")
    for text in ("one", "two"):
        thread = threading.Thread(target=Path("pipe.wav").write_text, args=(text,))
        thread.start()
        read("pipe.wav")
        thread.join()
    reader, writer = os.pipe()
    os.write(writer, b"three")
    os.close(writer)
    read(f"/dev/fd/{reader}")
    os.close(reader)
    texts = {f"{reader}.de.txt": "de three\n", "pipe.wav.de.txt": "de two\n", "pipe.wav~1.de.txt": "de one\n"}
    assert results() == texts
    Path("pipe.wav").unlink()
    read(say("pipe.wav", "a file now"))
    assert results()["pipe.wav.de.txt"] == "de a file now\n"


def test_the_result_of_an_earlier_recording_without_a_name_is_kept(read: Reader) -> None:
    def record(text: str, **options: Any) -> None:
        reader, writer = os.pipe()
        os.write(writer, text.encode())
        os.close(writer)
        os.dup2(reader, 99)
        os.close(reader)
        assert read("/dev/fd/99", **options) == 0
        os.close(99)

    for text in ("one", "two", "two", "three"):
        record(text, formats=["txt", "vtt"] if text == "one" else ["txt"])
    note = "note: /dev/fd/99: the result of an earlier recording is kept as out/99~2.de.txt\n"
    assert read.stderr == f"{note}1 read, 0 failed; wrote out/99.de.txt\n"
    record("four", overwrite=True)
    texts = {name: text for name, text in results().items() if name.endswith("txt")}
    assert texts == {"99.de.txt": "de four\n", "99~1.de.txt": "de one\n", "99~2.de.txt": "de two\n"}


# --- whose result it is ----------------------------------------------------------------------------------------------


def test_results_of_files_elsewhere_keep_the_folders_below_their_common_parent(read: Reader, tmp_path: Path) -> None:
    first, second = say(f"{tmp_path}/data/x/a.wav", "one"), say(f"{tmp_path}/data/y/deep/a.wav", "two")
    read(first, "/nowhere/typo.wav", out="alone")
    assert Path("alone/a.wav.de.txt").is_file()
    read(first, second, say("in/here.wav", "three"))
    assert results() == {
        "in/here.wav.de.txt": "de three\n",
        "x/a.wav.de.txt": "de one\n",
        "y/deep/a.wav.de.txt": "de two\n",
    }


def test_inputs_of_one_name_have_places_of_their_own(read: Reader, tmp_path: Path) -> None:
    paths = [say(f"{tmp_path}/{name}/x.wav", name) for name in ("one", "two", "again/two")]
    for _ in range(2):
        for path in paths:
            read(path)
        read(say("x.wav", "here"))
        assert results() == {
            "x.wav.de.txt": "de one\n",
            "two/x.wav.de.txt": "de two\n",
            "again/two/x.wav.de.txt": "de again/two\n",
            "work/x.wav.de.txt": "de here\n",
        }
    assert read.asked == []


def test_all_folders_of_a_path_may_be_taken(read: Reader, tmp_path: Path) -> None:
    below = str(tmp_path).lstrip("/")
    read(say(f"{below}/x.wav", "here"), say("x.wav", "there"))
    read(say(f"{tmp_path}/x.wav", "elsewhere"))
    assert sorted(results().values()) == ["de elsewhere\n", "de here\n", "de there\n"]
    assert read(f"{tmp_path}/x.wav") == 0
    assert read.asked == []


def test_recordings_that_are_moved_keep_their_results(read: Reader, tmp_path: Path) -> None:
    read(say(f"{tmp_path}/old/x.wav", "one"))
    (tmp_path / "old").rename(tmp_path / "new")
    read(f"{tmp_path}/new/x.wav")
    assert read.asked == []
    say(f"{tmp_path}/old/x.wav", "six")
    read(f"{tmp_path}/old/x.wav")
    assert results() == {"x.wav.de.txt": "de one\n", "old/x.wav.de.txt": "de six\n"}


def test_files_that_no_journal_knows_are_kept(read: Reader) -> None:
    read(say("a.wav", "one"))
    Path("out/.voxlate.jsonl").unlink()
    assert (read("a.wav"), read.asked) == (0, [])
    assert read.stderr == (
        "note: 1 result is kept whose input and settings are not recorded in out/.voxlate.jsonl (out/a.wav.de.txt); "
        "--overwrite replaces it\n0 read, 0 failed, 1 already done (--overwrite redoes them)\n"
    )
    assert "1 read" in (read("a.wav", overwrite=True), read.stderr)[1]
    assert "note" not in (read("a.wav"), read.stderr)[1]


# --- a journal that is damaged or shared -----------------------------------------------------------------------------


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
def test_damaged_lines_are_left_out_once(read: Reader, damage: bytes) -> None:
    names = [say("a.wav", "one"), say("b.wav", "two")]
    read("a.wav")
    with Path("out/.voxlate.jsonl").open("ab") as file:
        file.write(damage)
    assert read(*names) == 0
    assert read.asked == [("two", "de")]
    assert "of out/.voxlate.jsonl dropped" in read.stderr
    assert (read(*names), read.stderr) == (0, "0 read, 0 failed, 2 already done (--overwrite redoes them)\n")


def test_a_journal_that_is_no_file_is_no_obstacle(read: Reader) -> None:
    Path("out/.voxlate.jsonl").mkdir(parents=True)
    assert read(say("a.wav", "one")) == 0
    assert "out/.voxlate.jsonl cannot be read (Is a directory)" in read.stderr
    assert "out/.voxlate.jsonl cannot be written (Is a directory); the results are" in read.stderr
    assert results() == {"a.wav.de.txt": "de one\n"}


def test_a_line_is_whole_after_half_a_line(read: Reader) -> None:
    read(say("a.wav", "one"))
    journal = Path("out/.voxlate.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    read.stream = _interrupted(read, journal)  # type: ignore[method-assign]
    read(say("b.wav", "two"))
    kept = journal.read_bytes().splitlines(keepends=True)
    assert kept[: len(lines)] == lines
    assert json.loads(kept[-1])["input"].endswith("b.wav")


def _interrupted(read: Reader, journal: Path) -> Any:
    """Another process writes half a line and is killed while this one reads."""
    stream = read.stream

    def other(*arguments: Any, **options: Any) -> Iterator[tuple[int, Any]]:
        with journal.open("ab") as file:
            file.write(b'{"place": "c')
        yield from stream(*arguments, **options)

    return other


def test_two_processes_at_once_keep_both_results(read: Reader, tmp_path: Path, capsys: Any) -> None:
    """The second starts when the first has claimed its places, and has no result yet."""
    first, second = say(f"{tmp_path}/one/x.wav", "one"), say(f"{tmp_path}/two/x.wav", "two")
    stream, other = read.stream, Reader(capsys)

    def meanwhile(*arguments: Any, **options: Any) -> Iterator[tuple[int, Any]]:
        other(second)
        yield from stream(*arguments, **options)

    read.stream = meanwhile  # type: ignore[method-assign]
    read(first)
    assert results() == {"x.wav.de.txt": "de one\n", "two/x.wav.de.txt": "de two\n"}


@pytest.mark.parametrize("out", ["out", None])
def test_an_error_in_the_middle_loses_nothing_that_is_done(read: Reader, out: str | None) -> None:
    names = [say("a.wav", "one"), say("b.wav", "two")]

    def stream(inputs: Any, *, to: Any, progress: Any) -> Iterator[tuple[int, Any]]:
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


# --- several languages -----------------------------------------------------------------------------------------------


def test_each_language_has_its_files_and_what_is_there_is_not_asked_for(read: Reader) -> None:
    names = [say("a.wav", "one"), say("b.wav", "two"), say("c.wav", "broken")]
    read("a.wav", to=["de"])
    assert read(*names, to=["de", "fr"]) == 1
    assert read.asked == [("one", "fr"), ("two", "de", "fr"), ("broken", "de", "fr")]
    assert "2 read, 1 failed; wrote 3 files in out" in read.stderr
    assert sorted(results()) == ["a.wav.de.txt", "a.wav.fr.txt", "b.wav.de.txt", "b.wav.fr.txt"]
    assert results()["b.wav.fr.txt"] == "fr two\n"


def test_results_on_standard_output_say_their_language_if_there_are_several(read: Reader) -> None:
    names = [say("a.wav", "one"), say("b.wav", "two")]
    both = ["fr", "de"]
    read(*names, to=both, out=None)
    assert read.stdout == "a.wav\tfr\tfr one\na.wav\tde\tde one\nb.wav\tfr\tfr two\nb.wav\tde\tde two\n"
    read("a.wav", to=both, out=None)
    assert read.stdout == "a.wav\tfr\tfr one\na.wav\tde\tde one\n"
    read("a.wav", to=both, out=None, formats=["tsv"])
    assert [line.split("\t")[:3] for line in read.stdout.splitlines()] == [
        ["audio", "language", "start"],
        ["a.wav", "fr", "0.000"],
        ["a.wav", "de", "0.000"],
    ]
    read("a.wav", to=both, out=None, formats=["json"])
    found = [json.loads(line) for line in read.stdout.splitlines()]
    assert [(one["target_language"], one["recipe"]) for one in found] == [(to, {"reads": to}) for to in both]


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x" * 251, "漢" * 83 + "xx", "\U0001f3a7" * 62 + "xxx", "é" * 120 + "x" * 8])
def test_results_of_long_names_have_shorter_ones_of_their_own(read: Reader, name: str) -> None:
    names = [say(f"{name[:-1]}{last}.wav", last) for last in "ab"]
    assert read(*names, formats=("txt", "json")) == 0
    assert len(results()) == 4
    assert sorted(text for path, text in results().items() if path.endswith(".txt")) == ["de a\n", "de b\n"]
    assert (read(*names, formats=("txt", "json")), read.asked) == (0, [])


def test_paths_that_cannot_be_written_are_named_before_anything_is_read(read: Reader) -> None:
    names = [say("a.wav", "one"), say("taken/b.wav", "two")]
    say("out/taken", "a file")
    Path("out/a.wav.de.txt").mkdir()
    assert read(*names, say("c.wav", "three")) == 1
    assert read.asked == [("three", "de")]
    assert "error: a.wav: its result cannot be written (Is a directory)\n" in read.stderr
    assert "error: taken/b.wav: its result cannot be written (Not a directory)\n" in read.stderr
    assert "1 read, 2 failed" in read.stderr


def test_names_that_are_not_utf8_are_escaped_in_messages(read: Reader) -> None:
    name = os.fsdecode(b"a\xff.wav")
    read(say(name, "one"))
    assert read.stderr.endswith("; wrote out/a\\xff.wav.de.txt\n")
    Path("out/.voxlate.jsonl").unlink()
    read(name)
    assert "(out/a\\xff.wav.de.txt)" in read.stderr
    read(name, overwrite=True)
    assert (read(name), read.asked, "note" in read.stderr) == (0, [], False)


LINE_ENDS = "\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"


@pytest.mark.parametrize("form", ["txt", "tsv", "json"])
def test_names_with_ends_of_lines_end_no_line(read: Reader, form: str) -> None:
    names = [say(f"a{LINE_ENDS}.wav", f"one{LINE_ENDS}end"), say("b.wav", "two")]
    read(*names, out=None, formats=[form])
    rows = read.stdout.splitlines()[form == "tsv" :]
    assert len(rows) == 2
    if form == "json":
        assert [json.loads(row)["audio"] for row in rows] == names
    else:
        assert [row.split("\t")[0].split()[0] for row in rows] == ["a", "b.wav"]
    read(*names, formats=["txt", "srt", "vtt"])
    [subtitles] = [text for name, text in results().items() if name.startswith("a") and name.endswith("srt")]
    assert len(subtitles.splitlines()) == 3


def test_names_with_ends_of_lines_are_on_one_line_of_messages(read: Reader) -> None:
    read(say(f"a{LINE_ENDS}\x1b[31m.wav", "broken"), say(f"b{LINE_ENDS}.wav", "cut"), f"http://no{LINE_ENDS}")
    assert [line.split()[:2] for line in read.stderr.splitlines()] == [
        ["error:", "http://no"],
        ["error:", "a"],
        ["warning:", "b"],
        ["0", "read,"],
    ]
    assert "\x1b" not in read.stderr


# --- what killed processes leave -------------------------------------------------------------------------------------


def test_temporary_files_of_killed_processes_are_removed(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    folder = Path("out/deep")
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: ended.pid)
        killed = whole_file(folder / "left.txt")  # kept here: without a reference it would end, and clean up
        left = killed.__enter__()
    old, somebodys = folder / ".x.abcdefgh.part", folder / ".mine.part"
    for path in (old, somebodys):
        path.touch()
        os.utime(path, (0, 0))
    with whole_file(folder / "now.txt") as part:
        read(say("deep/a.wav", "one"))
        assert part.exists()
    assert not left.exists()
    assert sorted(path.name for path in folder.iterdir()) == [".mine.part", "a.wav.de.txt", "now.txt"]


def test_a_full_disk_is_named_by_the_file_that_is_not_written(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str, **_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    Path("a.wav").touch()
    with pytest.raises(VoxlateError, match=r"left on device: out/a.wav.de.txt\); 0 read, 0 failed"):
        read("a.wav")
    with pytest.raises(OSError, match=r"other\.txt"):
        write_text(Path("other.txt"), "")
