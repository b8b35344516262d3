"""Memory of training on a CPU: large pages, and freed memory that is kept within bounds."""

import os
import subprocess
import sys

import pytest

KEPT = """
import sys, torch
from pathlib import Path
from voxlate.models.cpu.malloc import FreedMemory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

freed = FreedMemory(keep=sys.argv[1] != "no", spare_bytes=int(sys.argv[2]))
freed.bound()
first = resident()
for _ in range(3):
    parts = [torch.ones(20 * 2**20) for _ in range(8)]
    del parts
held = resident() - first
freed.bound()
print(round(held), round(resident() - first))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's memory")
def test_freed_memory_is_kept_within_bounds() -> None:
    def run(word: str, spare_bytes: int) -> list[int]:
        command = [sys.executable, "-c", KEPT, word, str(spare_bytes)]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return [int(mebibytes) for mebibytes in output.split()]

    held, after = run("keep", 0)
    assert held > 500  # of 640 MiB
    assert after < 200
    assert run("keep", 4 << 30)[1] > 500  # that much is always kept
    assert run("no", 0)[0] < 200


@pytest.mark.parametrize(("said", "expected"), [(None, "1"), ("0", "0")])
def test_huge_pages_are_asked_for_unless_the_user_says_no(said: str | None, expected: str) -> None:
    code = (
        "import os, sys\nfrom voxlate.models.cpu.malloc import ask_for_huge_pages\nassert 'torch' not in sys.modules\n"
        "ask_for_huge_pages()\nprint(os.environ['THP_MEM_ALLOC_ENABLE'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    environment |= {} if said is None else {"THP_MEM_ALLOC_ENABLE": said}
    output = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == expected
