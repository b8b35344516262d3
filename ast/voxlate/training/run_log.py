"""What a run tells: log.jsonl, trackers such as TensorBoard, and the console."""

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

LOG = "log.jsonl"


@dataclass
class Window:
    """Sums over the updates since the last line of the log, over all processes."""

    updates: int = 0
    translation: float = 0.0
    ctc: float = 0.0
    tokens: float = 0.0
    characters: float = 0.0
    seconds: float = 0.0
    gradient_norm: float = 0.0
    skipped: int = 0  # updates without a finite gradient
    not_finite_in_a_row: int = 0
    began: float = field(default_factory=time.monotonic)

    def add(self, losses: Mapping[str, float], totals: Mapping[str, float], gradient_norm: float) -> None:
        """Count one update. Where its gradient was not finite nothing was learnt, and its loss is no number."""
        self.updates += 1
        if not math.isfinite(gradient_norm):
            self.skipped, self.not_finite_in_a_row = self.skipped + 1, self.not_finite_in_a_row + 1
            return
        self.not_finite_in_a_row = 0
        self.translation, self.ctc = self.translation + losses["translation"], self.ctc + losses["ctc"]
        self.tokens, self.characters = self.tokens + totals["tokens"], self.characters + totals["characters"]
        self.seconds, self.gradient_norm = self.seconds + totals["seconds"], self.gradient_norm + gradient_norm

    def numbers(self, lr: float) -> dict[str, float]:
        """Return means per token and character, and the speed in seconds of sound per second."""
        learnt = max(1, self.updates - self.skipped)
        numbers = {"loss": self.translation / max(1.0, self.tokens)}
        if self.characters:
            numbers["ctc"] = self.ctc / self.characters
        numbers |= {"lr": lr, "gradient_norm": self.gradient_norm / learnt}
        numbers["audio_s/s"] = self.seconds / max(1e-9, time.monotonic() - self.began)
        return numbers | ({"skipped": self.skipped} if self.skipped else {})

    def as_dict(self) -> dict[str, float]:
        """Return the sums, to be kept in a checkpoint."""
        return {name: value for name, value in asdict(self).items() if name != "began"}


class Record:
    """Writes what happens, in the main process; in others every method does nothing.

    Opened at an update, it first drops what a killed run wrote of later ones, so that the log of an interrupted run
    reads like that of one that never stopped.
    """

    def __init__(
        self,
        run: Path,
        console: Console,
        *,
        update: int,
        updates: int,
        active: bool,
        log_with: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.console, self._active, self._updates = console, active, updates
        if not active:
            return
        trackers = make_trackers(log_with, run, update)
        self._log = _Log(run / LOG, update)
        self._trackers = Trackers(trackers, settings or {}, lambda line: self.say(line, style="yellow"))
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
        self._task = self._bar.add_task("train", total=updates, completed=update, numbers="")

    def __enter__(self) -> "Record":
        if self._active:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._active:
            self._bar.stop()
            self._trackers.close()
            self._log.close()

    def say(self, message: str, *, style: str | None = None) -> None:
        """Print a line on the console."""
        if self._active:
            self.console.print(message, style=style)

    def table(self, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table whose first column is text and whose others are numbers."""
        table = Table(title=title, title_justify="left", title_style="bold")
        for number, heading in enumerate(headings):
            table.add_column(heading, justify="right" if number else "left")
        for row in rows:
            table.add_row(*row)
        if self._active:
            self.console.print(table)

    def event(self, name: str, update: int, values: Mapping[str, Any]) -> None:
        """Write one line of the log, and give its numbers to the trackers as name/key."""
        if not self._active:
            return
        reason = self._log.write(json.dumps({"event": name, "update": update, **values}, ensure_ascii=False))
        if reason is not None:
            self.say(
                f"warning: {reason}; training continues, and what is missing is written when possible", style="yellow"
            )
        self._trackers.log({f"{name}/{key}": value for key, value in _numbers(values).items()}, update)

    def progress(self, update: int, values: Mapping[str, float] | None = None) -> None:
        """Move the bar; `values` go beside it, or on a line of their own where there is no terminal."""
        if not self._active:
            return
        numbers = "" if values is None else "  ".join(_short(key, value) for key, value in values.items())
        if values is None:
            self._bar.update(self._task, completed=update)
            return
        self._bar.update(self._task, completed=update, numbers=numbers)
        if not self.console.is_terminal:
            remaining = self._bar.tasks[0].time_remaining if self._bar.tasks else None
            eta = f"  ETA {remaining / 60:.0f} min" if remaining is not None else ""
            self.console.print(f"update {update}/{self._updates}  {numbers}{eta}")


class _Log:
    """The lines of log.jsonl; those that a full disk refuses wait for the next attempt."""

    def __init__(self, path: Path, update: int) -> None:
        _cut_log(path, update)
        self._path = path
        self._size = path.stat().st_size if path.exists() else 0
        self._file = path.open("ab", buffering=0)
        self._waiting: list[bytes] = []
        self._failed = False

    def write(self, line: str) -> str | None:
        """Write a line with those that wait; return what is wrong, once, where that fails."""
        self._waiting.append(line.encode("utf-8", "backslashreplace") + b"\n")
        contents = b"".join(self._waiting)
        try:
            written = self._file.write(contents)
            if written < len(contents):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._size)
            known, self._failed = self._failed, True
            return None if known else f"{self._path}: cannot be written ({error.strerror})"
        self._size, self._waiting, self._failed = self._size + len(contents), [], False
        return None

    def close(self) -> None:
        """Close the file, on the disk as far as the disk allows."""
        with suppress(OSError):
            os.fsync(self._file.fileno())
        self._file.close()


def _cut_log(path: Path, update: int) -> None:
    """Drop lines of updates after `update`, and what is no line of the log, such as half a line at the end."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_bytes().split(b"\n"):
        try:
            if json.loads(line)["update"] <= update:
                kept.append(line.decode("utf-8") + "\n")
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            continue
    write_text(path, "".join(kept))


def _numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[prefix + key] = float(value)
    return found


def _short(key: str, value: float) -> str:
    text = f"{value:.2e}" if key == "lr" else f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"
    return f"{key} {text}"
