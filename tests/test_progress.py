"""What is said while a command works: on a terminal and elsewhere."""

import io
import threading
import time

import pytest
from rich.console import Console

from voxlate import progress
from voxlate.progress import TimeEstimate, audio_progress_bar, progress_lines


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_what_is_left_is_judged_by_the_sizes_of_files() -> None:
    clock = Clock()
    pace = TimeEstimate([100, 100, 200], "loading the model", clock)
    assert pace.line() == "loading the model …"
    clock.seconds = 50.0
    pace.begin("translated")
    pace.update(0.0, 600.0)
    assert pace.line() == "0 of about 2400 s of audio translated"
    clock.seconds += 30.0
    pace.update(600.0, 600.0)
    assert pace.line() == "600 of about 2400 s of audio translated, about 2 min left"
    pace.failed()  # the second gives nothing
    pace.update(600.0, 1800.0)
    assert (pace.total, pace.left) == (1800.0, "about 1 min left")
    clock.seconds += 7200.0
    assert pace.left == "about 4 h 01 min left"
    pace.update(1800.0, 1800.0)
    assert pace.line() == "1800 of 1800 s of audio translated, less than a minute left"


def test_without_sizes_all_inputs_count_alike() -> None:
    pace = TimeEstimate([0, 500], "translated")
    pace.update(0.0, 10.0)
    assert pace.total == 20.0


def wait_for(text: str, stream: io.StringIO) -> None:
    deadline = time.monotonic() + 10
    while text not in stream.getvalue() and time.monotonic() < deadline:
        time.sleep(0.002)
    assert text in stream.getvalue()


def test_a_line_now_and_then_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REPORT_SECONDS", 0.005)
    stream = io.StringIO()
    pace = TimeEstimate([1], "loading the model")
    with progress_lines(Console(file=stream), pace):
        wait_for("loading the model …\n", stream)
        pace.begin("translated")
        with audio_progress_bar(Console(file=stream), pace) as update:
            update(30.0, 60.0)
        wait_for("30 of 60 s of audio translated, less than a minute left\n", stream)
    assert "\r" not in stream.getvalue()


def test_a_bar_with_what_is_left_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REPORT_SECONDS", 0.001)
    stream, clock = io.StringIO(), Clock()
    console = Console(file=stream, force_terminal=True, width=120)
    pace = TimeEstimate([1], "translated", clock)
    threads = threading.active_count()
    with progress_lines(console, pace):
        assert threading.active_count() == threads
        with audio_progress_bar(console, pace) as update:
            clock.seconds = 60.0
            update(10.0, 40.0)
    assert "10 of 40 s of audio" in stream.getvalue()
    assert "about 3 min left" in stream.getvalue()
