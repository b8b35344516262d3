"""Audio inputs from Python: arrays, tensors, files and the audio dicts of `datasets` give the same results as files."""

import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from media import sine, write_media
from voxlate import (
    AudioError,
    SearchOptions,
    SegmentationOptions,
    Translation,
    Translator,
    VoxlateError,
    load_audio,
    read_manifest,
    write_json,
    write_manifest,
    write_srt,
    write_txt,
)
from voxlate.audio.decoded_audio import DecodedAudio
from voxlate.audio.prefetch import read_ahead
from voxlate.manifest.utterance import Utterance

OPTIONS = SearchOptions(beam_size=1, max_length=12)


def assert_same_translations(translations: list[Translation], expected: list[Translation]) -> None:
    """Compare all but the scores, which the size of a batch may change in their last digits, exactly."""
    for translation, other in zip(translations, expected, strict=True):
        assert dataclasses.replace(translation, segments=other.segments) == other
        for segment, other_segment in zip(translation.segments, other.segments, strict=True):
            assert dataclasses.replace(segment, candidates=other_segment.candidates) == other_segment
            assert [one.text for one in segment.candidates] == [one.text for one in other_segment.candidates]
            assert [one.score for one in segment.candidates] == pytest.approx(
                [one.score for one in other_segment.candidates], abs=1e-5
            )


def decode(audio: Any, **options: Any) -> np.ndarray:
    """Return the samples that a model gets."""
    [decoded] = read_ahead([audio], **options)
    assert isinstance(decoded, DecodedAudio), decoded
    return np.asarray(decoded.waveform_T[:])


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_arrays_and_tensors_give_the_samples_of_a_file(tmp_path: Path, rate: int) -> None:
    wave_T = (sine(300, 1.0, rate=rate) * 32767).round().astype(np.int16)
    path = write_media(tmp_path / "clip.wav", (wave_T / 32768).astype(np.float32), rate=rate)
    expected_T = load_audio(path).waveform
    float_T = wave_T.astype(np.float64) / 32768
    for array in (wave_T, wave_T[None], float_T, float_T[None], torch.from_numpy(float_T), torch.from_numpy(wave_T)):
        np.testing.assert_allclose(decode(array, sampling_rate=rate), expected_T, atol=1e-6)
    for audio in ({"array": float_T, "sampling_rate": rate}, {"array": float_T.tolist(), "sampling_rate": rate}):
        np.testing.assert_allclose(decode(audio), expected_T, atol=1e-6)
    np.testing.assert_array_equal(decode({"bytes": path.read_bytes(), "path": "clip.wav"}), expected_T)
    np.testing.assert_array_equal(decode({"bytes": None, "path": str(path)}), expected_T)
    np.testing.assert_array_equal(decode(load_audio(path)), expected_T)
    stereo = torch.from_numpy(np.stack([float_T, float_T]).astype(np.float32))
    decoder = SimpleNamespace(get_all_samples=lambda: SimpleNamespace(data=stereo, sample_rate=rate))
    np.testing.assert_allclose(decode(decoder), expected_T, atol=1e-6)


def test_half_precision_tensors_are_accepted() -> None:
    tensor_T = torch.from_numpy(sine(300, 0.5)).bfloat16().requires_grad_()
    np.testing.assert_array_equal(decode(tensor_T), tensor_T.detach().float().numpy())


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros((2, 100), np.float32), r"array: expected floats or 16-bit integers of shape \(T,\) or \(1, T\), got"),
        (np.zeros(100, np.int32), r"got int32 \(100,\)"),
        (torch.zeros(3, 1, 100), r"got float32 \(3, 1, 100\)"),
        (np.full(100, np.nan, np.float32), "array: expected finite floats, got NaN or infinity"),
        (3, "int: not an audio input; expected a path, bytes, a binary file, a NumPy array, a PyTorch tensor or an"),
        ({"text": "hello"}, "dict with text: not an audio input; expected the keys array and sampling_rate, or bytes"),
        (
            {"array": [0.0], "sampling_rate": 0},
            "sampling_rate is 0, expected an integer in Hz from 1000 to 1000000",
        ),
        ({"array": [0.0], "sampling_rate": "16000"}, "sampling_rate is '16000', expected an integer in Hz"),
    ],
)
def test_other_inputs_are_errors_of_one_line(audio: Any, message: str) -> None:
    [error] = read_ahead([audio])
    assert isinstance(error, AudioError)
    with pytest.raises(AudioError, match=message):
        raise error
    assert "\n" not in str(error)


def test_one_input_gives_one_result_and_a_list_gives_a_list(tiny_model: Path, clips: Path) -> None:
    translator = Translator(tiny_model)
    paths = [clips / f"{number}.wav" for number in (2, 0, 1)]
    alone = [translator.translate(path, to="de", options=OPTIONS) for path in paths]
    assert_same_translations(translator.translate(paths, to="de", options=OPTIONS), alone)
    mixed = translator.translate(tuple(paths), to=["de", "fr", "de"], options=OPTIONS)
    assert [one.target_language for one in mixed] == ["de", "fr", "de"]
    assert_same_translations([mixed[0], mixed[2]], [alone[0], alone[2]])
    with pytest.raises(AudioError, match=r"none.wav: no such file"):
        translator.translate([*paths, clips / "none.wav"], to="de", options=OPTIONS)


