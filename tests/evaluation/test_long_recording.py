"""A long recording of known sentences scores like its sentences cut by hand, in about the same time and little memory.

The recordings have 6 and 20 minutes. VOXLATE_RECORDING_MINUTES=60 makes them as long as that:

    VOXLATE_RECORDING_MINUTES=60 python -m pytest -m slow tests/evaluation/test_long_recording.py
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from media import write_media
from paths import DEMO
from recordings import Recording, demo_sentences, record
from voxlate.audio.resampling import SAMPLE_RATE_HZ
from voxlate.cli import app

pytestmark = [pytest.mark.slow, pytest.mark.vad]
_MINUTES = os.environ.get("VOXLATE_RECORDING_MINUTES")
_SENTENCES_PER_MINUTE = 20
# The peak that the system reports for a child process includes that of this process, from which it was started.
_PEAK_OF_COMMAND = """
import atexit
from pathlib import Path
atexit.register(lambda: print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]))
from voxlate.cli import main
main()
"""
LANGUAGES = {"source_language": "fr", "target_language": "en"}


def of_minutes(minutes: float) -> Recording:
    return record(demo_sentences(round(minutes * _SENTENCES_PER_MINUTE)), "fr")


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def evaluate(manifest: Path) -> dict[str, Any]:
    """Evaluate the demo model; return scores.json."""
    output = manifest.with_suffix("")
    options = ["--model", DEMO / "model", "--data", manifest, "--output", output, "--device", "cpu"]
    done = CliRunner().invoke(app, ["evaluate", *map(str, options)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    scores: dict[str, Any] = json.loads((output / "fr-en/scores.json").read_text())
    return scores


def translation_seconds(paths: list[str]) -> float:
    """Translate files; return the processor time in seconds."""
    options = ["--model", str(DEMO / "model"), "--to", "en", "--device", "cpu"]
    started = time.process_time()
    done = CliRunner().invoke(app, ["translate", *paths, *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return time.process_time() - started


def test_a_recording_scores_like_its_sentences_cut_by_hand(tmp_path: Path) -> None:
    recording = of_minutes(float(_MINUTES or 6))
    references = [sentence.translations["en"] for sentence in recording.sentences]
    clips = []
    for number, (clip_T, reference) in enumerate(zip(recording.clips(), references, strict=True)):
        write_media(tmp_path / f"{number}.wav", clip_T)
        clips.append({"id": str(number), "audio": f"{number}.wav", "target_text": reference, **LANGUAGES})
    write_media(tmp_path / "talk.wav", recording.waveform_T)
    talk = {"id": "talk", "audio": "talk.wav", "target_text": references, **LANGUAGES}
    by_hand = evaluate(write(tmp_path, "clips.jsonl", clips))
    found = evaluate(write(tmp_path, "talk.jsonl", [talk]))
    paths = [str(tmp_path / str(clip["audio"])) for clip in clips]
    translation_seconds(paths[:8])  # a warm-up
    clip_seconds, seconds = translation_seconds(paths), translation_seconds([str(tmp_path / "talk.wav")])
    bleu, expected = found["metrics"]["BLEU"]["value"], by_hand["metrics"]["BLEU"]["value"]
    print(
        f"{len(recording.waveform_T) / SAMPLE_RATE_HZ / 60:.1f} min, {len(references)} sentences: BLEU {bleu:.2f}, cut "
        f"by hand {expected:.2f} ({bleu / expected:.3f}); {seconds:.1f} s, cut by hand {clip_seconds:.1f} s "
        f"({seconds / clip_seconds:.3f})"
    )
    assert found["n"] == by_hand["n"] == len(references)
    assert bleu >= 0.95 * expected
    assert seconds <= 1.15 * clip_seconds


@pytest.fixture(scope="module")
def peak_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], float]:
    """A function that translates a recording of some minutes in a process, and returns its peak memory in MiB."""
    folder = tmp_path_factory.mktemp("recordings")

    def measure(minutes: float) -> float:
        path = write_media(folder / f"{minutes}.wav", of_minutes(minutes).waveform_T)
        options = ["--model", str(DEMO / "model"), "--to", "en", "--device", "cpu", "--output-dir", str(folder)]
        done = subprocess.run(
            [sys.executable, "-c", _PEAK_OF_COMMAND, "translate", str(path), *options],
            check=True,
            capture_output=True,
            text=True,
        )
        return int(done.stdout.split()[-1]) / 1024

    return measure


def test_memory_does_not_grow_with_the_length(peak_of: Callable[[float], float]) -> None:
    short, long = peak_of(10), peak_of(float(_MINUTES or 20))
    print(f"peak of 10 minutes: {short:.0f} MiB, of {_MINUTES or 20} minutes: {long:.0f} MiB")
    assert long <= 1.1 * short
