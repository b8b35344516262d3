"""Process the inputs of a command and write the results. The model is loaded only if any results are missing."""

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from rich.console import Console

from voxlate.audio.sources import OPEN_REASONS, AudioSource
from voxlate.decoding.inputs import Input, Inputs, find_inputs
from voxlate.decoding.inputs_summary import RunSummary
from voxlate.decoding.launched_processes import ALONE, Processes, share_of
from voxlate.decoding.outputs import Outputs, PendingInput, StandardOutput, WorkList, WrittenFiles
from voxlate.decoding.result_files import ResultFiles, Settings
from voxlate.decoding.results import Segment, Translation
from voxlate.decoding.segment_journal import ResumableSegments
from voxlate.decoding.subtitle_formats import SUBTITLE_WRITERS
from voxlate.decoding.subtitle_options import DEFAULT_SUBTITLES, SubtitleOptions
from voxlate.decoding.subtitles import subtitle_notes
from voxlate.errors import STORAGE_ERRORS, AudioError, OptionError, StorageError, VoxlateError
from voxlate.progress import TimeEstimate, audio_progress_bar, progress_lines, stderr


class ResultStream(Protocol):
    """A function that yields the results of inputs, each with the index of its input, as soon as they are complete.

    `to` has the language or languages of each input. It yields a result for each language, or one AudioError.
    `progress` is called with the seconds of audio that are done and read so far, `on_segment` with the index of an
    input, a language and a segment, in order, as soon as it is done. `resume` keeps what is done of long inputs.
    """

    def __call__(
        self,
        inputs: Iterable[AudioSource],
        *,
        to: Sequence[str | Sequence[str]],
        progress: Callable[[float, float], None],
        on_segment: Callable[[int, str | None, Segment], None],
        resume: ResumableSegments,
    ) -> Iterator[tuple[int, Translation | AudioError]]: ...


@dataclass(frozen=True)
class InputsCommand:
    """The inputs and the destination of their results. The fields are options of the command line."""

    audio: Sequence[str]
    formats: Sequence[str]
    output_dir: Path | None
    overwrite: bool
    device: str = field(default="auto", kw_only=True)
    audio_track: str | None = field(default=None, kw_only=True)
    num_workers: int | None = field(default=None, kw_only=True)
    subtitles: SubtitleOptions = field(default=DEFAULT_SUBTITLES, kw_only=True)

    def __post_init__(self) -> None:
        """Raise OptionError for options of subtitles without a format of subtitles."""
        given = self.subtitles.recorded()
        if given and not SUBTITLE_WRITERS.keys() & self.formats:
            *others, last = SUBTITLE_WRITERS
            needs = f"needs --format {', '.join(others)} or {last}; {', '.join(self.formats)} has no cues"
            raise OptionError(dict.fromkeys(given, needs))

    def with_subtitle_notes(self, result: Translation) -> Translation:
        """Add notes about cues that break limits, if subtitles are written."""
        if not SUBTITLE_WRITERS.keys() & self.formats:
            return result
        return replace(result, notes=result.notes + subtitle_notes(result, self.subtitles))


def run_inputs(
    command: InputsCommand,
    languages: Sequence[str],
    done: str,
    settings: Callable[[str], Settings],
    start: Callable[[Console], ResultStream],
    processes: Processes = ALONE,
) -> int:
    """Process the inputs without results; return 0, 1 if any failed or was incomplete, or 130 if interrupted.

    `start` loads the model and returns the function that processes inputs. `done` is the participle for messages, such
    as "translated". `settings` returns everything that results in a language depend on besides the input. Of several
    processes, each processes a share; the main process reports for all, and only its code can be 1.
    """
    console = stderr()
    inputs = find_inputs(command.audio)
    summary = RunSummary(console, done)
    outputs = _outputs(command, languages, settings, summary, len(inputs.items))
    with processes.main_first():
        work = _work_list(inputs, outputs, summary, processes)
    try:
        if work.pending and all(_does_not_exist(pending.item) for pending in work.pending):
            for index, pending in enumerate(work.pending):
                summary.count_failed(f"{pending.item.name}: {OPEN_REASONS[FileNotFoundError]}")
                outputs.put(index, None)
        elif work.pending:
            _check_stdin(work.pending)
            estimate = TimeEstimate([_size(pending.item) for pending in work.pending], "loading the model")
            shown = console if processes.is_main else Console(file=io.StringIO(), quiet=True)
            with progress_lines(shown, estimate.line):
                stream = start(shown)
                estimate.begin(done if processes.count == 1 else f"{done} by process 1 of {processes.count}")
                _ResultWriter(command, work.pending, outputs, summary, estimate).write_results(stream, shown)
    except KeyboardInterrupt:
        outputs.close()
        if processes.is_main:
            in_files = command.output_dir is not None
            left = len(work.pending) if processes.count == 1 else None
            summary.report_interruption(left, outputs.kept_segments(), in_files=in_files)
        return 130
    except (BrokenPipeError, VoxlateError):
        raise
    except Exception:
        with suppress(OSError):
            outputs.close()
        if summary.complete or summary.incomplete:
            summary.print(f"stopped by an error: {summary.counts()}{outputs.summary(outputs.written())}")
        raise
    # A non-zero exit from any process makes the launcher end the others, so that they must be done.
    reports = processes.gather((summary.numbers(), outputs.written()))
    if not processes.is_main:
        return 0
    summary.set_sum([numbers for numbers, _ in reports])
    wrote = outputs.summary(WrittenFiles.of_all([written for _, written in reports]))
    if command.output_dir is not None or len(inputs.items) != 1 or summary.complete != 1 or summary.left_out:
        summary.print(f"{summary.counts()}{wrote}")
    return 1 if summary.failed or summary.incomplete or work.incomplete else 0


