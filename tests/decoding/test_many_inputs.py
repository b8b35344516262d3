"""Costs of each input that must not grow with the number of inputs: system calls, folder listings, memory."""

import builtins
import os
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from text_command import TextCommand, write_input, written_results
from voxlate.decoding.inputs import find_inputs
from voxlate.decoding.result_files import ResultFiles
from voxlate.progress import TimeEstimate


def write_inputs(folder: str, count: int) -> str:
    """Write a folder of inputs; return its name."""
    for number in range(count):
        write_input(f"{folder}/{number:04}.wav", str(number))
    return folder


def counted(monkeypatch: pytest.MonkeyPatch, run: Callable[[], object]) -> Counter[str]:
    """Return how often `run` called functions of the operating system."""
    calls: Counter[str] = Counter()
    for module, name in [(os, "scandir"), (os, "listdir"), (os, "stat"), (os, "unlink"), (os, "fsync"), (os, "open")]:
        actual = getattr(module, name)

        def call(*arguments: Any, actual: Any = actual, name: str = name, **options: Any) -> Any:
            calls[name] += 1
            return actual(*arguments, **options)

        monkeypatch.setattr(module, name, call)
    actual_open = builtins.open
    monkeypatch.setattr(
        builtins, "open", lambda *arguments, **options: calls.update(["open"]) or actual_open(*arguments, **options)
    )
    run()
    monkeypatch.undo()
    return calls


@pytest.mark.parametrize("count", [20, 200])
def test_an_input_costs_the_same_among_few_and_many(
    read: TextCommand, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    folder = Path.cwd()
    name = write_inputs("in", count)
    with monkeypatch.context() as patch:
        first = counted(patch, lambda: read(name))
    assert (folder / "out").is_dir()
    assert first["scandir"] + first["listdir"] <= 5
    assert first["fsync"] == 0
    assert first["open"] <= 8 * count + 20
    with monkeypatch.context() as patch:
        rerun = counted(patch, lambda: read(name))
    assert read.asked == []
    assert rerun["scandir"] + rerun["listdir"] <= 5
    assert rerun["open"] <= 20
    assert rerun["unlink"] <= 5
    assert rerun["stat"] <= 6 * count + 50


def test_an_empty_result_is_computed_again_unless_it_was_empty(read: TextCommand) -> None:
    read(write_input("a.wav", "one"))
    result = Path("out/a.wav.de.txt")
    result.write_text("")  # as a power failure may leave it
    read("a.wav")
    assert written_results() == {"a.wav.de.txt": "de one\n"}
    journal = Path("out/.voxlate.jsonl")
    journal.write_text(journal.read_text().replace('"empty": []', '"empty": ["txt"]'))
    result.write_text("")
    read("a.wav")
    assert (read.asked, result.read_text()) == ([], "")


def test_an_empty_file_of_unknown_origin_is_replaced(read: TextCommand) -> None:
    Path("out").mkdir()
    Path("out/a.wav.de.txt").touch()
    read(write_input("a.wav", "one"))
    assert written_results() == {"a.wav.de.txt": "de one\n"}


def test_journals_from_before_empty_results_were_recorded_are_kept(read: TextCommand) -> None:
    read(write_input("a.wav", "one"))
    journal = Path("out/.voxlate.jsonl")
    journal.write_text(journal.read_text().replace(', "empty": []', ""))
    Path("out/a.wav.de.txt").write_text("")
    read("a.wav")
    assert read.asked == []


def test_a_pending_input_takes_little_memory(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(500):
        (folder / f"{number:04}.wav").touch()

    def settings(_: str) -> dict[str, object]:
        return {"model": "m"}

    tracemalloc.start()
    outputs = ResultFiles(tmp_path / "out", ["txt"], ["de"], overwrite=False, settings=settings, warn=print)
    work = outputs.work_list(find_inputs([str(folder)]).items)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(work.pending) == 500
    assert held / 500 < 3000


def test_an_update_of_the_progress_does_not_add_up_all_inputs() -> None:
    class Sizes(list[int]):
        reads = 0

        def __iter__(self) -> Any:
            self.reads += 1
            return super().__iter__()

        def __getitem__(self, index: Any) -> Any:
            self.reads += 1
            return super().__getitem__(index)

    sizes = Sizes([100] * 1000)
    estimate = TimeEstimate(sizes, "translated")
    reads = sizes.reads
    for number in range(1, 1001):
        estimate.update(number - 1.0, float(number))
        assert estimate.total == pytest.approx(1000.0)
    assert sizes.reads == reads
