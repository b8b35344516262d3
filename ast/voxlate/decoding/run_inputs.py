"""Inputs to results on standard output or in files, by a model that is loaded once there is something to do."""

import errno
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Protocol, TypeAlias

from rich.console import Console

from voxlate.audio.sources import OPEN_REASONS, AudioSource
from voxlate.decoding.inputs import Input, Inputs, find_inputs
from voxlate.decoding.outputs import Job, Outputs, StandardOutput
from voxlate.decoding.result_files import ResultFiles, Settings
from voxlate.decoding.results import Translation
from voxlate.decoding.writers import message_line
from voxlate.errors import AudioError, VoxlateError
from voxlate.progress import Pace, bar, lines

# What keeps every further result from being written, too.
_HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class Stream(Protocol):
    """What makes results of inputs, each with its index, as soon as it is there.

    `to` has the language or the languages that each input is wanted in. There is a result for each, or one AudioError
    for the input.
    """

    def __call__(
        self,
        inputs: Iterable[AudioSource],
        *,
        to: Sequence[str | Sequence[str]],
        progress: Callable[[float, float], None],
    ) -> Iterator[tuple[int, Translation | AudioError]]: ...


RecipeOf: TypeAlias = Callable[[str], dict[str, object]]  # of results in a language, where they have none of their own


@dataclass(frozen=True)
class InputsCommand:
    """Which inputs, and where their results go; the fields are options of the command line."""

    audio: Sequence[str]
    formats: Sequence[str]
    output_dir: Path | None
    overwrite: bool
    audio_track: str | None = field(default=None, kw_only=True)


def process(
    command: InputsCommand,
    languages: Sequence[str],
    done: str,
    settings: Callable[[str], Settings],
    start: Callable[[Console], tuple[Stream, RecipeOf]],
) -> int:
    """Give the inputs to what `start` loads, if there is something to do; write results, return the exit code.

    Results in files are called AUDIO.LANGUAGE.FORMAT; `done` says what became of an input; `settings`
    tells what results in a language depend on besides the input.
    """
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    inputs = find_inputs(command.audio)
    tally = Tally(console, done)
    outputs = _outputs(command, languages, settings, tally, len(inputs.found))
    todo = outputs.work_list(inputs.found)
    tally.skipped = todo.skipped
    tally.left_out(inputs)
    for message in todo.failed:
        tally.fail(message)
    for message in todo.in_part:
        tally.recall(message)
    for message in todo.notes:
        tally.say(message)
    try:
        if todo.jobs and all(_is_missing(job.item) for job in todo.jobs):
            for index, job in enumerate(todo.jobs):
                tally.fail(f"{job.item.name}: {OPEN_REASONS[FileNotFoundError]}")
                outputs.put(index, None)
        elif todo.jobs:
            _check_stdin(todo.jobs)
            pace = Pace([_size(job.item) for job in todo.jobs], "loading the model")
            with lines(console, pace):
                stream, recipe = start(console)
                pace.begin(done)
                _Run(todo.jobs, cache(recipe), outputs, tally, pace).write_results(stream)
    except KeyboardInterrupt:
        outputs.close()
        tally.interrupted(len(todo.jobs), in_files=command.output_dir is not None)
        return 130
    except (BrokenPipeError, VoxlateError):
        raise
    except Exception:
        with suppress(OSError):
            outputs.close()
        if tally.whole or tally.in_part:
            tally.say(f"stopped by an error: {tally.counts()}{outputs.written()}")
        raise
    if command.output_dir is not None or len(inputs.found) != 1 or tally.whole != 1:
        tally.say(f"{tally.counts()}{outputs.written()}")
    return 1 if tally.failed or tally.in_part or todo.in_part else 0


def _outputs(
    command: InputsCommand, languages: Sequence[str], settings: Callable[[str], Settings], tally: "Tally", count: int
) -> Outputs:
    if command.output_dir is None:
        return StandardOutput(command.formats, languages, count)
    return ResultFiles(
        command.output_dir,
        command.formats,
        languages,
        overwrite=command.overwrite,
        settings=settings,
        warn=tally.say,
    )


