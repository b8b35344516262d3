"""Call a function in processes of their own, which are started when they are needed and end with this one.

The processes do not run the main module again, as those of `multiprocessing` do, so that a script needs no
``if __name__ == "__main__"``, and what it imports (torch) is not imported again. They are not forked, because threads
and locks of libraries do not survive that.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import chain, islice
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from voxlate.errors import VoxlateError
from voxlate.process_messages import receive, send

if sys.platform != "win32":
    import resource

Item = TypeVar("Item")
Result = TypeVar("Result")

CAN_START = hasattr(socket, "send_fds")  # not on Windows
# The arguments are the descriptor of the connection, the limit on memory and the import path, which a script may have
# changed.
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[3:]; from voxlate.processes import serve; serve(*map(int, sys.argv[1:3]))"
)
# glibc returns each freed array of a clip to the system and has it zeroed again, a fifth of the time of decoding it.
_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(128 << 20)}
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def core_count() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class ProcessDiedError(Exception):
    """The process ended during a call. The message says how, and begins with a verb."""


class FunctionProcess(Generic[Item, Result]):
    """A process that calls a function, which must be picklable, as its argument and result must be.

    It answers one call at a time. `memory_bytes` limits its address space, where the operating system can do that: what
    does not fit raises MemoryError in the function.
    """

    def __init__(self, function: Callable[[Item], Result], *, memory_bytes: int | None = None) -> None:
        self._function, self._memory_bytes = function, memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._lock = threading.Lock()  # of the process, which another thread may kill during a call
        self._call_lock = threading.Lock()
        self._is_closed = False

    def start(self) -> None:
        """Start the process unless it runs, and wait until it is ready.

        ProcessDiedError if it is killed. VoxlateError if it fails to start.
        """
        with self._call_lock:
            self._start()

    def call(self, item: Item, timeout_seconds: float | None = None) -> Result:
        """Call the function, and start the process if it does not run. Raises what the function raises.

        ProcessDiedError if the process ends before it has answered; the next call starts another one. TimeoutError if
        there is no answer in time; this ends the process.
        """
        with self._call_lock:
            self._start()
            assert self._connection is not None
            self._connection.settimeout(timeout_seconds)
            result: Result = self._exchange(item)
            return result

    def interrupt(self) -> None:
        """Kill the process. A call in another thread raises ProcessDiedError; the next call starts another process."""
        with self._lock:
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """Kill the process. A call in another thread raises ProcessDiedError."""
        with self._lock:
            self._is_closed = True
            if self._process is not None:
                self._process.kill()
        with self._call_lock:
            self._end()

    def _start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self._end()
        with self._lock:
            if self._is_closed:
                raise ProcessDiedError("was closed")
            connection, other = socket.socketpair()
            with other:
                descriptor = other.fileno()
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _PROGRAM, str(descriptor), str(self._memory_bytes or 0), *sys.path],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[descriptor],
                    start_new_session=True,  # Ctrl-C reaches only the parent
                    env={**_ALLOCATOR, **os.environ, **dict.fromkeys(_THREADS, "1")},
                )
            self._connection = connection
        self._exchange(self._function, is_start=True)

    def _exchange(self, message: object, *, is_start: bool = False) -> Any:
        assert self._connection is not None
        try:
            send(self._connection, message)
            is_error, answer = receive(self._connection)
        except (EOFError, ConnectionError):
            status = self._end()
            if is_start and status > 0:
                raise VoxlateError(
                    f"{sys.executable} cannot start another process of voxlate (exit code {status}); use --num-workers "
                    "0 to do without"
                ) from None
            raise ProcessDiedError(_how_it_ended(status)) from None
        except BaseException:  # half a message may be left in the connection
            self._end(0.0)
            raise
        if is_error:
            raise answer
        return answer

    def _end(self, patience: float = 1.0) -> int:
        """Kill the process if it does not end within some seconds; return its exit status, 0 if there is none."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        with self._lock:
            if self._process is None:
                return 0
            with suppress(subprocess.TimeoutExpired):  # the connection closes shortly before the process ends
                self._process.wait(patience)
            self._process.kill()
            status, self._process = self._process.wait(), None
            return status


def map_in_processes(
    function: Callable[[list[Item]], list[Result]],
    chunks: Iterable[Sequence[Item]],
    workers: int,
    *,
    died: Callable[[Item, str], Result],
) -> Iterator[list[Result]]:
    """Yield the results of a function for each chunk, in order. With one worker, or one chunk, it is called here.

    If a process dies, each item of its chunk is tried alone. An item whose process dies again has the result of `died`,
    which gets the reason.
    """
    source = iter(chunks)
    first = [list(chunk) for chunk in islice(source, 2)]
    if workers <= 1 or len(first) < 2 or not CAN_START:
        yield from map(function, chain(first, map(list, source)))
        return
    idle: SimpleQueue[FunctionProcess[list[Item], list[Result]]] = SimpleQueue()

    def call(chunk: list[Item]) -> list[Result]:
        process = idle.get()
        try:
            return process.call(chunk)
        except ProcessDiedError as error:
            if len(chunk) == 1:
                return [died(chunk[0], f"the process that read it {error}")]
        finally:
            idle.put(process)
        return [result for item in chunk for result in call([item])]

    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(workers))
        for _ in range(workers):
            process = FunctionProcess(function)
            stack.callback(process.close)
            idle.put(process)
        stack.callback(threads.shutdown, wait=False, cancel_futures=True)
        pending: deque[Future[list[Result]]] = deque()
        for chunk in chain(first, map(list, source)):
            pending.append(threads.submit(call, chunk))
            if len(pending) >= 4 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def serve(descriptor: int, memory_bytes: int = 0) -> None:
    """Answer the calls of the parent process, and exit when it closes the connection or dies.

    `memory_bytes` limits the address space, unless it is 0.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if memory_bytes:
        with suppress(OSError, ValueError):  # not supported, or above a limit that is set already
            resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    connection = socket.socket(fileno=descriptor)
    requests: SimpleQueue[Any] = SimpleQueue()

    def listen() -> None:
        """Receive in a thread of its own, which notices the end of the parent during a call."""
        try:
            while True:
                requests.put(receive(connection))
        finally:
            os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
    function: Callable[[Any], Any] = requests.get()
    send(connection, (False, None))  # ready
    while True:
        try:
            send(connection, (False, function(requests.get())))
        except ConnectionError:
            os._exit(1)
        except Exception as error:
            send(connection, (True, _picklable(error)))


def _picklable(error: Exception) -> Exception:
    """Return an exception, or one that describes it if it cannot be sent to another process."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _how_it_ended(status: int) -> str:
    if status >= 0:
        return f"ended with exit code {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    if name == "SIGKILL":
        return "was killed (SIGKILL), perhaps for lack of memory"
    return f"crashed ({name})"
