"""The benchmark of the server runs, and checks every text."""

import re
import subprocess
import sys

import pytest

from paths import DEMO, ROOT


@pytest.mark.slow
def test_the_server_is_measured_under_load() -> None:
    command = [sys.executable, str(ROOT / "eval/speed/serving.py"), str(DEMO / "model"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 7
    requests, problems = lines[2:4]
    assert int(re.findall(r"\d+", requests)[0]) > 5
    assert problems.endswith("{}")
    assert all(float(re.findall(r"[\d.]+", line)[0]) > 0 for line in (lines[0], lines[1], lines[-1]))
