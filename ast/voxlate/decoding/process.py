"""Inputs to results on standard output or in files, by a model that is loaded once there is something to do."""

import errno
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from voxlate.data.sources import OPEN_REASONS, AudioSource
from voxlate.decoding.inputs import Input, Inputs, find_inputs
from voxlate.decoding.translation import Translation
from voxlate.decoding.writers import TSV_HEADER, WRITERS, to_json_line, to_line, tsv_rows
from voxlate.errors import AudioError, VoxlateError
from voxlate.files import write_text

# What keeps every further result from being written, too.
_HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class Stream(Protocol):
    """What makes results of inputs, each with its index, as soon as it is there."""

    def __call__(
        self, inputs: Iterable[AudioSource], *, progress: Callable[[float, float], None] | None = None
    ) -> Iterator[tuple[int, Translation | AudioError]]: ...


@dataclass(frozen=True)
class InputsCommand:
    """Which inputs, and where their results go; the fields are options of the command line."""

    audio: Sequence[str]
    formats: Sequence[str]
    output_dir: Path | None
    overwrite: bool
    audio_track: str | None = field(default=None, kw_only=True)


def process(
    command: InputsCommand, suffix: str, done: str, start: Callable[[Console], tuple[Stream, dict[str, object]]]
) -> int:
    """Give the inputs to what `start` loads, if there is something to do; write results, return the exit code.

    Results in files are called AUDIO.SUFFIX.FORMAT; `done` says what became of an input.
    """
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    inputs = find_inputs(command.audio)
    output = _Files(command, suffix) if command.output_dir else _StandardOutput(command, len(inputs.found))
    todo = [item for item in inputs.found if not output.has(item)]
    tally = _Tally(console, done, skipped=len(inputs.found) - len(todo))
    tally.left_out(inputs)
    try:
        if todo and all(map(_is_missing, todo)):
            for index, item in enumerate(todo):
                tally.fail(f"{item.name}: {OPEN_REASONS[FileNotFoundError]}")
                output.put(index, item, None)
        elif todo:
            _check_stdin(todo)
            stream, recipe = start(console)
            _write_results(stream, recipe, todo, output, tally)
    except KeyboardInterrupt:
        output.close()
        hint = "the same command goes on from here" if command.output_dir else "with --output-dir it could go on"
        console.print(f"interrupted: {tally.counts()}; {hint}", style="bold")
        return 130
    if len(inputs.found) != 1 or tally.whole != 1:
        console.print(tally.counts())
    return 1 if tally.failed or tally.in_part else 0


def _write_results(
    stream: Stream,
    recipe: dict[str, object],
    todo: Sequence[Input],
    output: "_Files | _StandardOutput",
    tally: "_Tally",
) -> None:
    with _progress_bar(tally.console) as progress:
        for index, result in stream((_source(item) for item in todo), progress=progress):
            if isinstance(result, AudioError):
                tally.fail(str(result))
                output.put(index, todo[index], None)
                continue
            try:
                output.put(index, todo[index], replace(result, audio=todo[index].name, recipe=result.recipe or recipe))
            except BrokenPipeError:
                raise
            except OSError as error:
                if error.errno in _HOPELESS:
                    where = f"{error.strerror}: {error.filename or 'standard output'}"
                    raise VoxlateError(f"results cannot be written ({where}); {tally.counts()}") from None
                tally.fail(f"{todo[index].name}: its result cannot be written ({error.strerror})")
                continue
            if result.warnings:
                tally.partial(f"{todo[index].name}: {'; '.join(result.warnings)}; what was decoded is {tally.done}")
            else:
                tally.whole += 1
            for note in result.notes:
                tally.console.print(f"note: {todo[index].name}: {note}")


def _is_missing(item: Input) -> bool:
    if item.path is None:
        return False
    try:
        os.lstat(item.path)
    except FileNotFoundError:
        return True
    except (OSError, ValueError):  # a name that no file can have: reading it says so
        pass
    return False


def _check_stdin(todo: Sequence[Input]) -> None:
    if any(item.path is None for item in todo) and (sys.stdin is None or sys.stdin.isatty()):
        state = "is closed" if sys.stdin is None else "is a terminal"
        raise VoxlateError(f"'-' reads audio from standard input, but that {state}; pipe a file into it")


def _source(item: Input) -> AudioSource:
    if item.path is not None:
        return item.path
    return _Stdin(sys.stdin.buffer.read())  # by this thread, which an interruption reaches while it waits


class _Stdin(io.BytesIO):
    name = "<stdin>"


