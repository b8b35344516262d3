"""Memory on a CPU: large pages, and pages that are used again."""

import ctypes
import os
import re
import sys
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # of glibc's malloc.h


def ask_for_huge_pages() -> None:
    """Let torch ask the kernel for pages of 2 MiB (Linux). Call it before torch is loaded; the user's word stands."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


class FreedMemory:
    """What a batch frees is kept for the next one, on Linux's glibc; it gives nothing back by itself any more.

    By itself it maps each tensor of more than 32 MiB and unmaps it afterwards, and the kernel clears all pages of
    activations and gradients again at every update: a quarter of the time. But what is kept lies in pieces that fit
    the next batch less and less. Once the process holds 60 % more than after its first batch (`spare_share`; or
    `spare_bytes`, for small models, whose batches differ so much that they would return memory each time), or half of
    the memory that was free then, all that is free is returned at once.
    """

    def __init__(self, *, keep: bool, spare_bytes: int = 4 << 30, spare_share: float = 0.6) -> None:
        self._libc = ctypes.CDLL(None) if keep and sys.platform.startswith("linux") else None
        self._limit: float | None = None
        self._spare_bytes, self._spare_share = spare_bytes, spare_share
        if not hasattr(self._libc, "mallopt"):  # another C library
            self._libc = None
        elif self._libc is not None:
            self._libc.mallopt(_M_MMAP_MAX, 0)
            self._libc.mallopt(_M_TRIM_THRESHOLD, -1)
            self._libc.mallopt(_M_ARENA_MAX, 1)  # threads keep it together; a heap of their own has 64 MiB at most

    def bound(self) -> None:
        """Return what is free if it has become too much; call it after each batch."""
        if self._libc is None:
            return
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        if self._limit is None:
            available = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
            room = int(available[1]) * 1024 / 2 if available else 0.0
            self._limit = resident + min(max(self._spare_share * resident, self._spare_bytes), room)
        elif resident > self._limit:
            self._libc.malloc_trim(0)
