"""The child processes and open files of a process, on Linux."""

import os
from pathlib import Path

import pytest

LINUX = pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")


def children(parent: int | None = None) -> list[int]:
    """Return the processes whose parent is the given one, or this one."""
    ids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    return [number for number in ids if parent_of(number) == (parent or os.getpid())]


def parent_of(process: int) -> int:
    """Return the parent of a process; 0 if there is no such process."""
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def open_files() -> int:
    """Return the number of files that this process has open."""
    return len([*Path("/proc/self/fd").iterdir()])


def resident_bytes() -> int:
    """Return the memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
