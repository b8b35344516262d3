"""A function in processes of its own: answers, errors, death, and what the processes import."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxlate.audio.decoded_audio import decode_input
from voxlate.errors import OptionError, VoxlateError
from voxlate.files import ScratchFile
from voxlate.processes import FunctionProcess, ProcessDiedError, map_in_processes


class UnpicklableError(Exception):
    """An exception whose arguments are not those of its constructor."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__("neither")


def act(item: Any) -> Any:
    """Do what an item says."""
    match item:
        case "modules":
            return sorted(sys.modules)
        case "decode":
            return str(decode_input(b"noise"))
        case "threads":
            return os.environ["OPENBLAS_NUM_THREADS"]
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "exit":
            os._exit(3)
        case "option":
            raise OptionError({"beam_size": "is 0"})
        case "unpicklable":
            raise UnpicklableError(1, 2)
        case "wait":
            time.sleep(60)
        case "memory":
            return len(bytes(2 << 30))
    return item


@pytest.fixture(scope="module")
def process() -> Any:
    process: FunctionProcess[Any, Any] = FunctionProcess(act)
    yield process
    process.close()


def test_a_process_decodes_without_torch(process: FunctionProcess[Any, Any]) -> None:
    process.call("decode")
    modules = process.call("modules")
    assert {"av", "numpy", "voxlate.audio.silero"} <= set(modules)
    assert not {"torch", "transformers", "datasets"} & set(modules)
    assert process.call("threads") == "1"


def test_arrays_and_temporary_files_arrive(process: FunctionProcess[Any, Any]) -> None:
    file = ScratchFile()
    file.append(b"first")
    arrays: list[Any] = [np.arange(100_000, dtype=np.float32), np.arange(5), np.zeros((300, 300), np.bool_)]
    copy = process.call({"arrays": arrays, "file": file, "bytes": bytes(200_000)})
    assert all(np.array_equal(a, b) and b.flags.writeable for a, b in zip(arrays, copy["arrays"], strict=True))
    assert copy["bytes"] == bytes(200_000)
    copy["file"].append(b" and last")
    assert file.read(0, 100) == b"first and last"  # it is the same file


def test_exceptions_are_raised_here(process: FunctionProcess[Any, Any]) -> None:
    with pytest.raises(OptionError, match="beam_size is 0"):
        process.call("option")
    with pytest.raises(RuntimeError, match="UnpicklableError: neither"):
        process.call("unpicklable")
    assert process.call(5) == 5


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("die", "was killed (SIGKILL), perhaps for lack of memory"),
        ("crash", "crashed (SIGSEGV)"),
        ("exit", "ended with exit code 3"),
    ],
)
def test_another_process_is_started_after_a_death(process: FunctionProcess[Any, Any], item: str, message: str) -> None:
    with pytest.raises(ProcessDiedError) as caught:
        process.call(item)
    assert str(caught.value) == message
    assert process.call(1) == 1


def test_a_process_that_cannot_start_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexit 7\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(VoxlateError, match=r"cannot start another process of voxlate \(exit code 7\); use --num-w"):
        FunctionProcess(act).call(1)


def act_on_all(items: list[Any]) -> list[Any]:
    return [act(item) for item in items]


def test_a_dying_item_of_a_chunk_costs_only_itself() -> None:
    chunks: list[list[Any]] = [[1, 2], ["x", "die", "y"], [3], ["crash"]]
    found = list(map_in_processes(act_on_all, chunks, 2, died=lambda item, reason: f"{item}: {reason}"))
    assert found == [
        [1, 2],
        ["x", "die: the process that read it was killed (SIGKILL), perhaps for lack of memory", "y"],
        [3],
        ["crash: the process that read it crashed (SIGSEGV)"],
    ]


def test_an_exception_ends_the_map_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(OptionError):
        list(map_in_processes(act_on_all, [["option"], ["wait"], ["wait"]], 2, died=lambda _, reason: reason))
    assert time.monotonic() - started < 20


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the address space")
def test_memory_and_time_are_limited() -> None:
    process: FunctionProcess[Any, Any] = FunctionProcess(act, memory_bytes=1 << 30)
    with pytest.raises(MemoryError):
        process.call("memory")
    assert process.call("item", 60.0) == "item"  # the process still works
    with pytest.raises(TimeoutError):
        process.call("wait", 0.1)
    assert process.call("item") == "item"
    interrupting = threading.Timer(0.2, process.interrupt)
    interrupting.start()
    with pytest.raises(ProcessDiedError, match="was killed"):
        process.call("wait")
    assert process.call("item") == "item"
    process.close()
