"""Sentence boundaries: training on joined clips, its file, its figures, and its messages."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from media import write_media
from tiny import transformers_model, write_model
from voxlate import VoxlateError
from voxlate.audio.noise import noise
from voxlate.checkpoints.encoders import read_encoder
from voxlate.checkpoints.model_folder import load_checkpoint
from voxlate.checkpoints.segmenter_files import SEGMENTER_FILE, load_segmenter, read_about
from voxlate.cli import app
from voxlate.manifest.reading import read_manifest
from voxlate.training.boundary_recordings import JoinedRecording, RecordingMaker
from voxlate.training.boundary_scores import best_threshold, score_boundaries


def cli(*arguments: object) -> Any:
    return CliRunner().invoke(app, [*map(str, arguments)])


def spoken_sentence(number: int) -> np.ndarray:
    """Return a "sentence": syllables whose pitch falls to a low last one, with a pause within and silence around it."""
    rng = np.random.default_rng(number)
    parts = [np.zeros(rng.integers(800, 6000))]
    syllables = int(rng.integers(4, 7))
    for syllable in range(syllables):
        pitch = 150 if syllable == syllables - 1 else rng.uniform(500, 900)
        times_T = np.arange(3200) / 16_000
        parts += [0.3 * np.sin(2 * np.pi * pitch * times_T) * np.hanning(3200) ** 0.3]
        parts += [np.zeros(rng.choice([200, 3000]))]
    parts += [np.zeros(rng.integers(800, 6000))]
    clip_T = np.concatenate(parts).astype(np.float32)
    return clip_T + 0.0005 * noise(len(clip_T), rng)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sentences")
    lines = []
    for number in range(60):
        clip = write_media(folder / f"{number}.wav", spoken_sentence(number))
        language, speaker = ("fr", "de")[number % 2], f"s{number % 6}"
        lines.append({"id": clip.stem, "audio": clip.name, "source_language": language, "speaker": speaker})
    broken = folder / "broken.wav"
    broken.write_bytes(b"RIFF")
    lines += [{"id": f"b{number}", "audio": broken.name, "source_language": "fr"} for number in range(2)]
    return write_rows(folder / "clips.jsonl", lines)


def rows(manifest: Path) -> list[dict[str, str]]:
    """Return the rows of a manifest, with absolute paths."""
    lines = map(json.loads, manifest.read_text().splitlines())
    return [line | {"audio": str(manifest.parent / line["audio"])} for line in lines]


def write_rows(manifest: Path, lines: list[dict[str, str]]) -> Path:
    """Write a manifest."""
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return manifest


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, vocabulary: Path) -> Path:
    return write_model(tmp_path_factory.mktemp("model"), vocabulary, transformers_model(4))


@pytest.fixture(scope="module")
def trained(corpus: Path, model: Path) -> str:
    result = cli("train-segmenter", corpus, "--encoder", model, "--hours", 0.01, "--layers", 1)
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def test_its_figures_are_printed_and_stored(trained: str, model: Path) -> None:
    left_out, *lines = trained.splitlines()
    assert re.match(r"left out: b\d: not audio or video that", left_out)
    assert [line.split("%")[0].split()[0] for line in lines[:-1]] == ["precision", *["recall"] * 4]
    assert [line.split("pause: ")[1] for line in lines[1:-1]] == ["none", "up to 0.15 s", "0.15 to 0.35 s", "longer"]
    assert lines[-1].startswith(f"{model / SEGMENTER_FILE}: 1 encoder layer, threshold 0.")
    assert lines[-1].endswith("trained on 0.1 h of joined clips (54 in 2 languages)")
    about = read_about(model / SEGMENTER_FILE)
    assert about["layers"] == 1
    assert about["languages"] == ["de", "fr"]
    found = [float(line.split("%")[0].split()[1]) / 100 for line in lines[:-1]]
    assert [*about["scores"].values()] == pytest.approx(found, abs=1e-3)


@pytest.mark.slow
def test_its_probabilities_are_high_between_sentences(corpus: Path, model: Path, tmp_path: Path) -> None:
    result = cli("train-segmenter", corpus, "--encoder", model, "--hours", 1, "--output", tmp_path)
    assert result.exit_code == 0, result.output
    assert read_about(tmp_path / SEGMENTER_FILE)["scores"]["recall, longer"] >= 0.9
    boundaries = load_segmenter(tmp_path, load_checkpoint(model).model)
    assert boundaries is not None
    clips = [spoken_sentence(number) for number in range(100, 108)]
    waveform_T = np.concatenate(clips)
    [probabilities_F] = boundaries.boundary_probabilities([waveform_T])
    assert len(probabilities_F) == -(-len(waveform_T) // boundaries.frame_samples)
    joints = np.cumsum([len(clip_T) for clip_T in clips])[:-1] // boundaries.frame_samples
    assert np.mean(probabilities_F[joints]) > np.mean(probabilities_F) + 0.2


def test_a_folder_without_the_file_has_no_boundaries(model: Path, tmp_path: Path) -> None:
    assert load_segmenter(tmp_path, read_encoder(model)) is None


@pytest.mark.slow
def test_the_same_seed_gives_the_same_file(corpus: Path, model: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("same", 3), ("other", 4)):
        options = ["--hours", 0.01, "--layers", 0, "--seed", seed, "--output", tmp_path / name]
        assert cli("train-segmenter", corpus, "--encoder", model, *options).exit_code == 0
    files = {name: (tmp_path / name / SEGMENTER_FILE).read_bytes() for name in ("one", "same", "other")}
    assert files["one"] == files["same"]
    assert files["one"] != files["other"]


def test_wrong_arguments(corpus: Path, model: Path, tmp_path: Path) -> None:
    def refused(message: str, *arguments: object) -> None:
        result = cli("train-segmenter", *arguments, "--output", tmp_path / "out")
        assert isinstance(result.exception, VoxlateError)
        assert message in str(result.exception)
        assert "\n" not in str(result.exception)
        assert not (tmp_path / "out").exists()

    refused("--layers is 3; expected 0 to 2, the number of layers of", corpus, "--encoder", model, "--layers", 3)
    write_rows(tmp_path / "few.jsonl", rows(corpus)[:11])
    refused(
        "too few clips to join (fr 6, de 5); expected 10 or more of each language",
        tmp_path / "few.jsonl",
        "--encoder",
        model,
    )
    write_rows(tmp_path / "none.jsonl", [{"id": "a", "audio": rows(corpus)[0]["audio"]}])
    refused("a has no source_language; expected one for every clip", tmp_path / "none.jsonl", "--encoder", model)


def test_damaged_files(trained: str, model: Path, vocabulary: Path, tmp_path: Path) -> None:
    assert trained
    path = tmp_path / SEGMENTER_FILE
    translator = load_checkpoint(model).model
    tensors, about = load_file(model / SEGMENTER_FILE), read_about(model / SEGMENTER_FILE)

    def refused(message: str, changed: dict[str, torch.Tensor], description: object) -> None:
        save_file(changed, path, metadata={"about": json.dumps(description)})
        with pytest.raises(VoxlateError, match=message) as caught:
            load_segmenter(tmp_path, translator)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)

    refused("its metadata does not describe a sentence boundary head", tensors, None)
    refused("layers is 'all'; expected a file written by voxlate train-segmenter", tensors, about | {"layers": "all"})
    refused("threshold is 7; expected a file written", tensors, about | {"threshold": 7})
    refused(
        "uses 5 layers of an encoder, but that of .* has 2; it belongs to another model", tensors, about | {"layers": 5}
    )
    wide = tensors | {"norm.weight": torch.ones(48), "norm.bias": torch.ones(48)}
    refused("takes states of width 48, but the encoder of .* has 32", wide, about)
    refused("holds .*; expected a file written", {"projection.weight": torch.ones(2)}, about)
    refused(r"'output.bias' is \(2,\), expected \(1,\)", tensors | {"output.bias": torch.ones(2)}, about)
    refused("holds values that are not finite", tensors | {"output.bias": torch.tensor([torch.nan])}, about)
    path.write_bytes(b"{}")
    with pytest.raises(VoxlateError, match="cannot be read"):
        load_segmenter(tmp_path, translator)


def test_scores_count_each_boundary_once() -> None:
    waveform_T = np.zeros(16_000 * 10, np.float32)
    recording = JoinedRecording(waveform_T, ((0, 800), (32_000, 32_000), (64_000, 68_000), (96_000, 112_000)))
    probabilities_F = np.zeros(500, np.float32)  # of 20 ms
    for start, end in ((0, 2), (103, 105), (200, 203), (206, 210), (400, 405)):
        probabilities_F[start:end] = 0.7
    scores = score_boundaries([(recording, probabilities_F)], 320, 0.5)
    assert scores.known == {"none": 1, "up to 0.15 s": 0, "0.15 to 0.35 s": 1, "longer": 1}
    assert scores.found == {"none": 1, "up to 0.15 s": 0, "0.15 to 0.35 s": 1, "longer": 0}
    assert scores.false == 1
    assert scores.precision == pytest.approx(2 / 3)
    assert scores.recall() == pytest.approx(2 / 3)
    assert scores.recall("longer") == 0
    probabilities_F[300:320], probabilities_F[400:405] = 0.4, 0.2
    assert best_threshold([(recording, probabilities_F)], 320) == pytest.approx(0.2)
    assert score_boundaries([(recording, probabilities_F)], 320, 0.9).precision == 0


def test_recordings_have_clips_of_one_language_without_their_silence(corpus: Path) -> None:
    utterances = [utterance for utterance in read_manifest(corpus) if utterance.source_language == "fr"]
    maker = RecordingMaker({"fr": utterances}, 20.0, 0)
    recordings = [*maker.recordings(12)]
    again = [*RecordingMaker({"fr": utterances}, 20.0, 0).recordings(2)]
    assert np.array_equal(again[1].waveform_T, recordings[1].waveform_T)
    seconds = [(end - start) / 16_000 for recording in recordings for start, end in recording.outside]
    assert max(seconds) <= 1.0
    assert 0.05 < np.mean(np.array(seconds) == 0) < 0.3
    assert all(len(recording.waveform_T) == 320_000 for recording in recordings)
    assert all(np.abs(recording.waveform_T).max() == pytest.approx(0.5) for recording in recordings)
