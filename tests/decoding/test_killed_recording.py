"""A command that is killed in the middle of a long recording, and run again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from media import write_media
from voxlate.audio.resampling import SAMPLE_RATE_HZ

HOURS = 2
BURST, PAUSE = 4, 8  # seconds


def write_bursts(path: Path) -> int:
    """Write a recording of two hours, no two bursts of noise of which are equal; return their number."""
    rng = np.random.default_rng(0)
    count = HOURS * 3600 // (BURST + PAUSE)
    sounds = rng.uniform(-0.5, 0.5, (count, (BURST + PAUSE) * SAMPLE_RATE_HZ)).astype(np.float32)
    sounds[:, BURST * SAMPLE_RATE_HZ :] = 0
    write_media(path, sounds.reshape(-1))
    return count


def results_in(journal: Path) -> int:
    """Return the number of whole lines of a journal that have the result of a segment."""
    return sum(b'"segments"' in line for line in journal.read_bytes().splitlines()[:-1]) if journal.exists() else 0


@pytest.mark.slow
def test_a_recording_of_two_hours_is_resumed_after_sigkill(tiny_model: Path, tmp_path: Path) -> None:
    """Segments that reach the model are counted in both runs by the results that they append to the journal."""
    count = write_bursts(tmp_path / "talk.wav")
    options = ["--model", str(tiny_model), "--to", "de", "--no-vad", "--format", "txt,srt,json"]
    options += ["--beam-size", "1", "--max-length", "6"]
    script = "import sys; from voxlate.cli import main; import counted_search; sys.exit(main())"
    (tmp_path / "counted_search.py").write_text(COUNTED)

    def command(out: str) -> list[str]:
        return [sys.executable, "-c", script, "translate", "talk.wav", *options, "--output-dir", out]

    environment = os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    subprocess.run(command("whole"), cwd=tmp_path, check=True, env=environment, stderr=subprocess.PIPE)
    journal, searched = tmp_path / "out/.talk.wav.de.jsonl", tmp_path / "searched"
    assert int(searched.read_text()) == count
    process = subprocess.Popen(command("out"), cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
    while results_in(journal) < count // 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = results_in(journal)
    assert count // 2 <= before < count
    with journal.open("ab") as file:
        file.write(b'{"half')  # a line
    done = subprocess.run(command("out"), cwd=tmp_path, check=True, env=environment, stderr=subprocess.PIPE, text=True)
    assert "1 translated, 0 failed" in done.stderr
    assert count - before - 1 <= int(searched.read_text()) <= count - before
    assert not journal.exists()
    for name in ("talk.wav.de.txt", "talk.wav.de.srt", "talk.wav.de.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert len(json.loads((tmp_path / "out/talk.wav.de.json").read_text())["segments"]) == count


COUNTED = """
import atexit
from pathlib import Path
from voxlate.decoding.schedule import Schedule

count, search = 0, Schedule.translate

def counted(self, segments):
    global count
    count += len(segments)
    yield from search(self, segments)

Schedule.translate = counted
atexit.register(lambda: Path("searched").write_text(str(count)))
"""
