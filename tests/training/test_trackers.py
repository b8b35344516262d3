"""Trackers receive all numbers, and one that fails, exits or blocks never delays training."""

import errno
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from accelerate.tracking import GeneralTracker
from tensorboardX.proto.event_pb2 import Event

from toy import log
from training_runs import config, run
from voxlate.errors import VoxlateError
from voxlate.training.trackers import Trackers, make_trackers


class FailingTracker(GeneralTracker):  # type: ignore[misc]
    """A tracker that calls `action` in its method `where`."""

    name = "failing"
    requires_logging_directory = False
    tracker = None

    def __init__(self, where: str, action: Any) -> None:
        self.where, self.action = where, action
        self.logged: list[tuple[dict[str, float], int | None]] = []

    def _act_in(self, where: str) -> None:
        if where == self.where:
            self.action()

    def start(self) -> None:
        self._act_in("start")

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self._act_in("store")

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        self._act_in("log")
        self.logged.append((values, step))

    def finish(self) -> None:
        self._act_in("finish")


def full_disk() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def exit_process() -> None:
    raise SystemExit(3)


@pytest.mark.parametrize("where", ["start", "store", "log", "finish"])
@pytest.mark.parametrize(
    ("action", "reason"), [(full_disk, "OSError ([Errno 28] No space"), (exit_process, "SystemExit (3)")]
)
def test_a_tracker_that_raises_is_reported_and_dropped(where: str, action: Any, reason: str) -> None:
    warnings: list[str] = []
    good = FailingTracker("", None)
    trackers = Trackers([FailingTracker(where, action), good], {"seed": 1}, warnings.append)
    for update in range(50):
        trackers.log({"train/loss": 1.0 / (update + 1)}, update)
    trackers.close()
    [line] = warnings
    assert line.startswith(f"failing: {reason}")
    assert line.endswith("; training continues without it, log.jsonl has all numbers")
    assert [update for _, update in good.logged] == list(range(50))


@pytest.mark.parametrize("where", ["start", "log", "finish"])
def test_a_tracker_that_blocks_does_not_delay_training(where: str) -> None:
    warnings: list[str] = []
    gate = threading.Event()
    start = time.monotonic()
    trackers = Trackers([FailingTracker(where, gate.wait)], {}, warnings.append, queue_size=20, close_seconds=0.05)
    for update in range(10 if where == "finish" else 100):
        trackers.log({"loss": 1.0}, update)
    trackers.close()
    assert time.monotonic() - start < 5
    [line] = warnings
    assert ("did not finish in time" if where == "finish" else "did not process 20 log lines") in line
    gate.set()
    for thread in threading.enumerate():
        if thread.name.startswith("voxlate-tracker"):
            thread.join(5)
            assert not thread.is_alive()


def test_tensorboard_events_are_in_order_even_if_the_clock_is_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    trackers = Trackers(make_trackers(["tensorboard"], tmp_path, 4), {}, warnings.append)
    now = time.time()
    for update in range(5, 30):
        monkeypatch.setattr(time, "time", lambda update=update: now - 30 * 86_400 * (update > 9))
        trackers.log({"train/loss": float(update)}, update)
    trackers.close()
    assert not warnings
    [file] = (tmp_path / "tensorboard").iterdir()
    assert file.name.startswith("events.out.tfevents.")
    events = [Event.FromString(record) for record in records(file.read_bytes())]
    assert (events[1].step, events[1].session_log.status) == (5, 1)  # hides events of later updates
    assert [(event.step, event.summary.value[0].tag) for event in events[2:]] == [
        (update, "train/loss") for update in range(5, 30)
    ]
    assert events[-1].summary.value[0].simple_value == 29.0


def records(contents: bytes) -> list[bytes]:
    """Return the records of a TFRecord file."""
    events = []
    while contents:
        size = int.from_bytes(contents[:8], "little")
        events.append(contents[12 : 12 + size])
        contents = contents[16 + size :]
    return events


def test_training_continues_without_a_tracker_or_a_writable_log(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FailingFile:
        """A file whose second and third attempts to write fail halfway."""

        def __init__(self, file: Any) -> None:
            self.file, self.attempts = file, 0

        def write(self, contents: bytes) -> int:
            self.attempts += 1
            if self.attempts in (2, 3):
                self.file.write(contents[:5])
                full_disk()
            return int(self.file.write(contents))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    original = Path.open

    def open_log(path: Path, *arguments: Any, **keywords: Any) -> Any:
        file = original(path, *arguments, **keywords)
        return FailingFile(file) if path.name == "log.jsonl" and "ab" in arguments else file

    monkeypatch.setattr(Path, "open", open_log)
    failing = [FailingTracker("log", full_disk)]
    monkeypatch.setattr("voxlate.training.run_log.make_trackers", lambda *_: failing)
    printed = run(config(toy, tmp_path / "run"))
    assert printed.count("warning: failing: OSError") == 1
    assert printed.count("log.jsonl: cannot be written (No space left on device); training continues") == 1
    assert [line["update"] for line in log(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]


def test_trackers_that_are_not_installed_are_reported_first(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxlate.training.trackers.find_spec", lambda _: None)
    with pytest.raises(VoxlateError, match=r"log_with: wandb is not installed; .*pip install 'voxlate\[wandb\]'"):
        run(config(toy, tmp_path / "run", log_with=["tensorboard", "wandb"]))
    assert not (tmp_path / "run").exists()
    run(config(toy, tmp_path / "none", log_with=[], optimizer__max_updates=2))
    assert not (tmp_path / "none" / "tensorboard").exists()
