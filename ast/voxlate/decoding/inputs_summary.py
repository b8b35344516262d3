"""Count what a command has done with its inputs, and print messages about them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from voxlate.decoding.inputs import Input, Inputs
from voxlate.decoding.outputs import WorkList
from voxlate.decoding.results import Translation
from voxlate.decoding.writers import message_line


class RunSummary:
    """Counts complete, incomplete and failed inputs, and prints messages about them."""

    def __init__(self, console: Console, done: str) -> None:
        self.console, self.done, self.skipped = console, done, 0
        self.complete = self.incomplete = self.failed = 0
        self._left_out_seconds = {"silence": 0.0, "no speech": 0.0}

    def print(self, message: str, style: str | None = None) -> None:
        """Print a message on one line, even if a file name contains line breaks."""
        self.console.print(message_line(message), style=style)

    def warn(self, message: str) -> None:
        """Print a warning about an input that could only be decoded in part."""
        self.print(f"warning: {message}", "yellow")

    def add_left_out(self, name: str, result: Translation) -> None:
        """Add the stretches of an input that no result covers; print those with sound if there are results."""
        seconds = dict.fromkeys(self._left_out_seconds, 0.0)
        for stretch in result.left_out:
            seconds[stretch.reason] += stretch.end - stretch.start
            self._left_out_seconds[stretch.reason] += stretch.end - stretch.start
        if result.segments and seconds["no speech"]:
            self.print(f"note: {name}: {_left_out(seconds)}; --no-vad includes sound without speech")

    def count_failed(self, message: str, *, counted: bool = False) -> None:
        """Print why an input failed, and count it unless it has been `counted`."""
        self.failed += not counted
        self.print(f"error: {message}", "red")

    def numbers(self) -> tuple[float, ...]:
        """Return everything that is counted, so that it can be added up over several processes."""
        return (self.complete, self.incomplete, self.failed, self.skipped, *self._left_out_seconds.values())

    def set_sum(self, numbers: Sequence[tuple[float, ...]]) -> None:
        """Set what is counted to the sum of the `numbers` of several processes."""
        sums = [sum(column) for column in zip(*numbers, strict=True)] or [0] * len(self.numbers())
        self.complete, self.incomplete, self.failed, self.skipped = map(int, sums[:4])
        self._left_out_seconds = dict(zip(self._left_out_seconds, map(float, sums[4:]), strict=True))

    def report_work(self, inputs: Inputs, work: WorkList) -> None:
        """Count and print which inputs are already done, which cannot be processed, and what differs in results."""
        self.skipped = work.skipped
        self.report_skipped(inputs)
        for message in work.failed:
            self.count_failed(message)
        for message in work.incomplete:
            self.warn(f"{message}; what was decoded is already {self.done}")
        for message in work.notes:
            self.print(message)

    def report_skipped(self, inputs: Inputs) -> None:
        """Print which arguments have no inputs, and which files in folders are skipped."""
        for error in inputs.failed:
            self.count_failed(str(error))
        if inputs.skipped:
            names = ", ".join(Input(Path(path.name)).name for path in inputs.skipped[:3])
            more = ", …" if len(inputs.skipped) > 3 else ""
            self.print(f"skipped in folders: {len(inputs.skipped)} hidden or non-media files: {names}{more}")

    def report_interruption(self, pending: int | None, kept_segments: int, *, in_files: bool) -> None:
        """Print the counts of an interrupted run, and what a rerun would do with its `pending` inputs, if known."""
        if pending is None:
            hint = "this process of several; rerun the same command to process the remaining inputs"
            self.print(f"interrupted: {self.counts()} by {hint}", "bold")
            return
        left = pending - self.complete - self.incomplete
        if not in_files:
            hint = "with --output-dir, finished inputs are kept and a rerun processes the others"
        elif not left:
            hint = "all inputs are done"
        else:
            others = "input" if left == 1 else f"{left} inputs"
            segments = "segment is" if kept_segments == 1 else "segments are"
            kept = f", of which {kept_segments} {segments} done" if kept_segments else ""
            hint = f"rerun the same command to process the remaining {others}{kept}"
        self.print(f"interrupted: {self.counts()}; {hint}", "bold")

    @property
    def left_out(self) -> str:
        """How much audio was left out, and why; empty if nothing was."""
        return _left_out(self._left_out_seconds) if any(self._left_out_seconds.values()) else ""

    def counts(self) -> str:
        """Return the counts as text."""
        incomplete = f", {self.incomplete} in part" if self.incomplete else ""
        skipped = f", {self.skipped} already done (--overwrite redoes them)" if self.skipped else ""
        left_out = f"; {self.left_out}" if self.left_out else ""
        return f"{self.complete} {self.done}{incomplete}, {self.failed} failed{skipped}{left_out}"


def _left_out(seconds: Mapping[str, float]) -> str:
    """Return how much audio was left out, and why."""
    reasons = {"silence": "silence", "no speech": "sound without speech"}
    parts = [f"{seconds[reason]:.1f} s of {text}" for reason, text in reasons.items() if seconds[reason]]
    return f"left out {' and '.join(parts)}"
