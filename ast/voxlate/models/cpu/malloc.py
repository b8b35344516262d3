"""Settings of memory allocation on a CPU. They affect the process, so only commands may change them."""

import ctypes
import os
import re
import sys
from pathlib import Path
from types import TracebackType

# mallopt parameters of glibc's malloc.h, and their documented defaults.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_DEFAULTS = {_M_TRIM_THRESHOLD: 128 * 1024, _M_MMAP_MAX: 65_536, _M_ARENA_MAX: 0}


def ask_for_huge_pages() -> None:
    """Let torch ask Linux for 2 MiB pages. Call it before torch is imported; it keeps the user's own setting."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def return_freed_memory() -> None:
    """Return the memory that was freed to the kernel, on Linux with glibc."""
    libc = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    if libc is not None and hasattr(libc, "malloc_trim"):  # other C libraries have none
        libc.malloc_trim(0)


class FreedMemory:
    """Keep the memory that a batch frees for the next batch, on Linux with glibc, until `close`.

    By default, glibc maps each tensor of more than 32 MiB and unmaps it when it is freed, so that the kernel clears the
    pages of activations and gradients at every update, which takes a quarter of the time. But kept memory fragments,
    and fits the next batches less and less. Therefore `bound` returns all free memory to the kernel once the process
    has grown since its first batch by 60 % (`spare_share`; or by `spare_bytes`, for small models, whose batches differ
    so much that they would return memory each time), or by half of the memory that was available then.

    Closing returns free memory and restores glibc's defaults, since its settings cannot be read. This does not restore
    everything: glibc no longer adjusts its thresholds to the sizes of freed blocks, threads may share one arena, and
    large blocks may still come from the heap that has grown. So library calls never set `keep`.
    """

    def __init__(self, *, keep: bool, spare_bytes: int = 4 << 30, spare_share: float = 0.6) -> None:
        libc = ctypes.CDLL(None) if keep and sys.platform.startswith("linux") else None
        self._libc = libc if hasattr(libc, "mallopt") else None  # other C libraries have none
        self._limit: float | None = None
        self._spare_bytes, self._spare_share = spare_bytes, spare_share
        if self._libc is not None:
            self._libc.mallopt(_M_MMAP_MAX, 0)
            self._libc.mallopt(_M_TRIM_THRESHOLD, -1)
            self._libc.mallopt(_M_ARENA_MAX, 1)  # shared by all threads: the arena of a thread only has heaps of 64 MiB

    def bound(self) -> None:
        """Return free memory to the kernel if the process has grown too much; call it after each batch."""
        if self._libc is None:
            return
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        if self._limit is None:
            available = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
            room = int(available[1]) * 1024 / 2 if available else 0.0
            self._limit = resident + min(max(self._spare_share * resident, self._spare_bytes), room)
        elif resident > self._limit:
            self._libc.malloc_trim(0)

    def close(self) -> None:
        """Restore glibc's defaults and return free memory to the kernel."""
        if self._libc is not None:
            for parameter, value in _DEFAULTS.items():
                self._libc.mallopt(parameter, value)
            self._libc.malloc_trim(0)
            self._libc = None

    def __enter__(self) -> "FreedMemory":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
