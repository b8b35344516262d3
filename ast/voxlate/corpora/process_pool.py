"""Process chunks of work in several processes and yield their results in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import wait
from typing import TypeVar

from voxlate.errors import VoxlateError

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_processes(
    function: Callable[[list[Item]], Result], chunks: Iterator[list[Item]], workers: int, *, name: Callable[[Item], str]
) -> Iterator[Result]:
    """Yield the results of a module-level function for each chunk, in order.

    VoxlateError if a process is killed; the message names the items that may be the cause.
    """
    first = list(islice(chunks, 2))
    if workers == 1 or len(first) < 2:  # not worth starting a process
        yield from map(function, first)
        yield from map(function, chunks)
        return
    # Spawned, not forked: threads of the progress bar and of libraries do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pending: deque[tuple[list[Item], Future[Result]]] = deque()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=initialize_worker)

    def next_result() -> Result:
        chunk, future = pending.popleft()
        try:
            return future.result()
        except BrokenProcessPool:
            raise VoxlateError(
                f"a worker process died, perhaps for lack of memory or because of a clip between {name(chunk[0])} and "
                f"{name(chunk[-1])}; rerun the same command to resume, with --num-workers 1 to process clips one by one"
            ) from None

    try:
        for chunk in first:
            pending.append((chunk, pool.submit(function, chunk)))
        for chunk in chunks:
            pending.append((chunk, pool.submit(function, chunk)))
            if len(pending) >= 4 * workers:
                yield next_result()
        while pending:
            yield next_result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def initialize_worker() -> None:
    """Ignore Ctrl-C, which the parent handles, and exit when the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def exit_with_parent() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()
