"""Fixtures of many tests: tiny vocabularies and models, and third-party data if it is available."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test uses the network
# Tiny models gain nothing from threads, which wait long for each other on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import datasets

from cases import CASES, Case
from media import FORMATS, sine, sweep, write_media
from micro_corpus import write_covost2
from paths import SHARED
from text_command import TextCommand
from tiny import transformers_model, write_model, write_vocabulary
from toy import write_toy_corpus
from voxlate.audio.speech_detection import detect_speech


@pytest.fixture(autouse=True)
def _tones_are_speech(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all sound count as speech, except in tests marked `vad`: most tests translate tones."""
    if request.node.get_closest_marker("vad") is None:
        monkeypatch.setattr(
            "voxlate.audio.decoded_audio.detect_speech",
            lambda waveform_T, options: detect_speech(waveform_T, replace(options, vad=False)),
        )
        monkeypatch.setattr("voxlate.audio.decoding_pool.core_share", lambda: 1)  # other processes would not know


@pytest.fixture(scope="session")
def shared() -> Path:
    """The third-party data next to the project; tests that use it are skipped without it."""
    if not (SHARED / "data").is_dir():
        pytest.skip("../shared/data is missing")
    return SHARED / "data"


@pytest.fixture(scope="session")
def probe(shared: Path) -> Path:
    """A small trained model with clips of speech and the output of transformers for them."""
    return shared / "probe-model"


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vocabulary(tmp_path_factory.mktemp("vocabulary") / "sentencepiece.bpe.model")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, vocabulary: Path) -> Path:
    """The folder of a tiny random model, written by transformers."""
    return write_model(tmp_path_factory.mktemp("tiny") / "model", vocabulary, transformers_model(1))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The micro corpus, in folders by language."""
    root = tmp_path_factory.mktemp("corpus")
    write_covost2(root)
    return root


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_corpus(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of cached manifests, one for each test that uses it."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache" / "voxlate"


@pytest.fixture(scope="module")
def media_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one sweep of 4 s at 48 kHz in every format."""
    folder = tmp_path_factory.mktemp("media")
    for name, options in FORMATS.items():
        write_media(folder / name, sweep(100, 600, 4.0, 48_000), 48_000, **options)
    return folder


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three short clips, 0.wav to 2.wav, whose translations by `tiny_model` differ."""
    folder = tmp_path_factory.mktemp("clips")
    for number, pitch in enumerate((100, 900, 3000)):
        write_media(folder / f"{number}.wav", sine(pitch, 1.0 + number / 3))
    return folder


@pytest.fixture
def read(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TextCommand:
    """A command that reads text files, in an empty working directory."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return TextCommand(capsys)


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    """Opens inputs that failed in the past; tests that use it are skipped without ../shared/cases."""
    if not CASES.is_dir():
        pytest.skip("../shared/cases is missing")
    return Case(tmp_path, monkeypatch)
