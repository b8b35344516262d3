"""``translate`` in several processes, started as ``accelerate launch`` does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from media import sweep, write_media
from translate_command import assert_refused, result_paths, translate
from voxlate.decoding.launched_processes import share_of

SEARCH = ("--beam-size", "1", "--max-length", "6", "--no-vad", "--device", "cpu", "--format", "txt")
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "voxlate"]


def test_shares_are_of_about_the_same_size() -> None:
    sizes = [5, 100, 7, 30, 20, 40, 0, 6]
    shares = [share_of(sizes, 3, index) for index in range(3)]
    assert sorted(number for share in shares for number in share) == [*range(8)]
    assert shares[0] == [1]
    totals = [sum(sizes[number] for number in share) for share in shares[1:]]
    assert abs(totals[0] - totals[1]) <= 29  # the input of unknown size counts as one of average size
    assert share_of([], 2, 1) == []
    assert share_of([0, 0, 0, 0], 2, 0) == [0, 2]


def test_standard_output_and_ray_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    given = (tmp_path, "--to", "de", "--model", tmp_path)
    assert_refused("several processes cannot share standard output; name an --output-dir", *given)
    assert_refused("--ray starts its own processes; run the command without accelerate launch", *given, "--ray")


def start(*words: object) -> "subprocess.Popen[str]":
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    command = [*LAUNCH, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
def test_two_processes_share_the_work_and_resume(tiny_model: Path, tmp_path: Path) -> None:
    """One of two processes is killed in the middle, which ends the launch; run again, only the rest is done."""
    count = 500
    (tmp_path / "clips").mkdir()
    for number in range(count - 1):
        write_media(tmp_path / f"clips/{number:03}.wav", sweep(200, 500 + 2 * number, 0.5))
    (tmp_path / "clips/empty.wav").touch()
    words = (tmp_path / "clips", "--to", "de", "--model", tiny_model, *SEARCH)
    assert translate(*words, "-o", tmp_path / "plain").exit_code == 1
    out = tmp_path / "out"
    first = start("translate", *words, "-o", out)
    deadline = time.monotonic() + 200
    while len([*out.glob("*.txt")]) < 50 and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    victim = psutil.Process(first.pid).children()[-1].pid
    os.kill(victim, signal.SIGKILL)
    first.communicate(timeout=200)
    assert first.returncode != 0
    written = {path: path.stat().st_mtime_ns for path in out.glob("*.txt")}
    assert 50 <= len(written) < count
    second = start("translate", *words, "-o", out)
    _, errors = second.communicate(timeout=200)
    assert second.returncode == 1
    left = count - 1 - len(written)
    summary = f"{left} translated, 1 failed, {len(written)} already done (--overwrite redoes them); wrote {left} files"
    assert errors.count(summary) == 1, errors
    assert errors.count("empty.wav: empty file (0 bytes)") == 1
    assert result_paths(out) == result_paths(tmp_path / "plain")
    assert all((out / name).read_text() == (tmp_path / "plain" / name).read_text() for name in result_paths(out))
    assert {path: path.stat().st_mtime_ns for path in written} == written