@pytest.mark.parametrize("inputs", ["a.wav", b"", np.zeros(100, np.float32), {"path": "a.wav"}])
def test_a_stream_takes_several_inputs(tiny_model: Path, inputs: Any) -> None:
    with pytest.raises(VoxlateError, match=r"inputs is one \w+, expected several; put it in a list"):
        next(Translator(tiny_model).stream(inputs, to="de"))


def test_arguments_of_a_wrong_type_are_one_line(tiny_model: Path, clips: Path, tmp_path: Path) -> None:
    translator: Any = Translator(tiny_model)
    for arguments, message in (
        (
            {"to": "de", "options": SegmentationOptions()},
            r"`options` is SegmentationOptions\(.*, expected SearchOptions",
        ),
        ({"to": "de", "segmentation": 20}, "`segmentation` is 20, expected SegmentationOptions"),
        ({"to": None}, "a language is None, expected a code such as de, or a name"),
    ):
        with pytest.raises(VoxlateError, match=message):
            translator.translate(clips / "0.wav", **arguments)
    with pytest.raises(VoxlateError, match="batch_size is '3', expected 1 or more"):
        Translator(tiny_model, batch_size="3")  # type: ignore[arg-type]
    with pytest.raises(VoxlateError, match=r"`translation` is 'a\.srt', expected Translation"):
        write_srt("a.srt", Translation("a", 1.0, "de", ()))  # type: ignore[arg-type]


def test_results_carry_their_recipe(tiny_model: Path, clips: Path, tmp_path: Path) -> None:
    translator = Translator(tiny_model)
    result = translator.translate(clips / "0.wav", to="de", options=OPTIONS, audio_track=1)
    assert dict(result.recipe) == {
        **translator.recipe(OPTIONS, "de"),
        "audio_track": 1,
        **SegmentationOptions().recorded(),
    }
    assert result.recipe["search_beam"] == 1
    again = pickle.loads(pickle.dumps(result))
    assert (again, again.recipe) == (result, dict(result.recipe))


def test_the_recipe_is_computed_only_when_it_is_read(
    tiny_model: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[Path] = []

    def weights_sha256(folder: Path) -> str:
        computed.append(folder)
        return "digest"

    monkeypatch.setattr("voxlate.decoding.recipes.weights_sha256", weights_sha256)
    translator = Translator(tiny_model)
    results = [translator.translate(clips / f"{number}.wav", to="de", options=OPTIONS) for number in (0, 1)]
    assert (repr(results[0]), results[0] == results[1]) == (repr(results[0]), False)
    write_txt(results[0], tmp_path / "a.txt")
    assert computed == []
    for result in results:
        assert result.recipe["weights_sha256"] == "digest"
    assert computed == [tiny_model]


def test_results_are_written_to_paths_and_files(tiny_model: Path, clips: Path, tmp_path: Path) -> None:
    result = Translator(tiny_model).translate(clips / "0.wav", to="de", options=OPTIONS)
    for write in (write_txt, write_srt, write_json):
        write(result, tmp_path / "new" / "result")
        with (tmp_path / "open").open("w", encoding="utf-8") as file:
            write(result, file)
            assert not file.closed
        assert (tmp_path / "open").read_bytes() == (tmp_path / "new" / "result").read_bytes()


def test_manifests_are_written_and_read_by_paths_of_any_type(clips: Path, tmp_path: Path) -> None:
    for path in (str(tmp_path / "text.jsonl"), tmp_path / "path.jsonl"):
        assert write_manifest(path, [Utterance("a", clips / "0.wav")]) == 1
        assert [row.audio for row in read_manifest(path)] == [clips / "0.wav"]


EFFECTS = """
import sys, warnings
import torch
from pathlib import Path
import voxlate
from voxlate import SearchOptions, Translator, Transcriber, Identifier

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

def settings():
    switches = torch.backends.cuda.cudnn_sdp_enabled(), torch.is_grad_enabled(), torch.get_default_dtype()
    return torch.get_num_threads(), *switches, warnings.filters[:]

import voxlate.decoding.translator, voxlate.decoding.transcriber, voxlate.decoding.identifier
before = settings()
model, clip = sys.argv[1:]
translator = Translator(model, device="cpu")
translator.translate(clip, to="en", options=SearchOptions(beam_size=1, max_length=8))
Transcriber(model, device="cpu").transcribe(clip)
assert settings() == before
start = resident()
blocks = [torch.ones(10 * 2**20) for _ in range(20)]
held = resident() - start
del blocks
print(round(held), round(resident() - start))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_library_calls_leave_the_process_as_it_was() -> None:
    """Memory that is freed afterwards goes back to the system, as it does without Voxlate."""
    from paths import DEMO

    command = [sys.executable, "-c", EFFECTS, str(DEMO / "model"), str(DEMO / "clips/fr-25.flac")]
    held, kept = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert held > 700  # MiB
    assert kept < 100
