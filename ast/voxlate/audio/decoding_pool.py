"""The thread and the processes that decode inputs, in the order in which their results are taken."""

from __future__ import annotations

import atexit
import os
import stat
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import TypeAlias

from voxlate.audio.decoded_audio import Decodable, DecodedAudio, input_name
from voxlate.errors import AudioError
from voxlate.processes import CAN_START, FunctionProcess, ProcessDiedError, core_count

Result: TypeAlias = DecodedAudio | AudioError
Decode: TypeAlias = Callable[[Decodable], Result]

_THREAD_INPUTS = 16  # that wait for the thread
_PROCESS_INPUTS = 128  # that wait for each process
_PATIENCE_SECONDS = 0.25  # for which the caller waits before more processes are started


def is_for_processes(item: Decodable) -> bool:
    """Return whether another process can decode an input as well: a regular file, or bytes.

    Pipes and what is named by its descriptor, such as /dev/fd/63, exist only in this process.
    """
    if isinstance(item, bytes):
        return True
    if not isinstance(item, str | os.PathLike):
        return False
    try:
        return stat.S_ISREG(os.stat(item).st_mode) and not os.path.abspath(item).startswith(("/dev/", "/proc/"))  # noqa: PTH100, PTH116 (any str)
    except (OSError, ValueError):  # the error of an input that does not exist needs no process
        return False


@dataclass
class _Lane:
    """The requests, with their numbers, for which the same threads wait."""

    changed: threading.Condition
    requests: deque[tuple[int, Decodable, Future[Result]]] = field(default_factory=deque)


class DecodingPool:
    """A thread, and processes for files, that decode submitted inputs and pause while too much audio is waiting.

    - `seconds` of audio may wait, for the thread or for each process.
    - `num_workers`: number of processes. With None, they are started when the caller waits for results.
    """

    def __init__(self, decode: Decode, seconds: float, num_workers: int | None) -> None:
        self._decode, self._seconds = decode, seconds
        self._is_adaptive = num_workers is None
        self._max_workers = useful_processes() if num_workers is None else num_workers
        if not CAN_START:
            self._max_workers = 0
        self._lock = threading.Lock()
        self._local, self._files = (_Lane(threading.Condition(self._lock)) for _ in range(2))
        self._processes: list[FunctionProcess[Decodable, Result]] = []
        self._has_ready_process = False
        self._submitted = self._taken = 0
        self._ahead = self._waited = 0.0  # seconds: of audio that waits, and of waiting for it
        self._is_stopped = False

    def __enter__(self) -> DecodingPool:
        atexit.register(self._close)
        threading.Thread(target=self._work, args=(self._local, self._decode), name="audio", daemon=True).start()
        if not self._is_adaptive:
            self._start_processes(self._max_workers)
        return self

    def __exit__(self, *_: object) -> None:
        atexit.unregister(self._close)
        self._close()

    def _close(self) -> None:
        """Stop the threads and processes: at the exit of the interpreter before threads are frozen, locks in hand."""
        if self._is_stopped:
            return
        with self._lock:
            self._is_stopped = True
            for lane in (self._local, self._files):
                lane.changed.notify_all()
        for process in self._processes:
            process.close()

    @property
    def max_inputs(self) -> int:
        """Number of inputs that may be submitted ahead of the caller."""
        return max(_THREAD_INPUTS, _PROCESS_INPUTS * len(self._processes))

    def submit(self, item: Decodable) -> Future[Result]:
        """Add an input."""
        future: Future[Result] = Future()
        is_file = self._max_workers > 0 and is_for_processes(item)
        with self._lock:
            lane = self._files if is_file and (self._has_ready_process or not self._is_adaptive) else self._local
            lane.requests.append((self._submitted, item, future))
            self._submitted += 1
            lane.changed.notify()
        return future

    def take(self, future: Future[Result]) -> Result:
        """Return the result of the first input whose result has not been taken yet."""
        while not future.done():
            started = perf_counter()
            patience = max(0.0, _PATIENCE_SECONDS - self._waited) if self._is_adaptive else None
            wait([future], patience)
            self._waited += perf_counter() - started
            if self._is_adaptive and self._waited >= _PATIENCE_SECONDS:
                self._waited = 0.0
                self._start_more_processes()
        result = future.result()
        with self._lock:
            self._ahead -= _seconds(result)
            self._taken += 1
            for lane in (self._local, self._files):
                lane.changed.notify()
        return result

    def _start_more_processes(self) -> None:
        """Double the number of processes, if there is work for them."""
        with self._lock:
            waiting = sum(is_for_processes(item) for lane in (self._local, self._files) for _, item, _ in lane.requests)
        running = len(self._processes)
        self._start_processes(min(max(1, running), waiting, self._max_workers - running))

    def _start_processes(self, count: int) -> None:
        for _ in range(count):
            process = FunctionProcess(self._decode)
            self._processes.append(process)
            threading.Thread(target=self._work_in, args=(process,), name="audio process", daemon=True).start()

    def _work_in(self, process: FunctionProcess[Decodable, Result]) -> None:
        """Decode files in a process. In an adaptive pool, the thread leaves them to the first one that is ready."""

        def decode(item: Decodable) -> Result:
            try:
                return process.call(item)
            except ProcessDiedError as error:
                return AudioError(f"{input_name(item)}: the process that decoded it {error}")
            except (MemoryError, OSError):  # its samples did not fit into shared memory
                return AudioError(f"{input_name(item)}: not enough memory to decode it")

        if self._is_adaptive:
            with suppress(ProcessDiedError):  # the first call starts it again
                process.start()
            with self._lock:
                if not self._has_ready_process:
                    self._has_ready_process = True
                    requests = self._local.requests
                    self._files.requests.extend(request for request in requests if is_for_processes(request[1]))
                    rest = [request for request in requests if not is_for_processes(request[1])]
                    requests.clear()
                    requests.extend(rest)
                self._files.changed.notify_all()
        self._work(self._files, decode)

    def _work(self, lane: _Lane, decode: Decode) -> None:
        while True:
            with self._lock:
                lane.changed.wait_for(lambda: self._is_stopped or self._may_begin(lane))
                if self._is_stopped:
                    return
                _, item, future = lane.requests.popleft()
            try:
                result = decode(item)
            except BaseException as error:
                future.set_exception(error)
                continue
            with self._lock:
                self._ahead += _seconds(result)
            future.set_result(result)

    def _may_begin(self, lane: _Lane) -> bool:
        """Return whether the next input of a lane may be decoded: the next result to be taken always may."""
        limit = self._seconds * max(1, len(self._processes))
        return bool(lane.requests) and (self._ahead < limit or lane.requests[0][0] == self._taken)


def core_share() -> int:
    """Return the number of cores for each process of a distributed launch on this machine; at least 1."""
    return max(1, core_count() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def useful_processes() -> int:
    """Return how many processes are useful beside the caller, which needs a core. One alone is slower than a thread."""
    free = core_share() - 1
    return free if free > 1 else 0


def _seconds(result: Result) -> float:
    return result.seconds if isinstance(result, DecodedAudio) else 0.0
