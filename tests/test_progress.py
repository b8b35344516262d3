"""Progress of a command: a bar on a terminal, lines elsewhere."""

import io
import threading
import time

import pytest
from rich.console import Console

from voxlate import progress
from voxlate.progress import TimeEstimate, audio_progress_bar, progress_bar, progress_lines


class ManualClock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_the_time_left_is_estimated_from_file_sizes() -> None:
    clock = ManualClock()
    estimate = TimeEstimate([100, 100, 200], "loading the model", clock)
    assert estimate.line() == "loading the model …"
    clock.seconds = 50.0
    estimate.begin("translated")
    estimate.update(0.0, 600.0)
    assert estimate.line() == "0 of about 2400 s of audio translated"
    clock.seconds += 30.0
    estimate.update(600.0, 600.0)
    assert estimate.line() == "600 of about 2400 s of audio translated, about 2 min left"
    estimate.failed()  # the second input has no audio
    estimate.update(600.0, 1800.0)
    assert (estimate.total, estimate.left) == (1800.0, "about 1 min left")
    clock.seconds += 7200.0
    assert estimate.left == "about 4 h 01 min left"
    estimate.update(1800.0, 1800.0)
    assert estimate.line() == "1800 of 1800 s of audio translated, less than a minute left"


def test_inputs_count_equally_without_file_sizes() -> None:
    estimate = TimeEstimate([0, 500], "translated")
    estimate.update(0.0, 10.0)
    assert estimate.total == 20.0


def wait_for(text: str, stream: io.StringIO) -> None:
    deadline = time.monotonic() + 10
    while text not in stream.getvalue() and time.monotonic() < deadline:
        time.sleep(0.002)
    assert text in stream.getvalue()


def test_lines_are_printed_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REPORT_SECONDS", 0.005)
    stream = io.StringIO()
    estimate = TimeEstimate([1], "loading the model")
    with progress_lines(Console(file=stream), estimate.line):
        wait_for("loading the model …\n", stream)
        estimate.begin("translated")
        with audio_progress_bar(Console(file=stream), estimate) as update:
            update(30.0, 60.0)
        wait_for("30 of 60 s of audio translated, less than a minute left\n", stream)
    assert "\r" not in stream.getvalue()


def test_items_are_counted_in_lines_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(progress, "REPORT_SECONDS", 0.005)
    monkeypatch.setattr("sys.stderr", stream)
    with progress_bar("recordings", 2000) as advance:
        wait_for("recordings: 0 of 2,000\n", stream)
        advance(1000)
        advance(500)
        wait_for("recordings: 1,500 of 2,000, less than a minute left\n", stream)
    assert "\r" not in stream.getvalue()


def test_a_bar_shows_the_time_left_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REPORT_SECONDS", 0.001)
    stream, clock = io.StringIO(), ManualClock()
    console = Console(file=stream, force_terminal=True, width=120)
    estimate = TimeEstimate([1], "translated", clock)
    threads = threading.active_count()
    with progress_lines(console, estimate.line):
        assert threading.active_count() == threads
        with audio_progress_bar(console, estimate) as update:
            clock.seconds = 60.0
            update(10.0, 40.0)
    assert "10 of 40 s of audio" in stream.getvalue()
    assert "about 3 min left" in stream.getvalue()
