"""What runs in the processes of Ray: tasks that decode inputs, and actors that translate them.

Inputs and results travel between them as pickles in the rows of Arrow tables, which only these processes have written.
"""

import io
import os
import pickle
import socket
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

import pyarrow as pa
from rich.console import Console

from voxlate.audio.containers import estimated_seconds
from voxlate.audio.decoded_audio import DecodedAudio, decode_input
from voxlate.audio.speech_detection import SpeechOptions
from voxlate.decoding.results import Translation
from voxlate.errors import AudioError, VoxlateError, is_out_of_memory, memory_advice

LONG_SECONDS = 1_800.0  # longer recordings are decoded by the process that translates them, while it does
_LONG_BYTES = 1_500_000  # smaller files are shorter, at any usual bit rate
_STREAM_INPUTS = 16_384  # most inputs of one search, after which its pool runs empty once
_PAYLOAD = "payload"

Results: TypeAlias = Iterable[tuple[int, Translation | AudioError]]
LoadStream: TypeAlias = Callable[[str, Console], Callable[..., Results]]  # from a device and a place for messages


@dataclass(frozen=True)
class NamedBytes:
    """The contents of an input that other processes cannot open, such as standard input."""

    data: bytes
    name: str

    def open(self) -> io.BytesIO:
        """Return a file with the contents and the name."""
        file = _NamedFile(self.data)
        file.name = self.name
        return file


class _NamedFile(io.BytesIO):
    name: str


@dataclass(frozen=True)
class RemoteInput:
    """An input, the languages of its missing results, and its audio, which is decoded on the way."""

    index: int
    languages: tuple[str, ...]
    audio: Path | NamedBytes | DecodedAudio | AudioError


@dataclass(frozen=True)
class RemoteResult:
    """All results of an input, one for each language or one AudioError.

    `messages` were printed while a model was loaded. A `failure` is an error that concerns all inputs. `node` is the
    machine that found out.
    """

    index: int
    results: tuple[Translation | AudioError, ...] = ()
    seconds: float = 0.0
    messages: tuple[str, ...] = ()
    failure: str | None = None
    node: str = field(default_factory=socket.gethostname)


@dataclass(frozen=True)
class DecodingTask:
    """Decodes the inputs of a table, and detects speech in them. `folder` is the working directory of the command."""

    folder: str
    block_bytes: int
    audio_track: int | str | None
    speech: SpeechOptions
    fill_gaps: bool = True

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """Yield tables of decoded inputs, each of about `block_bytes`."""
        enter_folder(self.folder)
        decoded: list[bytes] = []
        for item in unpack(table):
            decoded.append(pickle.dumps(replace(item, audio=self._decode(item.audio)), protocol=5))
            if sum(map(len, decoded)) >= self.block_bytes:
                yield _table(decoded)
                decoded = []
        if decoded:
            yield _table(decoded)

    def _decode(self, audio: Path | NamedBytes) -> Path | NamedBytes | DecodedAudio | AudioError:
        source = audio.open() if isinstance(audio, NamedBytes) else audio
        if _size(audio) >= _LONG_BYTES and estimated_seconds(source) > LONG_SECONDS:
            return audio
        decoded = decode_input(source, audio_track=self.audio_track, speech=self.speech, fill_gaps=self.fill_gaps)
        if isinstance(decoded, DecodedAudio):
            if decoded.seconds > LONG_SECONDS:
                return audio
            decoded = replace(decoded, waveform_T=decoded.waveform_T[:])
        return decoded