class _Files:
    """Results as files below a folder, each written whole or not at all."""

    def __init__(self, command: InputsCommand, suffix: str) -> None:
        assert command.output_dir is not None
        self._folder, self._formats, self._overwrite = command.output_dir, command.formats, command.overwrite
        self._suffix = suffix
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = "is a file, expected a folder" if self._folder.is_file() else f"cannot be made ({error.strerror})"
            raise VoxlateError(f"--output-dir {self._folder}: {reason}") from None
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise VoxlateError(f"--output-dir {self._folder}: no permission to write there")

    def has(self, item: Input) -> bool:
        """Return whether all results of an input are there already."""
        return not self._overwrite and all(
            os.path.isfile(self._path(item, suffix))  # noqa: PTH113 (is_file raises where a name is too long)
            for suffix in self._formats
        )

    def put(self, index: int, item: Input, result: Translation | None) -> None:  # noqa: ARG002
        """Write the results of one input; None stands for one that failed."""
        if result is not None:
            for suffix in self._formats:
                write_text(self._path(item, suffix), WRITERS[suffix](result))

    def close(self) -> None:
        """Do nothing: every result is written when it comes."""

    def _path(self, item: Input, form: str) -> Path:
        return item.output(self._folder, self._suffix, form)


class _StandardOutput:
    """Results on standard output in the order of the inputs; those that come early wait for their turn."""

    def __init__(self, command: InputsCommand, count: int) -> None:
        if len(command.formats) > 1:
            raise VoxlateError(f"several formats ({', '.join(command.formats)}) need --output-dir")
        [self._format] = command.formats
        if self._format in ("srt", "vtt") and count > 1:
            raise VoxlateError(f"{self._format} of several inputs needs --output-dir")
        if sys.stdout is None:
            raise VoxlateError("standard output is closed; open it, or name an --output-dir")
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # whatever the locale: it may lack the target's script
        self._single = count == 1
        self._next = 0
        self._early: dict[int, Translation | None] = {}
        self._header = TSV_HEADER if self._format == "tsv" else ""

    def has(self, item: Input) -> bool:  # noqa: ARG002
        """Return False: nothing of an earlier run is on standard output."""
        return False

    def put(self, index: int, item: Input, result: Translation | None) -> None:  # noqa: ARG002
        """Write the result of one input, and those that waited for it."""
        self._early[index] = result
        while self._next in self._early:
            self._write(self._early.pop(self._next))
            self._next += 1

    def close(self) -> None:
        """Write what waits, for inputs before it that will not come any more."""
        for index in sorted(self._early):
            self._write(self._early.pop(index))

    def _write(self, result: Translation | None) -> None:
        if result is not None:
            sys.stdout.write(self._header + self._text(result))
            sys.stdout.flush()
            self._header = ""

    def _text(self, result: Translation) -> str:
        if self._format == "tsv":
            return tsv_rows(result)
        if self._format == "json" and not self._single:
            return to_json_line(result)
        if self._format == "txt" and not self._single:
            return to_line(result)
        return WRITERS[self._format](result)


class _Tally:
    """Counts what became of the inputs, and names each one that failed."""

    def __init__(self, console: Console, done: str, skipped: int) -> None:
        self.console, self.done, self.skipped = console, done, skipped
        self.whole = self.in_part = self.failed = 0

    def fail(self, message: str) -> None:
        self.failed += 1
        self.console.print(f"error: {message}", style="red")

    def partial(self, message: str) -> None:
        self.in_part += 1
        self.console.print(f"warning: {message}", style="yellow")

    def left_out(self, inputs: Inputs) -> None:
        for error in inputs.failed:
            self.fail(str(error))
        if inputs.left_out:
            names = ", ".join(Input(Path(path.name)).name for path in inputs.left_out[:3])
            more = ", …" if len(inputs.left_out) > 3 else ""
            self.console.print(f"left out of the folders: {len(inputs.left_out)} hidden or not media: {names}{more}")

    def counts(self) -> str:
        in_part = f", {self.in_part} in part" if self.in_part else ""
        skipped = f", {self.skipped} there already (--overwrite does them again)" if self.skipped else ""
        return f"{self.whole} {self.done}{in_part}, {self.failed} failed{skipped}"


@contextmanager
def _progress_bar(console: Console) -> Iterator[Callable[[float, float], None]]:
    """Show a bar on standard error where that is a terminal; give the function that moves it."""
    columns = (
        TextColumn("translating"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} s of sound read so far"),
        TimeElapsedColumn(),
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
        task = progress.add_task("translate", total=0)
        yield lambda translated, read: progress.update(task, completed=translated, total=read)
