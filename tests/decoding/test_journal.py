"""The journal of an output folder: results are outdated if the input or the settings change."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from text_command import TextCommand, write_input, written_results


def test_an_input_is_processed_again_only_if_its_contents_change(read: TextCommand) -> None:
    name = write_input("a.wav", "one")
    assert (read(name), read.stderr) == (0, "1 read, 0 failed; wrote out/a.wav.de.txt\n")
    assert (read(name), read.asked) == (0, [])
    assert read.stderr == "0 read, 0 failed, 1 already done (--overwrite redoes them)\n"
    write_input(name, "two")
    assert (read(name), read.asked) == (0, [("two", "de")])
    assert written_results() == {"a.wav.de.txt": "de two\n"}


def test_changed_contents_are_detected_despite_equal_size_and_time(read: TextCommand) -> None:
    read(write_input("a.wav", "one"))
    state = Path("a.wav").stat()
    write_input("new", "two")
    os.utime("new", ns=(state.st_atime_ns, state.st_mtime_ns))
    Path("new").replace("a.wav")
    read("a.wav")
    assert written_results() == {"a.wav.de.txt": "de two\n"}


def test_a_touched_or_copied_file_is_unchanged(read: TextCommand) -> None:
    read(write_input("a.wav", "one"))
    os.utime("a.wav", (0, 0))
    read("a.wav")
    assert read.asked == []
    shutil.copy("a.wav", "copy")
    Path("copy").replace("a.wav")
    read("a.wav")
    assert read.asked == []


def test_a_file_that_changes_while_it_is_read_is_processed_again(read: TextCommand) -> None:
    stream = read.stream

    def slow(*arguments: Any, **options: Any) -> Iterator[tuple[int, Any]]:
        for result in stream(*arguments, **options):
            write_input("a.wav", "more")
            yield result

    read.stream = slow  # type: ignore[method-assign]
    read(write_input("a.wav", "one"))
    read.stream = stream  # type: ignore[method-assign]
    read("a.wav")
    assert read.asked == [("more", "de")]


def test_results_of_other_settings_are_kept_and_reported(read: TextCommand) -> None:
    names = [write_input(f"{number}.wav", str(number)) for number in range(3)]
    read(*names, model="first")
    assert (read(*names, model="second"), read.asked) == (0, [])
    assert "note: 3 results were made with other settings (model); --overwrite redoes them\n" in read.stderr
    assert "0 read, 0 failed, 3 already done" in read.stderr
    write_input("0.wav", "changed")
    read(*names, model="second")
    assert read.asked == [("changed", "de")]
    assert "note: 2 results were made with other settings" in read.stderr
    read(*names, model="second", overwrite=True)
    read(*names, model="second")
    assert "other settings" not in read.stderr


def test_torch_is_not_loaded_if_everything_is_done(read: TextCommand) -> None:
    read(write_input("a.wav", "one"))
    write_input("model/config.json", "{}")
    command = ["voxlate", "translate", "a.wav", "--to", "de", "--model", "model", "--output-dir", "out"]
    code = (
        f"import sys; sys.argv = {command}; from voxlate.cli import main\n"
        "try: main()\nexcept SystemExit as end: print(end.code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "0 False\n"
    assert "note: 1 result was made with other settings (" in done.stderr


def test_missing_formats_are_added_and_results_of_other_settings_are_kept(read: TextCommand) -> None:
    read(write_input("a.wav", "one"), model="first")
    Path("out/a.wav.de.txt").write_text("mine\n")
    read("a.wav", formats=("txt", "tsv"), model="second")
    assert sorted(written_results()) == ["a.wav.de.tsv", "a.wav.de.txt"]
    assert written_results()["a.wav.de.txt"] == "mine\n"
    assert "note: 1 result was made with other settings (model); --overwrite redoes it" in read.stderr


def test_a_deleted_result_is_made_again(read: TextCommand) -> None:
    read(write_input("a.wav", "one"), write_input("b.wav", "two"))
    Path("out/a.wav.de.txt").unlink()
    read("a.wav", "b.wav")
    assert read.asked == [("one", "de")]


def test_failed_inputs_are_retried_and_truncated_ones_are_not(read: TextCommand) -> None:
    names = [write_input("a.wav", "cut short"), write_input("b.wav", "broken")]
    assert read(*names) == 1
    assert read(*names) == 1
    assert read.asked == [("broken", "de")]
    write_input("b.wav", "mended")
    assert read(*names) == 1  # the same as without the damage
    assert "warning: a.wav: truncated; what was decoded is already read" in read.stderr
    assert "1 read, 0 failed, 1 already done" in read.stderr


def test_inputs_without_a_name_are_always_processed(read: TextCommand) -> None:
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
    assert written_results() == texts
    Path("pipe.wav").unlink()
    read(write_input("pipe.wav", "a file now"))
    assert written_results()["pipe.wav.de.txt"] == "de a file now\n"


def test_results_of_earlier_recordings_without_a_name_are_kept(read: TextCommand) -> None:
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
    texts = {name: text for name, text in written_results().items() if name.endswith("txt")}
    assert texts == {"99.de.txt": "de four\n", "99~1.de.txt": "de one\n", "99~2.de.txt": "de two\n"}


def test_files_without_a_journal_entry_are_kept(read: TextCommand) -> None:
    read(write_input("a.wav", "one"))
    Path("out/.voxlate.jsonl").unlink()
    assert (read("a.wav"), read.asked) == (0, [])
    assert read.stderr == (
        "note: 1 result is kept whose input and settings are not recorded in out/.voxlate.jsonl (out/a.wav.de.txt); "
        "--overwrite replaces it\n0 read, 0 failed, 1 already done (--overwrite redoes them)\n"
    )
    assert "1 read" in (read("a.wav", overwrite=True), read.stderr)[1]
    assert "note" not in (read("a.wav"), read.stderr)[1]


def test_only_missing_languages_are_requested(read: TextCommand) -> None:
    names = [write_input("a.wav", "one"), write_input("b.wav", "two"), write_input("c.wav", "broken")]
    read("a.wav", to=["de"])
    assert read(*names, to=["de", "fr"]) == 1
    assert read.asked == [("one", "fr"), ("two", "de", "fr"), ("broken", "de", "fr")]
    assert "2 read, 1 failed; wrote 3 files in out" in read.stderr
    assert sorted(written_results()) == ["a.wav.de.txt", "a.wav.fr.txt", "b.wav.de.txt", "b.wav.fr.txt"]
    assert written_results()["b.wav.fr.txt"] == "fr two\n"


def test_printed_results_state_their_language_if_there_are_several(read: TextCommand) -> None:
    names = [write_input("a.wav", "one"), write_input("b.wav", "two")]
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
