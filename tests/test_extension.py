"""A third-party encoder family or corpus is one file and one line, and passes the contract tests."""

import os
import re
import subprocess
import sys
from pathlib import Path

from paths import TESTS
from voxlate.manifest.reading import read_manifest

ENCODER = '''
"""UniSpeech-SAT as a speech encoder."""

from transformers import UniSpeechSatConfig, UniSpeechSatModel

from voxlate.models.wav2vec2 import Wav2Vec2Encoder


class UniSpeechSatEncoder(Wav2Vec2Encoder):
    """UniSpeech-SAT base and large (Chen et al. 2022)."""

    CONFIG, NETWORK, ADAPTER_KIND = UniSpeechSatConfig, UniSpeechSatModel, None
'''
ENCODER_LINE = """
from voxlate.models import ENCODERS

ENCODERS["unispeech-sat"] = "myencoder:UniSpeechSatEncoder"  # the one line

import tiny

tiny.KINDS["UniSpeech-SAT"] = ("unispeech-sat", tiny.KINDS["HuBERT large"][1], True)
"""
CORPUS = '''
"""A corpus of talks in MuST-C format: segments of long recordings in txt/SPLIT.yaml, with one line of text each."""

from dataclasses import dataclass, field
from pathlib import Path

import yaml

from voxlate.audio.loading import load_audio
from voxlate.audio.flac import write_flac
from voxlate.corpora.preparation import Preparation, interruptible
from voxlate.corpora import user_manifest
from voxlate.errors import AudioError
from voxlate.manifest.utterance import Utterance
from voxlate.manifest.writing import write_manifest


@dataclass(frozen=True)
class MustC(Preparation):
    """The options; `talks` is the folder of a language pair, with train/, dev/ and tst-COMMON/."""

    talks: Path = field(default=Path(), metadata={"help": "Folder of the pair."})
    pair: str = "en-de"


@interruptible
def prepare(command: MustC) -> int:
    """Talks: cut the segments, then check them like a user's own table."""
    source, target = command.pair.split("-")
    rows = []
    for split in ("train", "dev"):
        folder = command.talks / split
        segments = yaml.safe_load((folder / "txt" / f"{split}.yaml").read_text())
        texts = [(folder / "txt" / f"{split}.{code}").read_text().splitlines() for code in (source, target)]
        for number, (segment, one, other) in enumerate(zip(segments, *texts, strict=True)):
            clip = command.talks / "segments" / f"{split}-{number}.flac"
            if not clip.exists():
                start, end = segment["offset"], segment["offset"] + segment["duration"]
                try:
                    sound = load_audio(folder / "wav" / segment["wav"], start_seconds=start, end_seconds=end)
                    write_flac(clip, sound.waveform)
                except AudioError:
                    clip.parent.mkdir(exist_ok=True)
                    clip.touch()
            rows.append(Utterance(clip.stem, clip, None, source, target, one, other, segment["speaker_id"], split))
    if not (command.talks / "table.jsonl").exists():
        write_manifest(command.talks / "table.jsonl", rows)
    options = {"transcode": command.transcode, "workers": command.workers}
    table = user_manifest.ManifestPreparation(command.output, table=command.talks / "table.jsonl", **options)
    return user_manifest.prepare(table)
'''
CORPUS_LINE = """
from voxlate.corpora import CORPORA

CORPORA["mustc"] = "mustc:prepare"  # the one line

import preparing
from micro_corpus import spoken
from media import write_media
from mustc import MustC


def talks(folder, output):
    for split, count in (("train", 4), ("dev", 2)):
        (folder / split / "wav").mkdir(parents=True)
        (folder / split / "txt").mkdir()
        write_media(folder / split / "wav" / "talk.wav", spoken([1, 2, 3, 4] * 3, 16_000))
        (folder / split / "wav" / "broken.wav").write_text("no sound")
        wavs = ["talk.wav"] * count + ["broken.wav"]
        lines = [f"- {{duration: 0.5, offset: {0.4 * n}, speaker_id: s{n}, wav: {wav}}}" for n, wav in enumerate(wavs)]
        (folder / split / "txt" / f"{split}.yaml").write_text("\\n".join(lines))
        for code in ("en", "de"):
            (folder / split / "txt" / f"{split}.{code}").write_text("".join(f"{code} {n}\\n" for n in range(count + 1)))
    return MustC(output / "all.jsonl", talks=folder)


preparing.COMMANDS["mustc"] = talks
"""


COMMAND = """
from pathlib import Path

import the_line
from voxlate.cli import main

if not Path("in").exists():
    the_line.talks(Path("in"), Path())
main()
"""


def contract(folder: Path, file: str, code: str, line: str, tests: str, name: str) -> str:
    """Run the contract tests of a table with a third-party addition; return the summary line of pytest."""
    (folder / file).write_text(code)
    (folder / "the_line.py").write_text(line)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "the_line", tests, "-k", name],
        cwd=TESTS.parent, capture_output=True, text=True, check=False, timeout=240,
        env=os.environ | {"PYTHONPATH": f"{folder}:{TESTS}", "OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-3000:]
    return result.stdout.splitlines()[-1]


def test_a_third_party_encoder_family(tmp_path: Path) -> None:
    tests = "tests/models/test_encoders.py"
    summary = contract(tmp_path, "myencoder.py", ENCODER, ENCODER_LINE, tests, "UniSpeech-SAT")
    assert int(summary.split()[0]) >= 10


def test_a_third_party_corpus(tmp_path: Path) -> None:
    summary = contract(tmp_path, "mustc.py", CORPUS, CORPUS_LINE, "tests/corpora/test_prepare.py", "mustc")
    assert int(summary.split()[0]) >= 4


def test_a_third_party_corpus_is_a_command(tmp_path: Path) -> None:
    """The options of the command are the fields of the Preparation."""
    for name, code in (("mustc", CORPUS), ("the_line", CORPUS_LINE), ("command", COMMAND)):
        (tmp_path / f"{name}.py").write_text(code)

    def voxlate(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "command.py", "prepare", *words],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
            env=os.environ | {"PYTHONPATH": f"{tmp_path}:{TESTS}", "COLUMNS": "120"},
        )  # fmt: skip

    help_text = voxlate("mustc", "--help").stdout
    assert "Talks: cut the segments, then check them" in help_text
    assert re.search(r"--talks .*Folder of the pair", help_text)
    assert re.search(r"--transcode .*Transcode each clip to 16 kHz FLAC", help_text)
    assert "--pair" in help_text
    made = voxlate("mustc", "--talks", "in", "--pair", "en-de", "--output", "out/all.jsonl", "--num-workers", "1")
    assert made.returncode == 1, made.stderr  # two of its clips are broken
    assert "2 clips failed" in made.stderr
    assert len(read_manifest(tmp_path / "out/all.jsonl")) == 7  # four of train, three of dev
    missing = voxlate("mustc")
    assert missing.returncode == 2
    assert "--output" in missing.stderr