class TranslationActor:
    """Keeps one model loaded, and translates tables of inputs, several at once.

    Tables join a single stream, so that the search already translates the next one while the last segments of another
    are being finished; the results of a table are returned together. `load` returns the stream for a device, and
    `cores` is the number of threads for a CPU.
    """

    def __init__(self, load: LoadStream, device: str, cores: int, folder: str) -> None:
        enter_folder(folder)
        self._arrived: SimpleQueue[_Waiting] = SimpleQueue()
        self._messages = io.StringIO()
        self._failure: str | None = None
        try:
            if device == "cpu":
                _use_threads(cores)
            self._stream = load(device, Console(file=self._messages, highlight=False, markup=False, soft_wrap=True))
        except Exception as error:
            self._failure = _reason(error)
        threading.Thread(target=self._work, name="translation", daemon=True).start()

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """Yield a table with the results of all inputs of a table."""
        if self._failure is not None:
            yield pack([RemoteResult(-1, failure=self._failure)])
            return
        waiting = [_Waiting(item) for item in unpack(table)]
        for one in waiting:
            if isinstance(one.audio, AudioError):
                one.finish(one.audio)
            else:
                self._arrived.put(one)
        results = []
        for one in waiting:
            try:
                results.append(one.future.result())
            except Exception as error:
                results.append(RemoteResult(one.index, failure=_reason(error)))
        lines = tuple(self._messages.getvalue().splitlines())
        yield pack([replace(result, messages=lines) for result in results])

    def _work(self) -> None:
        held: _Waiting | None = None  # has other languages than the inputs before it
        while True:
            first = held or self._arrived.get()
            taken = [first]
            held = None

            def inputs(taken: list[_Waiting] = taken) -> Iterator[object]:
                nonlocal held
                yield taken[0].source()
                while len(taken) < _STREAM_INPUTS:
                    try:
                        following = self._arrived.get_nowait()
                    except Empty:  # rather finish what is there than wait for more
                        return
                    if following.languages != taken[0].languages:
                        held = following
                        return
                    taken.append(following)
                    yield following.source()

            try:
                to = [first.languages] * _STREAM_INPUTS
                for index, result in self._stream(inputs(), to=to, progress=_no_progress, on_segment=None, resume=None):
                    taken[index].add(result)
            except BaseException as error:
                for one in taken:
                    one.fail(error)


class _Waiting:
    """An input in an actor, and its results so far."""

    def __init__(self, item: RemoteInput) -> None:
        self.index, self.languages, self.audio = item.index, item.languages, item.audio
        self.future: Future[RemoteResult] = Future()
        self._results: list[Translation | AudioError] = []

    def source(self) -> object:
        """Return the input for the stream."""
        return self.audio.open() if isinstance(self.audio, NamedBytes) else self.audio

    def add(self, result: Translation | AudioError) -> None:
        """Add the next result."""
        if isinstance(result, AudioError) or len(self._results) == len(self.languages) - 1:
            self.finish(result)
        else:
            self._results.append(result)

    def finish(self, result: Translation | AudioError) -> None:
        """Add the last result, and release the audio."""
        seconds = 0.0 if isinstance(result, AudioError) else result.seconds
        self.audio = AudioError("done")
        self.future.set_result(RemoteResult(self.index, (*self._results, result), seconds))

    def fail(self, error: BaseException) -> None:
        """Pass on an error of the whole stream."""
        if not self.future.done():
            self.future.set_exception(error)


def pack(items: Iterable[object]) -> pa.Table:
    """Return a table of items, one in each row."""
    return _table([pickle.dumps(item, protocol=5) for item in items])


def unpack(table: pa.Table) -> Iterator[Any]:
    """Yield the items of a table."""
    for value in table.column(_PAYLOAD):
        yield pickle.loads(value.as_buffer())  # noqa: S301 (see above)


def _table(rows: Sequence[bytes]) -> pa.Table:
    return pa.table({_PAYLOAD: pa.array(rows, pa.large_binary())})


def _size(audio: Path | NamedBytes) -> int:
    """Return the size of an input in bytes, 0 if it cannot be read."""
    if isinstance(audio, NamedBytes):
        return len(audio.data)
    try:
        return audio.stat().st_size
    except (OSError, ValueError):
        return 0


def enter_folder(folder: str) -> None:
    """Change to the working directory of the command, which relative paths refer to, if this machine has it."""
    with suppress(OSError):
        os.chdir(folder)


def _use_threads(cores: int) -> None:
    import torch  # noqa: PLC0415 (tasks that decode do not need it)

    torch.set_num_threads(cores)


def _no_progress(done: float, read: float) -> None:
    """Do nothing: the command counts the results that it receives."""


def _reason(error: Exception) -> str:
    """Return an error as one line; print an unexpected one to the log of the process."""
    if isinstance(error, VoxlateError):
        return str(error)
    traceback.print_exception(error)
    if is_out_of_memory(error):
        return memory_advice()
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
