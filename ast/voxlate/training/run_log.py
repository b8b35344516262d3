"""Write the output of a run: log.jsonl, its page, trackers such as TensorBoard, and messages on the console."""

import errno
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import rich.progress
from rich.console import Console
from rich.table import Table

from voxlate.files import write_text
from voxlate.training.trackers import Trackers, make_trackers
from voxlate_eval.training_page import training_page

LOG, PAGE = "log.jsonl", "training.html"


@dataclass
class LogSums:
    """Sums over all processes and all updates since the last line of the log."""

    updates: int = 0
    cross_entropy: float = 0.0
    ctc: float = 0.0
    tokens: float = 0.0
    characters: float = 0.0
    seconds: float = 0.0
    gradient_norm: float = 0.0
    skipped: int = 0  # updates whose gradient was not finite
    consecutive_skipped: int = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, losses: Mapping[str, float], totals: Mapping[str, float], gradient_norm: float) -> None:
        """Add one update. If its gradient was not finite, the update was skipped, and its sums are left out."""
        self.updates += 1
        if not math.isfinite(gradient_norm):
            self.skipped += 1
            self.consecutive_skipped += 1
            return
        self.consecutive_skipped = 0
        self.cross_entropy += losses["cross_entropy"]
        self.ctc += losses["ctc"]
        self.tokens += totals["tokens"]
        self.characters += totals["characters"]
        self.seconds += totals["seconds"]
        self.gradient_norm += gradient_norm

    def means(self, lr: float) -> dict[str, float]:
        """Return losses per token and character, the learning rate, and the speed in seconds of audio per second."""
        not_skipped = max(1, self.updates - self.skipped)
        numbers = {"loss": self.cross_entropy / max(1.0, self.tokens)}
        if self.characters:
            numbers["ctc"] = self.ctc / self.characters
        numbers |= {"lr": lr, "gradient_norm": self.gradient_norm / not_skipped}
        numbers["audio_s/s"] = self.seconds / max(1e-9, time.monotonic() - self.started)
        return numbers | ({"skipped": self.skipped} if self.skipped else {})

    def as_dict(self) -> dict[str, float]:
        """Return the sums as JSON values for a checkpoint."""
        return {name: value for name, value in asdict(self).items() if name != "started"}

    @classmethod
    def from_dict(cls, stored: Mapping[str, float]) -> "LogSums":
        """Return the sums stored in a checkpoint, including those of older versions."""
        renamed = {"translation": "cross_entropy", "not_finite_in_a_row": "consecutive_skipped"}
        return cls(**{renamed.get(name, name): value for name, value in stored.items()})  # type: ignore[arg-type]


