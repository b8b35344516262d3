"""How far a command is: a bar on a terminal, elsewhere a line now and then."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

REPORT_SECONDS = 30.0  # between two lines


def stderr() -> Console:
    """Return a console on standard error that prints texts as they are."""
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


class Pace:
    """Seconds of sound translated and read so far, and what is left, judged by the inputs' sizes in bytes.

    `state` is what is being done before any sound is read.
    """

    def __init__(self, sizes: Sequence[int], state: str = "reading", now: Callable[[], float] = time.monotonic) -> None:
        self._sizes = sizes if all(sizes) else [1] * len(sizes)
        self._now, self._began = now, now()
        self.state, self.translated, self.read = state, 0.0, 0.0
        self._inputs_read = 0

    def begin(self, state: str) -> None:
        """Note that what took time until now, such as loading a model, is done."""
        self.state, self._began = state, self._now()

    def update(self, translated: float, read: float) -> None:
        """Take the seconds translated and read so far."""
        if read > self.read:
            self._inputs_read += 1
        self.translated, self.read = translated, read

    def failed(self) -> None:
        """Note an input that gives no sound."""
        self._inputs_read += 1

    @property
    def total(self) -> float:
        """The seconds of sound of all inputs, estimated from those that are read."""
        known = sum(self._sizes[: self._inputs_read])
        return self.read * max(1.0, sum(self._sizes) / known) if known else self.read

    @property
    def left(self) -> str:
        """How long it will take from now on, as far as that is known."""
        if not self.translated:
            return ""
        seconds = (self._now() - self._began) * max(0.0, self.total / self.translated - 1)
        if seconds < 60:
            return "less than a minute left"
        minutes = round(seconds / 60)
        return f"about {minutes // 60} h {minutes % 60:02} min left" if minutes >= 60 else f"about {minutes} min left"

    def line(self) -> str:
        """Say all of it."""
        if not self.read:
            return f"{self.state} …"
        about = "" if self.total <= self.read else "about "
        parts = [f"{self.translated:.0f} of {about}{self.total:.0f} s of sound {self.state}", self.left]
        return ", ".join(filter(None, parts))


@contextmanager
def lines(console: Console, pace: Pace) -> Iterator[None]:
    """Print a line every 30 s where the console is no terminal, from another thread: nothing has to call it."""
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(REPORT_SECONDS):
            console.print(pace.line())

    thread = threading.Thread(target=report, name="progress", daemon=True)
    if not console.is_terminal:
        thread.start()
    try:
        yield
    finally:
        ended.set()


@contextmanager
def bar(console: Console, pace: Pace) -> Iterator[Callable[[float, float], None]]:
    """Show a bar where the console is a terminal; give the function to call with the seconds translated and read."""
    columns = (
        TextColumn(pace.state),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} s of sound"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    # Results that go to the same terminal are printed above the bar; a pipe or file must get them itself.
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
        redirect_stderr=False,
    ) as progress:
        task = progress.add_task(pace.state, total=0, left="")

        def update(translated: float, read: float) -> None:
            pace.update(translated, read)
            progress.update(task, completed=pace.translated, total=pace.total, left=pace.left)

        yield update


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error where that is a terminal; give the function that moves it."""
    console = stderr()
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total)
        yield lambda count: progress.advance(task, count)
