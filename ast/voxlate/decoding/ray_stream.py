"""Translate on a Ray cluster: a pipeline of Ray Data decodes the inputs and translates them; this process writes.

Back-pressure, retries and the number of processes are Ray's. Results come in any order, each once: what Ray computes
twice because a process died is dropped, and what it gives up is translated again one by one, then reported.
"""

import os
import stat
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from voxlate.audio.sources import OPEN_REASONS, AudioSource
from voxlate.audio.speech_detection import SpeechOptions
from voxlate.decoding.ray_cluster import Workers, choose_workers, ray_cluster
from voxlate.decoding.ray_workers import (
    DecodingTask,
    LoadStream,
    NamedBytes,
    RemoteInput,
    RemoteResult,
    TranslationActor,
    pack,
    unpack,
)
from voxlate.decoding.results import Translation
from voxlate.errors import AudioError, VoxlateError

_TABLE_INPUTS = 64  # most inputs in a table of paths
_TABLE_BYTES = 16 << 20  # of files, after which a table of paths is complete
_RETRIES = 3  # of a table whose process died


@dataclass(frozen=True)
class RayStream:
    """A `ResultStream` on a Ray cluster.

    `load` loads the model in the processes that translate: see `TranslationActor`. `longest_first` starts with the
    largest files, so that none is left at the end that the others wait for. Segments are not reported one by one, and
    unfinished recordings are not resumed.
    """

    address: str
    device: str
    load: LoadStream
    console: Console
    speech: SpeechOptions
    audio_track: int | str | None = None
    fill_gaps: bool = True
    longest_first: bool = False

    def __call__(
        self,
        inputs: Iterable[AudioSource],
        *,
        to: Sequence[str | Sequence[str]],
        progress: Callable[[float, float], None],
        **_: object,
    ) -> Iterator[tuple[int, Translation | AudioError]]:
        """Yield the index of an input and a result: see `ResultStream`."""
        sources = [*inputs]
        languages = [(item,) if isinstance(item, str) else tuple(item) for item in to]
        items = {index: RemoteInput(index, languages[index], _sendable(source)) for index, source in enumerate(sources)}
        del sources
        done = 0.0
        messages: set[str] = set()
        with ray_cluster(self.address) as ray:
            workers = choose_workers(ray, self.device)
            for most in (_TABLE_INPUTS, 1):  # what a process died of keeps only itself from being done
                for result in self._run(ray, workers, [*items.values()], most):
                    if result.failure is not None:
                        raise VoxlateError(result.failure)
                    item = items.pop(result.index, None)
                    if item is None:  # computed twice
                        continue
                    for line in result.messages:
                        if line not in messages:
                            self.console.print(line)
                            messages.add(line)
                    done += result.seconds
                    progress(done, done)
                    for one in result.results:
                        yield result.index, explained(one, item, result.node)
        for index, item in items.items():
            yield (
                index,
                AudioError(f"{_name(item)}: each process of Ray that worked on it died; it may need more memory"),
            )

    def _run(self, ray: Any, workers: Workers, items: Sequence[RemoteInput], most: int) -> Iterator[RemoteResult]:
        """Send inputs through a pipeline, in tables of at most `most`; yield the results."""
        if not items:
            return
        ray.data.DataContext.get_current().target_max_block_size = workers.block_bytes
        tables = [pack(table) for table in grouped(items, workers.count, most, longest_first=self.longest_first)]
        folder = str(Path.cwd())
        decode = DecodingTask(folder, workers.block_bytes, self.audio_track, self.speech, self.fill_gaps)
        pool = ray.data.ActorPoolStrategy(
            min_size=1,
            initial_size=min(workers.count, len(tables)),
            max_concurrent_calls_per_actor=workers.calls,
            enable_true_multi_threading=True,
        )
        with warnings.catch_warnings():  # Ray offers no other way to limit retries
            warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
            decoded = ray.data.from_arrow(tables).map_batches(
                partial(decode),
                batch_size=None,
                batch_format="pyarrow",
                num_cpus=workers.decoding_cpus,
                max_retries=_RETRIES,
            )
            results = decoded.map_batches(
                TranslationActor,
                fn_constructor_args=(self.load, workers.device, workers.cores, folder),
                batch_size=None,
                batch_format="pyarrow",
                compute=pool,
                num_cpus=workers.cpus,
                num_gpus=workers.gpus,
                max_task_retries=_RETRIES,
            )
        try:
            for table in results.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                yield from unpack(table)
        except ray.exceptions.RayError as error:
            reason = " ".join(str(error.__cause__ or error).split())
            raise VoxlateError(f"Ray has stopped: {reason[:300]}") from error


def grouped(
    items: Sequence[RemoteInput], workers: int, most: int = _TABLE_INPUTS, *, longest_first: bool = False
) -> Iterator[list[RemoteInput]]:
    """Group inputs into tables, each the work of one decoding task; at least four for each worker, if possible."""
    most = min(most, -(-len(items) // (4 * workers)))
    sizes = {item.index: _bytes(item) for item in items}
    table: list[RemoteInput] = []
    for item in sorted(items, key=lambda item: -sizes[item.index]) if longest_first else items:
        if len(table) == most or (table and sum(sizes[one.index] for one in (*table, item)) > _TABLE_BYTES):
            yield table
            table = []
        table.append(item)
    if table:
        yield table


def explained(result: Translation | AudioError, item: RemoteInput, node: str) -> Translation | AudioError:
    """Return a result; if a worker lacks a file that is there, say what must be shared."""
    name, missing = _name(item), OPEN_REASONS[FileNotFoundError]
    if isinstance(result, AudioError) and str(result) == f"{name}: {missing}" and _bytes(item):
        return AudioError(
            f"{name}: {missing} on the Ray node {node}; all nodes must see the inputs under the same path, as on a "
            "shared file system"
        )
    return result


def _sendable(source: AudioSource) -> Path | NamedBytes:
    """Return an input that other processes can open: standard input, pipes and the like are read here."""
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        try:
            is_file = stat.S_ISREG(path.stat().st_mode) and not path.is_relative_to("/proc")
            if is_file and not path.is_relative_to("/dev"):
                return path
            return path if path.is_dir() else NamedBytes(path.read_bytes(), str(path))
        except (OSError, ValueError):  # reported when it is read there
            return path
    data = source if isinstance(source, bytes) else source.read()
    return NamedBytes(data, str(getattr(source, "name", "<bytes>")))


def _name(item: RemoteInput) -> str:
    audio = item.audio
    return audio.name if isinstance(audio, NamedBytes) else str(audio)


def _bytes(item: RemoteInput) -> int:
    if isinstance(item.audio, NamedBytes):
        return len(item.audio.data)
    try:
        return os.stat(item.audio).st_size if isinstance(item.audio, Path) else 0  # noqa: PTH116
    except (OSError, ValueError):
        return 0