class _Run:
    """Jobs on their way through a stream."""

    def __init__(self, jobs: Sequence[Job], recipe: RecipeOf, outputs: Outputs, tally: "Tally", pace: Pace) -> None:
        self._jobs, self._recipe, self._outputs, self._tally, self._pace = jobs, recipe, outputs, tally, pace
        self._left = [len(job.languages) for job in jobs]  # results that are still to come
        self._failed: set[int] = set()

    def write_results(self, stream: Stream) -> None:
        """Write what the stream makes of the jobs, and count it."""
        to = [job.languages if len(job.languages) > 1 else job.languages[0] for job in self._jobs]
        with bar(self._tally.console, self._pace) as progress:
            for index, result in stream(self._sources(), to=to, progress=progress):
                if isinstance(result, AudioError):
                    self._pace.failed()
                    self._outputs.put(index, None)
                    self._fail(index, str(result))
                else:
                    self._put(index, result)

    def _sources(self) -> Iterator[AudioSource]:
        for index, job in enumerate(self._jobs):
            self._outputs.begin(index)
            # Standard input is read by this thread, which an interruption reaches while it waits.
            yield _Stdin(sys.stdin.buffer.read()) if job.item.path is None else job.item.path

    def _put(self, index: int, result: Translation) -> None:
        job = self._jobs[index]
        if result.target_language not in (None, *job.languages):  # which is already done
            return
        name = job.item.name
        recipe = result.recipe or self._recipe(result.target_language or job.languages[0])
        result = replace(result, audio=name, recipe=recipe)
        try:
            self._outputs.put(index, result)
        except BrokenPipeError:
            raise
        except OSError as error:
            if error.errno in _HOPELESS:
                where = f"{error.strerror}: {error.filename or 'standard output'}"
                raise VoxlateError(f"results cannot be written ({where}); {self._tally.counts()}") from None
            self._fail(index, f"{name}: its result cannot be written ({error.strerror})")
        self._left[index] -= 1
        if self._left[index] or index in self._failed:
            return
        if result.warnings:
            self._tally.partial(f"{name}: {'; '.join(result.warnings)}; what was decoded is {self._tally.done}")
        else:
            self._tally.whole += 1
        for note in result.notes:
            self._tally.say(f"note: {name}: {note}")

    def _fail(self, index: int, message: str) -> None:
        self._tally.fail(message, again=index in self._failed)
        self._failed.add(index)


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


def _size(item: Input) -> int:
    """Return the bytes of a file, 0 where they are not known."""
    try:
        return 0 if item.path is None else item.path.stat().st_size
    except (OSError, ValueError):
        return 0


def _check_stdin(jobs: Sequence[Job]) -> None:
    if any(job.item.path is None for job in jobs) and (sys.stdin is None or sys.stdin.isatty()):
        state = "is closed" if sys.stdin is None else "is a terminal"
        raise VoxlateError(f"'-' reads audio from standard input, but that {state}; pipe a file into it")


class _Stdin(io.BytesIO):
    name = "<stdin>"


class Tally:
    """Counts what became of the inputs, and names each one that failed."""

    def __init__(self, console: Console, done: str) -> None:
        self.console, self.done, self.skipped = console, done, 0
        self.whole = self.in_part = self.failed = 0

    def say(self, message: str, style: str | None = None) -> None:
        """Print a message on one line, whatever characters the name of a file has."""
        self.console.print(message_line(message), style=style)

    def fail(self, message: str, *, again: bool = False) -> None:
        """Name an input that failed; count it, unless that is done."""
        self.failed += not again
        self.say(f"error: {message}", "red")

    def partial(self, message: str) -> None:
        """Name an input of which something was lost."""
        self.in_part += 1
        self.say(f"warning: {message}", "yellow")

    def recall(self, message: str) -> None:
        """Name an input of which something was lost by an earlier run."""
        self.say(f"warning: {message}; what was decoded is already {self.done}", "yellow")

    def left_out(self, inputs: Inputs) -> None:
        """Say which inputs there are not, and which files of folders are none."""
        for error in inputs.failed:
            self.fail(str(error))
        if inputs.left_out:
            names = ", ".join(Input(Path(path.name)).name for path in inputs.left_out[:3])
            more = ", …" if len(inputs.left_out) > 3 else ""
            self.say(f"skipped in folders: {len(inputs.left_out)} hidden or non-media files: {names}{more}")

    def interrupted(self, wanted: int, *, in_files: bool) -> None:
        """Say how far an interrupted run came, and what the same command would do."""
        left = wanted - self.whole - self.in_part
        if not in_files:
            hint = "with --output-dir, finished inputs are kept and a rerun does the others"
        elif not left:
            hint = "all inputs are done"
        else:
            others = "input from its" if left == 1 else f"{left} inputs from their"
            hint = f"rerun the same command to do the remaining {others} beginning"
        self.say(f"interrupted: {self.counts()}; {hint}", "bold")

    def counts(self) -> str:
        """Return the numbers."""
        in_part = f", {self.in_part} in part" if self.in_part else ""
        skipped = f", {self.skipped} already done (--overwrite redoes them)" if self.skipped else ""
        return f"{self.whole} {self.done}{in_part}, {self.failed} failed{skipped}"
