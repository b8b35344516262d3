"""Numbers for TensorBoard, Weights & Biases and MLflow, that can never hold up training or end it.

Each tracker works in a thread of its own, fed by a bounded queue. One that fails, or no longer takes what is logged, is
named in one line and left; log.jsonl has everything.
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
_QUEUED = 1000  # log lines that may wait for a tracker
_SECONDS_TO_FINISH = 10.0  # for all trackers together, when training has ended
_THREAD = "voxlate-tracker-"


class TensorBoardEvents(GeneralTracker):  # type: ignore[misc]
    """Writes TensorBoard's event files without a thread: tensorboardX's own blocks its caller when it has died."""

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
        """Begin a file; what earlier ones have of later updates is hidden."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(self._folder / "events"), f".{os.getpid()}.{self._update}")
        self._writer.write_event(Event(step=self._update + 1, session_log=SessionLog(status=SessionLog.START)))
        self._writer.flush()

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Write nothing: config.yaml has the settings."""

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        """Write numbers of an update."""
        for name, value in values.items():
            self._writer.write_event(Event(wall_time=time.time(), step=step, summary=scalar(name, value)))
        self._writer.flush()

    def finish(self) -> None:
        """Close the file."""
        self._writer.close()


def check_trackers(names: Sequence[str]) -> None:
    """Raise VoxlateError for a tracker whose package is not installed."""
    missing = [name for name in names if name != TENSORBOARD and find_spec(name) is None]
    if missing:
        raise VoxlateError(
            f"log_with: {', '.join(missing)} is not installed; install it with pip install 'voxlate[{missing[0]}]', or "
            "leave it out of log_with"
        )


def make_trackers(names: Sequence[str], run: Path, update: int) -> list[GeneralTracker]:
    """Return accelerate's trackers by name.

    Weights & Biases' project is WANDB_PROJECT or voxlate, MLflow's experiment MLFLOW_EXPERIMENT_NAME or voxlate.
    """
    made: dict[str, Callable[[], GeneralTracker]] = {
        TENSORBOARD: lambda: TensorBoardEvents(run / TENSORBOARD, update),
        "wandb": lambda: LOGGER_TYPE_TO_CLASS["wandb"](
            os.environ.get("WANDB_PROJECT", "voxlate"), name=run.name, dir=str(run)
        ),
        "mlflow": lambda: LOGGER_TYPE_TO_CLASS["mlflow"](experiment_name="voxlate", run_name=run.name),
    }
    return [made[name]() for name in dict.fromkeys(names)]


class Trackers:
    """Hands numbers to trackers and never waits for them; `say` is called once for each that is dropped."""

    def __init__(
        self, trackers: Sequence[GeneralTracker], settings: Mapping[str, Any], say: Callable[[str], None]
    ) -> None:
        self._say = say
        self._workers = [_Worker(tracker, dict(settings)) for tracker in trackers]

    def log(self, values: Mapping[str, float], update: int) -> None:
        """Queue the numbers of an update."""
        for worker in self._workers:
            worker.put((dict(values), update))
        self._name_failures()

    def close(self) -> None:
        """Let the trackers finish, for a few seconds at most."""
        end = time.monotonic() + _SECONDS_TO_FINISH
        for worker in self._workers:
            worker.put(None)
        for worker in self._workers:
            worker.finish(max(0.0, end - time.monotonic()))
        self._name_failures()

    def _name_failures(self) -> None:
        for worker in self._workers:
            reason, worker.unnamed = worker.unnamed, None
            if reason is not None:
                self._say(f"warning: {worker.name}: {reason}; training continues without it, log.jsonl has all numbers")


class _Worker:
    """One tracker in its thread."""

    def __init__(self, tracker: GeneralTracker, settings: dict[str, Any]) -> None:
        self.name = str(tracker.name)
        self.unnamed: str | None = None  # why it was dropped, until that is reported
        self._tracker, self._settings = tracker, settings
        self._left = False
        self._queue: queue.Queue[tuple[dict[str, float], int] | None] = queue.Queue(_QUEUED)
        self._thread = threading.Thread(target=self._work, name=f"{_THREAD}{self.name}", daemon=True)
        self._thread.start()

    def put(self, item: tuple[dict[str, float], int] | None) -> None:
        if not self._left:
            try:
                self._queue.put_nowait(item)
            except queue.Full:
                self._leave(f"has taken nothing for {_QUEUED} lines of the log")

    def finish(self, seconds: float) -> None:
        if not self._left:
            self._thread.join(seconds)
            if self._thread.is_alive():
                self._leave("did not finish in time, and its last numbers may be missing")

    def _leave(self, reason: str) -> None:
        self._left, self.unnamed = True, reason

    def _work(self) -> None:
        try:
            self._tracker.start()
            if self._settings:
                self._tracker.store_init_configuration(self._settings)
            for values, update in self._items():
                self._tracker.log(values, step=update)
            self._tracker.finish()
        except BaseException as error:  # whatever a library raises, SystemExit included
            line = next(iter(str(error).splitlines()), "")
            self._leave(f"{type(error).__name__}{f' ({line[:200]})' if line else ''}")

    def _items(self) -> Iterator[tuple[dict[str, float], int]]:
        while not self._left and (item := self._queue.get()) is not None:
            yield item


def leave_if_stuck(code: int) -> None:
    """End the process at once if a tracker's thread still hangs: what its library does at exit could hang, too."""
    if any(thread.name.startswith(_THREAD) for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
