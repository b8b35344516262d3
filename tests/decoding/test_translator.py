"""The Python interface of the translator: several inputs and languages, progress, errors."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media import sine
from voxlate import AudioError, SearchOptions, Translator, VoxlateError
from voxlate.audio.loading import SAMPLE_RATE_HZ
from voxlate.decoding.results import Translation


def test_arrays_bytes_and_file_objects(tiny_model: Path, clips: Path) -> None:
    translator = Translator(tiny_model)
    path = clips / "0.wav"
    expected = translator.translate(path, to="de")
    assert expected.audio == str(path)
    assert expected.seconds == 1.0
    assert translator.translate(path.read_bytes(), to="de").text == expected.text
    with path.open("rb") as file:
        assert translator.translate(file, to="de").text == expected.text
    wave = sine(100, 1.0)
    assert translator.translate(np.round(wave * 32768) / np.float32(32768), to="de").text == expected.text


def test_arrays_of_the_wrong_shape_or_type_are_errors(tiny_model: Path) -> None:
    translator = Translator(tiny_model)
    for array in (np.zeros((2, 100), np.float32), np.zeros(100, np.int32), np.full(100, np.nan, np.float32)):
        with pytest.raises(AudioError, match="array: expected "):
            translator.translate(array, to="de")


def test_each_input_needs_a_target_language(tiny_model: Path) -> None:
    translator = Translator(tiny_model)
    with pytest.raises(VoxlateError, match="`to` has 2 languages, expected one for each input"):
        list(translator.stream([sine(300, 0.2)] * 3, to=["de", "fr"]))
    for arguments in ({"to": ["de", "fr"]}, {"to": "de", "source": []}):
        with pytest.raises(VoxlateError, match=r"has \d languages, expected one for each input.*; number of inputs: 1"):
            translator.translate([sine(300, 0.2)], **arguments)
    with pytest.raises(VoxlateError, match="unknown language 'xx'"):
        next(translator.stream([sine(300, 0.2)] * 3, to=["de", "fr", "xx"]))
    with pytest.raises(VoxlateError, match="inputs is one str, expected several; put it in a list"):
        next(translator.stream("a.wav", to="de"))


def test_several_target_languages_share_one_encoding(tiny_model: Path, clips: Path) -> None:
    translator = Translator(tiny_model, batch_size=2)
    long = np.concatenate([sine(300, 1.0), np.zeros(31 * SAMPLE_RATE_HZ, np.float32), sine(700, 1.0)])
    inputs: list[Any] = [
        clips / "0.wav",
        clips / "none.wav",
        long,
        np.zeros(SAMPLE_RATE_HZ, np.float32),
        clips / "1.wav",
    ]
    targets = [["de", "fr", "en"], ["de", "fr"], ["fr", "German"], ["en", "de"], "en"]
    options, reported, encoded = SearchOptions(beam_size=2, max_length=12), [(0.0, 0.0)], []
    encoder: Any = translator.checkpoint.model.encoder
    hook = encoder.register_forward_hook(lambda _, given, __: encoded.append(len(given[0])))
    results = list(translator.stream(inputs, to=targets, options=options, progress=lambda *pair: reported.append(pair)))
    hook.remove()
    assert sum(encoded) == 4  # a clip, two segments of the long input, and another clip
    seconds = sum(
        result.seconds for result in {index: one for index, one in results if isinstance(one, Translation)}.values()
    )
    assert reported[-1] == pytest.approx((seconds, seconds))
    assert [(index, type(result)) for index, result in results if index == 1] == [(1, AudioError)]
    texts = {
        (index, result.target_language): [segment.text for segment in result.segments]
        for index, result in results
        if isinstance(result, Translation)
    }
    assert len(texts) == len(results) - 1
    for language, own in (("de", [0, 2, 3]), ("fr", [0, 2]), ("en", [0, 3, 4])):
        alone = dict(translator.stream([inputs[index] for index in own], to=language, options=options))
        for place, index in enumerate(own):
            result = alone[place]
            assert isinstance(result, Translation)
            assert texts.pop((index, language)) == [segment.text for segment in result.segments]
    assert not texts


def test_one_input_has_a_result_for_each_language(tiny_model: Path) -> None:
    translator, options = Translator(tiny_model), SearchOptions(beam_size=1, max_length=12)
    results = translator.translate(sine(300, 0.5), to=["fr", "de", "French"], options=options)
    assert [one.target_language for one in results] == ["fr", "de"]
    for one in results:
        assert one.text == translator.translate(sine(300, 0.5), to=str(one.target_language), options=options).text
    with pytest.raises(VoxlateError, match="has no language to translate into; expected one or more"):
        translator.translate(sine(300, 0.5), to=[])


def test_progress_reports_seconds_of_audio(tiny_model: Path, clips: Path) -> None:
    translator = Translator(tiny_model, batch_size=2)
    reported: list[tuple[float, float]] = []
    inputs = [sine(200 + 50 * n, 0.3 + 0.1 * (n % 5)) for n in range(40)]
    inputs[7] = np.zeros(SAMPLE_RATE_HZ, np.float32)
    inputs[9] = np.concatenate([sine(300, 1.0), np.zeros(31 * SAMPLE_RATE_HZ, np.float32), sine(300, 1.0)])
    stream = translator.stream(
        inputs, to="de", options=SearchOptions(beam_size=1), progress=lambda done, read: reported.append((done, read))
    )
    order = [index for index, _ in stream]
    assert sorted(order) == list(range(40))
    total = sum(len(tone) for tone in inputs) / SAMPLE_RATE_HZ
    assert reported[-1] == pytest.approx((total, total))
    assert all(done <= read + 1e-6 for done, read in reported)


def test_inputs_are_read_lazily(tiny_model: Path) -> None:
    """The number of waiting inputs is bounded by the read-ahead, not by the number of inputs."""
    taken = 0

    def inputs() -> Iterator[np.ndarray]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield sine(300, 0.2)

    stream = Translator(tiny_model, batch_size=1).stream(inputs(), to="de", options=SearchOptions(beam_size=1))
    next(stream)
    assert taken <= 30


def test_the_former_name_of_language_tokens_is_deprecated(tiny_model: Path) -> None:
    with pytest.warns(DeprecationWarning, match="slots is now called language_tokens"):
        translator = Translator(tiny_model, slots={"de": "fr_XX"})  # type: ignore[call-arg]
    expected = Translator(tiny_model, language_tokens={"de": "fr_XX"}).recipe(to="de")["slots"]
    assert translator.recipe(to="de")["slots"] == expected != Translator(tiny_model).recipe(to="de")["slots"]
