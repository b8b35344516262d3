"""Log to TensorBoard, Weights & Biases and MLflow without letting them delay or end training.

Each tracker runs in its own thread with a bounded queue. A tracker that fails or blocks is reported in one line and
dropped; log.jsonl has all numbers.
"""

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from voxlate.errors import VoxlateError

TENSORBOARD = "tensorboard"
_QUEUE_SIZE = 1000  # log lines that may be pending for a tracker
_CLOSE_SECONDS = 10.0  # for all trackers together, at the end of training
_THREAD_PREFIX = "voxlate-tracker-"


class TensorBoardEvents(GeneralTracker):  # type: ignore[misc]
    """Writes TensorBoard's event files without tensorboardX's own thread, which blocks the caller after it has died."""

    name = TENSORBOARD
    requires_logging_directory = True

    def __init__(self, folder: Path, update: int) -> None:
        self._folder, self._update = folder, update
        self._writer: Any = None
        super().__init__()

    @property
    def tracker(self) -> Any:
        """Return the writer of event files."""
        return self._writer

    def start(self) -> None:
        """Start a file. Its first event hides later updates in the files of earlier runs."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(self._folder / "events"), f".{os.getpid()}.{self._update}")
        self._writer.write_event(Event(step=self._update + 1, session_log=SessionLog(status=SessionLog.START)))
        self._writer.flush()

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Do nothing: config.yaml has the settings."""

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        """Write the numbers of an update."""
        for name, value in values.items():
            self._writer.write_event(Event(wall_time=time.time(), step=step, summary=scalar(name, value)))
        self._writer.flush()

    def finish(self) -> None:
        """Close the file."""
        self._writer.close()


def check_trackers(names: Sequence[str]) -> None:
    """Raise VoxlateError if the package of a tracker is not installed."""
    missing = [name for name in names if name != TENSORBOARD and find_spec(name) is None]
    if missing:
        raise VoxlateError(
            f"log_with: {', '.join(missing)} is not installed; install it with pip install 'voxlate[{missing[0]}]', or "
            "remove it from log_with"
        )


def make_trackers(names: Sequence[str], run: Path, update: int) -> list[GeneralTracker]:
    """Return accelerate's trackers by name.

    The Weights & Biases project is WANDB_PROJECT or voxlate, the MLflow experiment MLFLOW_EXPERIMENT_NAME or voxlate.
    """
    factories: dict[str, Callable[[], GeneralTracker]] = {
        TENSORBOARD: lambda: TensorBoardEvents(run / TENSORBOARD, update),
        "wandb": lambda: LOGGER_TYPE_TO_CLASS["wandb"](
            os.environ.get("WANDB_PROJECT", "voxlate"), name=run.name, dir=str(run)
        ),
        "mlflow": lambda: LOGGER_TYPE_TO_CLASS["mlflow"](experiment_name="voxlate", run_name=run.name),
    }
    return [factories[name]() for name in dict.fromkeys(names)]


class Trackers:
    """Passes numbers to trackers without waiting for them; `warn` is called once for each one that is dropped."""

    def __init__(
        self,
        trackers: Sequence[GeneralTracker],
        settings: Mapping[str, Any],
        warn: Callable[[str], None],
        *,
        queue_size: int = _QUEUE_SIZE,
        close_seconds: float = _CLOSE_SECONDS,
    ) -> None:
        self._warn, self._close_seconds = warn, close_seconds
        self._threads = [_TrackerThread(tracker, dict(settings), queue_size) for tracker in trackers]

    def log(self, values: Mapping[str, float], update: int) -> None:
        """Queue the numbers of an update."""
        for thread in self._threads:
            thread.put((dict(values), update))
        self._report_failures()

    def close(self) -> None:
        """Let the trackers finish, waiting a few seconds at most."""
        end = time.monotonic() + self._close_seconds
        for thread in self._threads:
            thread.put(None)
        for thread in self._threads:
            thread.finish(max(0.0, end - time.monotonic()))
        self._report_failures()

    def _report_failures(self) -> None:
        for thread in self._threads:
            failure, thread.failure = thread.failure, None
            if failure is not None:
                self._warn(f"{thread.name}: {failure}; training continues without it, log.jsonl has all numbers")


class _TrackerThread:
    """A tracker in its own thread."""

    def __init__(self, tracker: GeneralTracker, settings: dict[str, Any], queue_size: int) -> None:
        self.name = str(tracker.name)
        self.failure: str | None = None  # why the tracker was dropped, until that is reported
        self._tracker, self._settings = tracker, settings
        self._dropped = False
        self._queue: queue.Queue[tuple[dict[str, float], int] | None] = queue.Queue(queue_size)
        self._thread = threading.Thread(target=self._work, name=f"{_THREAD_PREFIX}{self.name}", daemon=True)
        self._thread.start()

    def put(self, item: tuple[dict[str, float], int] | None) -> None:
        if not self._dropped:
            try:
                self._queue.put_nowait(item)
            except queue.Full:
                self._drop(f"did not process {self._queue.maxsize} log lines")

    def finish(self, seconds: float) -> None:
        if not self._dropped:
            self._thread.join(seconds)
            if self._thread.is_alive():
                self._drop("did not finish in time, and its last numbers may be missing")

    def _drop(self, reason: str) -> None:
        self._dropped, self.failure = True, reason

    def _work(self) -> None:
        try:
            self._tracker.start()
            if self._settings:
                self._tracker.store_init_configuration(self._settings)
            for values, update in self._items():
                self._tracker.log(values, step=update)
            self._tracker.finish()
        except BaseException as error:  # anything that a library raises, including SystemExit
            line = next(iter(str(error).splitlines()), "")
            self._drop(f"{type(error).__name__}{f' ({line[:200]})' if line else ''}")

    def _items(self) -> Iterator[tuple[dict[str, float], int]]:
        while not self._dropped and (item := self._queue.get()) is not None:
            yield item


def exit_if_tracker_hangs(code: int) -> None:
    """Exit the process at once if the thread of a tracker hangs, because its library's exit handlers might too."""
    if any(thread.name.startswith(_THREAD_PREFIX) for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
