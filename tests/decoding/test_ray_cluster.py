"""``voxlate translate --ray`` and ``evaluate --ray`` on a real cluster, whose processes are killed."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from evaluating import arguments, write_test_sets
from media import sweep, write_media
from translate_command import result_paths, translate

pytestmark = pytest.mark.slow
CLIPS = 500
SEARCH = ("--beam-size", "1", "--max-length", "6", "--no-vad", "--device", "cpu", "--format", "txt")


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A cluster of two machines of one core each, which are processes of this one."""
    pytest.importorskip("ray")
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 200 << 20}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    cluster.add_node(num_cpus=1, object_store_memory=200 << 20)
    yield cluster
    cluster.shutdown()  # type: ignore[no-untyped-call]


def start(*words: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "voxlate", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_results(folder: Path, count: int, run: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 400
    while len([*folder.glob("*.txt")]) < count and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def kill_a_translating_process() -> None:
    """Kill a process below this one in which a `TranslationActor` runs."""
    titles = {child.pid: " ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)}
    pids = [pid for pid, title in titles.items() if "TranslationActor" in title]
    assert pids, titles
    os.kill(pids[0], signal.SIGKILL)


def results(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in result_paths(folder)}


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of 500 different clips of half a second."""
    (tmp_path / "clips").mkdir()
    for number in range(CLIPS):
        write_media(tmp_path / f"clips/{number:03}.wav", sweep(200, 500 + 2 * number, 0.5))
    return tmp_path / "clips"


def test_killed_processes_cost_no_result(clips: Path, tmp_path: Path, tiny_model: Path, cluster: Any) -> None:
    """A worker is killed, then the command itself. Run again, with another worker killed, it does the rest, once."""
    words = (clips, "--to", "de", "--model", tiny_model, *SEARCH)
    assert translate(*words, "-o", tmp_path / "plain").exit_code == 0
    out = tmp_path / "out"
    run = ("translate", *words, "-o", out, "--ray", cluster.address)
    first = start(*run)
    wait_for_results(out, 50, first)
    kill_a_translating_process()
    wait_for_results(out, 150, first)
    first.kill()
    first.communicate()
    written = {path: path.stat().st_mtime_ns for path in out.glob("*.txt")}
    assert 50 <= len(written) < CLIPS
    second = start(*run)
    wait_for_results(out, len(written) + 30, second)
    kill_a_translating_process()
    _, errors = second.communicate(timeout=400)
    assert second.returncode == 0, errors
    assert f"{CLIPS - len(written)} translated, 0 failed, {len(written)} already done" in errors
    assert results(out) == results(tmp_path / "plain")
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert not re.search(r"\b[Rr]ay|Traceback|Warning|pid=|^\[", errors, re.MULTILINE)


def test_evaluation_equals_that_of_one_process(tiny_model: Path, tmp_path: Path, cluster: Any) -> None:
    data = write_test_sets(tmp_path)
    run = arguments(tiny_model, data, tmp_path / "plain")
    plain = subprocess.run([sys.executable, "-m", "voxlate", *run], capture_output=True, text=True, check=False)
    run = arguments(tiny_model, data, tmp_path / "ray", "--ray", cluster.address)
    ray = subprocess.run([sys.executable, "-m", "voxlate", *run], capture_output=True, text=True, check=False)
    assert (ray.returncode, ray.stdout) == (plain.returncode, plain.stdout), ray.stderr
    for name in ("fr-en/hypotheses.jsonl", "en-de/hypotheses.jsonl", "en-de/hypotheses.meta.json"):
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
