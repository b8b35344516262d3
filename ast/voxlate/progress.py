"""Report progress on standard error: a bar on a terminal, a line every 30 s elsewhere."""

import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

REPORT_SECONDS = 30.0  # between two lines


def stderr() -> Console:
    """Return a console on standard error that prints text verbatim."""
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


class AudioProgress:
    """Adds up the seconds of audio that are done and read, and reports both to a callback after each change."""

    def __init__(self, callback: Callable[[float, float], None] | None) -> None:
        self._callback = callback
        self._done = self._read = 0.0

    def add(self, *, done: float = 0.0, read: float = 0.0) -> None:
        """Add seconds of audio that are newly done and read."""
        self._done, self._read = self._done + done, self._read + read
        if self._callback is not None:
            self._callback(self._done, self._read)


class TimeEstimate:
    """Seconds of audio done, read and estimated in total, and the time left, both estimated from file sizes.

    `state` describes what is being done, such as "loading the model" before any audio is read.
    """

    def __init__(self, sizes: Sequence[int], state: str = "reading", now: Callable[[], float] = time.monotonic) -> None:
        # Sums of the first sizes, so that an update costs the same for any number of inputs.
        self._sums = array("q", accumulate(sizes if all(sizes) else [1] * len(sizes), initial=0))
        self._now, self._started = now, now()
        self.state, self.done, self.read = state, 0.0, 0.0
        self._inputs_read = 0

    def begin(self, state: str) -> None:
        """Start the clock; earlier work, such as loading a model, does not count."""
        self.state, self._started = state, self._now()

    def update(self, done: float, read: float) -> None:
        """Set the seconds of audio that are done and read so far."""
        if read > self.read:
            self._inputs_read += 1
        self.done, self.read = done, read

    def failed(self) -> None:
        """Count an input that has no audio."""
        self._inputs_read += 1

    @property
    def total(self) -> float:
        """Seconds of audio of all inputs, estimated from those read so far."""
        bytes_read = self._sums[min(self._inputs_read, len(self._sums) - 1)]
        return self.read * max(1.0, self._sums[-1] / bytes_read) if bytes_read else self.read

    @property
    def left(self) -> str:
        """The estimated time left, empty until something is done."""
        return _time_left(self._now() - self._started, self.done, self.total)

    def line(self) -> str:
        """Return the progress as one line."""
        if not self.read:
            return f"{self.state} …"
        about = "" if self.total <= self.read else "about "
        parts = [f"{self.done:.0f} of {about}{self.total:.0f} s of audio {self.state}", self.left]
        return ", ".join(filter(None, parts))


def _time_left(elapsed_seconds: float, done: float, total: float) -> str:
    """Return the time that the rest takes if it is as fast as what is done, in words; empty if nothing is done."""
    if not done:
        return ""
    seconds = elapsed_seconds * max(0.0, total / done - 1)
    if seconds < 60:
        return "less than a minute left"
    minutes = round(seconds / 60)
    return f"about {minutes // 60} h {minutes % 60:02} min left" if minutes >= 60 else f"about {minutes} min left"


@contextmanager
def progress_lines(console: Console, line: Callable[[], str]) -> Iterator[None]:
    """Print a line every 30 s, from a thread, unless the console is a terminal. `line` returns the current one."""
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(REPORT_SECONDS):
            console.print(line())

    thread = threading.Thread(target=report, name="progress", daemon=True)
    if not console.is_terminal:
        thread.start()
    try:
        yield
    finally:
        ended.set()


@contextmanager
def audio_progress_bar(console: Console, estimate: TimeEstimate) -> Iterator[Callable[[float, float], None]]:
    """Show a bar if the console is a terminal; yield the function that sets the seconds of audio done and read."""
    columns = (
        TextColumn(estimate.state),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} s of audio"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    # Results on the same terminal are printed above the bar; those to a pipe or file must not be redirected.
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
        redirect_stderr=False,
    ) as progress:
        task = progress.add_task(estimate.state, total=0, left="")

        def update(done: float, read: float) -> None:
            estimate.update(done, read)
            progress.update(task, completed=estimate.done, total=estimate.total, left=estimate.left)

        yield update


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error, or a line every 30 s if that is no terminal; yield the function that advances it.

    The function takes the number of items that are newly done, out of `total`.
    """
    console, started, done = stderr(), time.monotonic(), 0
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())

    def line() -> str:
        left = _time_left(time.monotonic() - started, done, total)
        return ", ".join(filter(None, [f"{title}: {done:,} of {total:,}", left]))

    with (
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
        progress_lines(console, line),
    ):
        task = progress.add_task(title, total=total)

        def advance(count: int) -> None:
            nonlocal done
            done += count
            progress.advance(task, count)

        yield advance
