"""Trackers: what they are given arrives, and one that fails, dies or blocks never holds up training."""

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
from voxlate.training import trackers as module
from voxlate.training.trackers import Trackers, make_trackers


class Odd(GeneralTracker):  # type: ignore[misc]
    """A tracker whose method named `where` does something."""

    name = "odd"
    requires_logging_directory = False
    tracker = None

    def __init__(self, where: str, action: Any) -> None:
        self.where, self.action = where, action
        self.logged: list[tuple[dict[str, float], int | None]] = []

    def _meet(self, where: str) -> None:
        if where == self.where:
            self.action()

    def start(self) -> None:
        self._meet("start")

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self._meet("store")

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        self._meet("log")
        self.logged.append((values, step))

    def finish(self) -> None:
        self._meet("finish")


def full_disk() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def leave() -> None:
    raise SystemExit(3)


@pytest.mark.parametrize("where", ["start", "store", "log", "finish"])
@pytest.mark.parametrize(("action", "reason"), [(full_disk, "OSError ([Errno 28] No space"), (leave, "SystemExit (3)")])
def test_a_tracker_that_raises_is_left_with_one_line(where: str, action: Any, reason: str) -> None:
    said: list[str] = []
    good = Odd("", None)
    trackers = Trackers([Odd(where, action), good], {"seed": 1}, said.append)
    for update in range(50):
        trackers.log({"train/loss": 1.0 / (update + 1)}, update)
    trackers.close()
    [line] = said
    assert line.startswith(f"warning: odd: {reason}")
    assert line.endswith("; training continues without it, log.jsonl has all numbers")
    assert [update for _, update in good.logged] == list(range(50))


@pytest.mark.parametrize("where", ["start", "log", "finish"])
def test_a_tracker_that_blocks_holds_up_nobody(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECONDS_TO_FINISH", 0.05)
    monkeypatch.setattr(module, "_QUEUED", 20)
    said: list[str] = []
    gate = threading.Event()
    began = time.monotonic()
    trackers = Trackers([Odd(where, gate.wait)], {}, said.append)
    for update in range(10 if where == "finish" else 100):
        trackers.log({"loss": 1.0}, update)
    trackers.close()
    assert time.monotonic() - began < 5
    [line] = said
    assert ("did not finish in time" if where == "finish" else "has taken nothing for 20 lines of the log") in line
    gate.set()
    for thread in threading.enumerate():
        if thread.name.startswith("voxlate-tracker"):
            thread.join(5)
            assert not thread.is_alive()


def test_tensorboards_events_are_written_in_order_whatever_the_clock_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    trackers = Trackers(make_trackers(["tensorboard"], tmp_path, 4), {}, said.append)
    now = time.time()
    for update in range(5, 30):
        monkeypatch.setattr(time, "time", lambda update=update: now - 30 * 86_400 * (update > 9))
        trackers.log({"train/loss": float(update)}, update)
    trackers.close()
    assert not said
    [file] = (tmp_path / "tensorboard").iterdir()
    assert file.name.startswith("events.out.tfevents.")
    events = [Event.FromString(record) for record in records(file.read_bytes())]
    assert (events[1].step, events[1].session_log.status) == (5, 1)  # what was written of later updates is hidden
    assert [(event.step, event.summary.value[0].tag) for event in events[2:]] == [
        (update, "train/loss") for update in range(5, 30)
    ]
    assert events[-1].summary.value[0].simple_value == 29.0


def records(contents: bytes) -> list[bytes]:
    """Return the records of a TFRecord file."""
    found = []
    while contents:
        size = int.from_bytes(contents[:8], "little")
        found.append(contents[12 : 12 + size])
        contents = contents[16 + size :]
    return found


def test_a_run_outlives_its_trackers_and_a_log_that_cannot_be_written(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voxlate.training.run_log import _Log

    class Refusing:
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

    original = _Log.__init__

    def opened(self: Any, path: Path, update: int) -> None:
        original(self, path, update)
        self._file = Refusing(self._file)

    monkeypatch.setattr(_Log, "__init__", opened)
    odd = [Odd("log", full_disk)]
    monkeypatch.setattr("voxlate.training.run_log.make_trackers", lambda *_: odd)
    printed = run(config(toy, tmp_path / "run"))
    assert printed.count("warning: odd: OSError") == 1
    assert printed.count("log.jsonl: cannot be written (No space left on device); training continues") == 1
    assert [line["update"] for line in log(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]


def test_trackers_that_are_not_installed_are_named_before_anything_else(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(VoxlateError, match=r"log_with: wandb is not installed; .*pip install 'voxlate\[wandb\]'"):
        run(config(toy, tmp_path / "run", log_with=["tensorboard", "wandb"]))
    assert not (tmp_path / "run").exists()
    run(config(toy, tmp_path / "none", log_with=[], optimizer__updates=2))
    assert not (tmp_path / "none" / "tensorboard").exists()
