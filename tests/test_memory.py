"""Memory on a CPU: huge pages, freed memory that the command line keeps, and library calls that leave malloc alone."""

import os
import subprocess
import sys

import pytest

from paths import DEMO

RESIDENT = """
import sys, torch
from pathlib import Path

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

def held():
    first = resident()
    for _ in range(3):
        parts = [torch.ones(20 * 2**20) for _ in range(8)]
        del parts
    return resident() - first
"""
KEPT = """
from voxlate.models.cpu.malloc import FreedMemory

with FreedMemory(keep=sys.argv[1] != "no", spare_bytes=int(sys.argv[2])) as freed:
    freed.bound()
    first, grown = resident(), held()
    freed.bound()
    bounded = resident() - first
print(round(grown), round(bounded), round(resident() - first))
"""
TRANSLATED = """
from voxlate import Translator

translator = Translator(sys.argv[1], device="cpu")
translator.translate(sys.argv[2], to="de")
print(round(held()))
"""
linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory of Linux's glibc")


def mebibytes(code: str, *arguments: str) -> list[int]:
    """Run code in a new process; return the numbers that it prints."""
    command = [sys.executable, "-c", RESIDENT + code, *arguments]
    return [int(word) for word in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()]


@linux_only
def test_freed_memory_is_kept_within_bounds_until_it_is_closed() -> None:
    grown, bounded, closed = mebibytes(KEPT, "keep", "0")
    assert grown > 500  # of 640 MiB
    assert bounded < 200
    assert closed < 200
    _, bounded, closed = mebibytes(KEPT, "keep", str(4 << 30))
    assert bounded > 500  # this much may always be kept
    assert closed < 200
    assert mebibytes(KEPT, "no", "0")[0] < 200


@linux_only
def test_a_translator_leaves_malloc_as_it_was() -> None:
    clip = min((DEMO / "clips").glob("*.flac"))
    [kept] = mebibytes(TRANSLATED, str(DEMO / "model"), str(clip))
    assert kept < 200


@pytest.mark.parametrize(("setting", "expected"), [(None, "1"), ("0", "0")])
def test_huge_pages_are_requested_unless_the_user_disables_them(setting: str | None, expected: str) -> None:
    code = (
        "import os, sys\nfrom voxlate.models.cpu.malloc import ask_for_huge_pages\nassert 'torch' not in sys.modules\n"
        "ask_for_huge_pages()\nprint(os.environ['THP_MEM_ALLOC_ENABLE'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    environment |= {} if setting is None else {"THP_MEM_ALLOC_ENABLE": setting}
    output = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == expected