def _work_list(inputs: Inputs, outputs: Outputs, summary: RunSummary, processes: Processes) -> WorkList:
    """Find the missing results, and return the share of this process; the main process reports on the others."""
    summary.console.quiet = not processes.is_main
    work = outputs.work_list(inputs.items)
    summary.report_work(inputs, work)
    summary.console.quiet = False
    if processes.count > 1:
        if not processes.is_main:
            summary.set_sum([])
        sizes = [_size(pending.item) for pending in work.pending]
        share = share_of(sizes, processes.count, processes.index)
        work.pending = [work.pending[index] for index in share]
        outputs.select(share)
    return work


def _outputs(
    command: InputsCommand,
    languages: Sequence[str],
    settings: Callable[[str], Settings],
    summary: RunSummary,
    count: int,
) -> Outputs:
    if command.output_dir is None:
        return StandardOutput(command.formats, languages, count, command.subtitles)
    return ResultFiles(
        command.output_dir,
        command.formats,
        languages,
        overwrite=command.overwrite,
        settings=settings,
        warn=summary.print,
        subtitles=command.subtitles,
    )


class _ResultWriter:
    """Sends pending inputs through a stream, and writes and counts the results."""

    def __init__(
        self,
        command: InputsCommand,
        pending: Sequence[PendingInput],
        outputs: Outputs,
        summary: RunSummary,
        estimate: TimeEstimate,
    ) -> None:
        self._command = command
        self._pending, self._outputs, self._summary, self._estimate = pending, outputs, summary, estimate
        self._missing = [len(item.languages) for item in pending]  # results of each input
        self._failed: set[int] = set()

    def write_results(self, stream: ResultStream, console: Console) -> None:
        """Write the results of the stream, and count them; show the progress on a console."""
        to = [item.languages if len(item.languages) > 1 else item.languages[0] for item in self._pending]
        with audio_progress_bar(console, self._estimate) as progress:
            results = stream(
                self._sources(), to=to, progress=progress, on_segment=self._put_segment, resume=self._outputs
            )
            for index, result in results:
                if isinstance(result, AudioError):
                    self._estimate.failed()
                    self._outputs.put(index, None)
                    self._fail(index, str(result))
                else:
                    self._put(index, result)

    def _sources(self) -> Iterator[AudioSource]:
        for index, pending in enumerate(self._pending):
            self._outputs.begin(index)
            # Standard input is read in this thread, so that Ctrl-C interrupts the wait for it.
            yield _Stdin(sys.stdin.buffer.read()) if pending.item.path is None else pending.item.path

    def _put_segment(self, index: int, language: str | None, segment: Segment) -> None:
        if language in (None, *self._pending[index].languages):  # others are done by an earlier run
            self._write(index, partial(self._outputs.put_segment, index, language, segment))

    def _put(self, index: int, result: Translation) -> None:
        pending = self._pending[index]
        if result.target_language not in (None, *pending.languages):  # already done by an earlier run
            return
        name = pending.item.name
        result = self._command.with_subtitle_notes(result)
        self._write(index, partial(self._outputs.put, index, replace(result, audio=name)))
        self._missing[index] -= 1
        if self._missing[index] or index in self._failed:
            return
        if result.warnings:
            self._summary.incomplete += 1
            self._summary.warn(f"{name}: {'; '.join(result.warnings)}; what was decoded is {self._summary.done}")
        else:
            self._summary.complete += 1
        self._summary.add_left_out(name, result)
        for note in result.notes:
            self._summary.print(f"note: {name}: {note}")

    def _write(self, index: int, write: Callable[[], None]) -> None:
        try:
            write()
        except BrokenPipeError:
            raise
        except OSError as error:
            if error.errno in STORAGE_ERRORS:
                where = f"{error.strerror}: {error.filename or 'standard output'}"
                raise StorageError(f"results cannot be written ({where}); {self._summary.counts()}") from None
            self._fail(index, f"{self._pending[index].item.name}: its result cannot be written ({error.strerror})")

    def _fail(self, index: int, message: str) -> None:
        self._summary.count_failed(message, counted=index in self._failed)
        self._failed.add(index)


def _does_not_exist(item: Input) -> bool:
    if item.path is None:
        return False
    try:
        os.lstat(item.path)
    except FileNotFoundError:
        return True
    except (OSError, ValueError):  # an impossible file name, which is reported when it is read
        pass
    return False


def _size(item: Input) -> int:
    """Return the size of a file in bytes, 0 if it is unknown."""
    try:
        return 0 if item.path is None else item.path.stat().st_size
    except (OSError, ValueError):
        return 0


def _check_stdin(pending: Sequence[PendingInput]) -> None:
    if any(item.item.path is None for item in pending) and (sys.stdin is None or sys.stdin.isatty()):
        state = "is closed" if sys.stdin is None else "is a terminal"
        raise VoxlateError(f"'-' reads audio from standard input, but that {state}; pipe a file into it")


class _Stdin(io.BytesIO):
    name = "<stdin>"