class RunLog:
    """Log, trackers and console output of the main process; in other processes, all methods do nothing.

    When a run resumes from an update, lines of later updates that a killed process wrote are removed, so that the log
    is that of an uninterrupted run.
    """

    def __init__(
        self,
        run: Path,
        console: Console,
        *,
        update: int,
        max_updates: int,
        active: bool,
        log_with: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.console, self._active, self._max_updates = console, active, max_updates
        if not active:
            return
        self._run, self._settings = run, settings or {}
        trackers = make_trackers(log_with, run, update)
        self._log = _LogFile(run / LOG, update)
        self._trackers = Trackers(trackers, self._settings, self.warning)
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("update {task.completed:.0f}/{task.total:.0f}"),
            rich.progress.BarColumn(),
            rich.progress.TextColumn("{task.fields[numbers]}"),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TextColumn("ETA"),
            rich.progress.TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            speed_estimate_period=300,
        )
        self._task = self._bar.add_task("train", total=max_updates, completed=update, numbers="")

    def __enter__(self) -> "RunLog":
        if self._active:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._active:
            self._bar.stop()
            self._trackers.close()
            self._log.close()

    def message(self, text: str) -> None:
        """Print a line on the console."""
        if self._active:
            self.console.print(text)

    def warning(self, text: str) -> None:
        """Print a warning on the console."""
        if self._active:
            self.console.print(f"warning: {text}", style="yellow")

    def table(self, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table whose first column is text and whose other columns are numbers."""
        table = Table(title=title, title_justify="left", title_style="bold")
        for number, heading in enumerate(headings):
            table.add_column(heading, justify="right" if number else "left")
        for row in rows:
            table.add_row(*row)
        if self._active:
            self.console.print(table)

    def event(self, name: str, update: int, values: Mapping[str, Any]) -> None:
        """Write a line to the log, and pass its numbers to the trackers as name/key."""
        if not self._active:
            return
        failure = self._log.write(json.dumps({"event": name, "update": update, **values}, ensure_ascii=False))
        if failure is not None:
            self.warning(f"{failure}; training continues, and the missing lines are written as soon as possible")
        self._trackers.log({f"{name}/{key}": value for key, value in _numbers(values).items()}, update)

    def write_page(self, best_update: int | None, *, finished: bool) -> None:
        """Write training.html, the page of the log. If that fails, print a warning: log.jsonl has all numbers."""
        if not self._active:
            return
        try:
            page = training_page(
                self._run / LOG,
                self._run.resolve().name,
                self._settings,
                max_updates=self._max_updates,
                best_update=best_update,
                finished=finished,
            )
            write_text(self._run / PAGE, page, durable=False)
        except OSError as error:
            self.warning(f"{self._run / PAGE}: cannot be written ({error.strerror}); training continues")

    def progress(self, update: int, values: Mapping[str, float] | None = None) -> None:
        """Move the progress bar and show `values` next to it; without a terminal, print them on a line."""
        if not self._active:
            return
        numbers = "" if values is None else "  ".join(_format_number(key, value) for key, value in values.items())
        if values is None:
            self._bar.update(self._task, completed=update)
            return
        self._bar.update(self._task, completed=update, numbers=numbers)
        if not self.console.is_terminal:
            remaining = self._bar.tasks[0].time_remaining if self._bar.tasks else None
            eta = f"  ETA {remaining / 60:.0f} min" if remaining is not None else ""
            self.console.print(f"update {update}/{self._max_updates}  {numbers}{eta}")


class _LogFile:
    """Appends lines to log.jsonl; lines that cannot be written, as on a full disk, are retried with the next one."""

    def __init__(self, path: Path, update: int) -> None:
        _truncate_log(path, update)
        self._path = path
        self._size = path.stat().st_size if path.exists() else 0
        self._file = path.open("ab", buffering=0)
        self._pending: list[bytes] = []
        self._failed = False

    def write(self, line: str) -> str | None:
        """Write a line after those still pending; return a reason for the first of consecutive failures."""
        self._pending.append(line.encode("utf-8", "backslashreplace") + b"\n")
        contents = b"".join(self._pending)
        try:
            written = self._file.write(contents)
            if written < len(contents):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._size)
            reported, self._failed = self._failed, True
            return None if reported else f"{self._path}: cannot be written ({error.strerror})"
        self._size, self._pending, self._failed = self._size + len(contents), [], False
        return None

    def close(self) -> None:
        """Flush the file to the disk, if possible, and close it."""
        with suppress(OSError):
            os.fsync(self._file.fileno())
        self._file.close()


def _truncate_log(path: Path, update: int) -> None:
    """Remove lines of updates after `update`, and invalid ones such as an incomplete line at the end."""
    if not path.is_file():
        return
    valid_lines = []
    for line in path.read_bytes().split(b"\n"):
        try:
            if json.loads(line)["update"] <= update:
                valid_lines.append(line.decode("utf-8") + "\n")
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            continue
    write_text(path, "".join(valid_lines))


def _numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the numbers of nested values by their path, such as directions/fr-en/bleu."""
    numbers: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            numbers |= _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers[prefix + key] = float(value)
    return numbers


def _format_number(key: str, value: float) -> str:
    """Return a name and a value for the progress line."""
    text = f"{value:.2e}" if key == "lr" else f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"
    return f"{key} {text}"
