"""Where recordings are cut into segments."""

from itertools import pairwise

import numpy as np
import pytest

from segments import LENGTHS, SOUND, decoded, segments_of
from voxlate.audio.loading import SAMPLE_RATE_HZ
from voxlate.audio.segmentation import ClipSeconds
from voxlate.audio.speech_detection import SpeechOptions, detect_speech
from voxlate.decoding.segmenting import SegmentationOptions, empty_result_note, left_out
from voxlate.errors import VoxlateError

RATE = SAMPLE_RATE_HZ


def noise(seconds: float, level: float = 0.1, seed: int = 0) -> np.ndarray:
    made = np.random.default_rng(seed).standard_normal(round(seconds * RATE)) * level
    return made.astype(np.float32)


def talk(*parts: tuple[float, float]) -> np.ndarray:
    """Return noise of the given (seconds, level), one after another."""
    return np.concatenate([noise(seconds, level, index) for index, (seconds, level) in enumerate(parts)])


def seconds(segments: list[tuple[int, int]]) -> list[tuple[float, float]]:
    return [(start / RATE, end / RATE) for start, end in segments]


@pytest.mark.parametrize("length", [0.1, 1.0, 14.9])
def test_a_clip_as_long_as_those_in_training_is_not_cut(length: float) -> None:
    waveform_T = noise(length)
    assert segments_of(waveform_T) == [(0, len(waveform_T))]


def test_a_clip_keeps_the_silence_around_its_speech() -> None:
    clip_T = talk((1.2, 0.0), (4.0, 0.1), (0.9, 0.0), (2.0, 0.1), (2.0, 0.0))
    assert segments_of(clip_T) == [(0, len(clip_T))]


@pytest.mark.parametrize("length", [0.0, 0.5, 20.0, 65.0])
def test_silence_gives_no_segments_of(length: float) -> None:
    offset_T = np.full(round(length * RATE), 0.1, np.float32)  # an unconnected input of a sound card
    dither_T: np.ndarray = np.random.default_rng(0).integers(-1, 1, round(length * RATE)).astype(np.float32) / 65_536
    for waveform_T in (np.zeros_like(offset_T), offset_T, dither_T):
        for options in (SOUND, SegmentationOptions()):
            audio = decoded(waveform_T, options)
            assert segments_of(audio, options) == []
            assert empty_result_note(audio.speech, options) == "only silence; its result is empty"


@pytest.mark.parametrize("samples", [1, 5, 160, 400, 1440])
@pytest.mark.parametrize("whole", [False, True])
def test_sound_too_short_for_a_word_gives_no_segments_of(samples: int, whole: bool) -> None:
    reason = "its sound lasts less than 0.1 s, too short for a word; its result is empty"
    sound_T = noise(samples / RATE)
    for waveform_T in (sound_T, np.pad(sound_T[:640], (RATE, 5 * RATE)).astype(np.float32)):
        if np.ptp(waveform_T):
            assert segments_of(waveform_T, whole=whole) == []
            assert empty_result_note(decoded(waveform_T).speech, SOUND) == reason


@pytest.mark.parametrize("peak_dbfs", [-20, -50, -60, -70, -80])
def test_quiet_speech_is_cut_like_loud_speech(peak_dbfs: int) -> None:
    loud_T = talk((9.0, 0.1), (1.5, 0.0), (8.0, 0.1 * 10 ** (-15 / 20)))  # the second speaker 15 dB below the first
    quiet_T = loud_T * np.float32(10 ** (peak_dbfs / 20) / np.abs(loud_T).max())
    expected = [(0.0, 9.1), (10.4, 18.5)]
    assert seconds(segments_of(quiet_T)) == [pytest.approx(one, abs=0.05) for one in expected]


@pytest.mark.parametrize("silence", [0.0, 3.0])
def test_there_is_no_cliff_at_any_length(silence: float) -> None:
    """Six sentences are six segments, of 29.9 s as of 32.9 s."""
    sentences_T = talk(*[(3.5, 0.1), (1.5, 0.0)] * 6)[: round(29.9 * RATE)]
    segments = seconds(segments_of(np.pad(sentences_T, (0, round(silence * RATE)))))
    assert [start for start, _ in segments] == pytest.approx([0, *(5 * n - 0.1 for n in range(1, 6))], abs=0.03)
    assert segments_of(sentences_T, whole=True) == [(0, len(sentences_T))]


def test_long_pauses_are_left_out_and_reported() -> None:
    waveform_T = talk((6.0, 0.1), (8.0, 0.0), (5.0, 0.1), (0.6, 0.0), (5.0, 0.1), (30.0, 0.0))
    audio = decoded(waveform_T)
    spans = segments_of(waveform_T)
    assert seconds(spans)[0] == pytest.approx((0.0, 6.1), abs=0.03)
    stretches = left_out(audio, spans)
    assert [(one.start, one.end) for one in stretches] == [
        pytest.approx((6.1, 13.9), abs=0.03),
        pytest.approx((24.7, 54.6), abs=0.03),
    ]
    assert {one.reason for one in stretches} == {"silence"}


def test_clicks_between_sentences_are_left_out() -> None:
    clicks = [(20.0, 0.0), (0.01, 0.3), (5.0, 0.0), (0.03, 0.3), (9.0, 0.0)]
    segments = seconds(segments_of(talk((5.0, 0.1), *clicks, (0.15, 0.1), (9.0, 0.0))))
    assert [start for start, _ in segments] == pytest.approx([0.0, 38.94], abs=0.06)  # a word of 0.15 s stays


@pytest.mark.parametrize("stretch", [14.6, 14.95, 15.05, 15.2, 15.9, 16.5, 29.8, 30.2, 45.1])
@pytest.mark.parametrize("tail", [0.0, 0.1])
def test_no_segment_is_too_short_for_a_sentence(stretch: float, tail: float) -> None:
    waveform_T = talk((1.5, 0.0), (stretch, 0.1), (0.9 if tail else 0.0, 0.0), (tail, 0.1), (21.0, 0.0), (1.0, 0.1))
    *segments, _ = segments_of(waveform_T)
    for start, end in segments:
        assert np.count_nonzero(waveform_T[start:end]) >= (0.1 if tail else 0.9) * RATE
        assert end - start <= (LENGTHS.max + 0.2) * RATE


def test_a_cut_lies_in_the_longest_pause() -> None:
    waveform_T = talk((7.0, 0.1), (0.2, 0.0), (2.8, 0.1), (0.8, 0.0), (9.2, 0.1))
    assert seconds(segments_of(waveform_T)) == [
        (0.0, pytest.approx(10.1, abs=0.03)),
        (pytest.approx(10.7, abs=0.03), 20.0),
    ]


def test_short_pauses_separate_segments_like_the_clips_of_training() -> None:
    waveform_T = talk(*[(4.5, 0.1), (0.3, 0.0)] * 6)
    assert len(segments_of(waveform_T)) == 6
    assert len(segments_of(waveform_T, lengths=ClipSeconds(10.0, 15.0, 20.0))) == 3


@pytest.mark.parametrize("length", [15.1, 41.0, 100.0, 601.7])
def test_continuous_sound_is_covered_by_segments_of_limited_length(length: float) -> None:
    waveform_T = noise(length)
    segments = segments_of(waveform_T)
    assert segments[0][0] == 0
    assert segments[-1][1] == len(waveform_T)
    assert all(first[1] >= second[0] for first, second in pairwise(segments))
    assert max(end - start for start, end in segments) <= (LENGTHS.max + 0.2) * RATE


def test_segments_of_random_talks_cover_all_loud_samples() -> None:
    generator = np.random.default_rng(3)
    for _ in range(10):
        parts = [(float(generator.uniform(0.1, 25)), float(generator.choice([0.1, 0.03, 1e-4]))) for _ in range(8)]
        waveform_T = talk(*parts, (20.0, 0.1), (20.0, 0.1))
        covered_T = np.zeros(len(waveform_T), bool)
        for start, end in segments_of(waveform_T):
            assert 0 < end - start <= (LENGTHS.max + 0.2) * RATE
            covered_T[start:end] = True
        assert not (np.abs(waveform_T[~covered_T]) > 0.01).any()


def test_extremely_loud_audio_is_one_segments_of() -> None:
    assert len(segments_of(noise(1.0, level=1e30))) == 1


def test_the_length_of_segments_can_be_chosen() -> None:
    waveform_T = talk(*[(4.0, 0.1), (0.5, 0.0)] * 12)
    longest = {
        choice: max(end - start for start, end in segments_of(waveform_T, SegmentationOptions(choice, vad=False)))
        / RATE
        for choice in ("auto", "none", 10.0, 30.0)
    }
    assert longest["auto"] < longest[10.0] <= 10.0 < longest[30.0] <= 30.0 < longest["none"] == len(waveform_T) / RATE


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segmentation": "sentences"}, "segmentation is 'sentences', expected auto, none, or 1 to 3600 seconds"),
        ({"segmentation": 0.5}, "segmentation is 0.5, expected auto, none, or 1 to 3600 seconds"),
        ({"vad_threshold": 1.0}, "vad_threshold is 1.0, expected a probability between 0 and 1, such as 0.5"),
        ({"vad_threshold": float("nan")}, "vad_threshold is nan, expected a probability"),
        ({"min_pause": -1.0}, "min_pause is -1.0, expected 0 to 10 seconds"),
    ],
)
def test_values_out_of_range_are_errors(options: dict[str, object], message: str) -> None:
    with pytest.raises(VoxlateError, match=message.replace("'", ".")):
        SegmentationOptions(**options)  # type: ignore[arg-type]


def test_sound_without_speech_is_reported() -> None:
    options = SegmentationOptions()
    audio = decoded(noise(12.0), options)
    assert segments_of(audio, options) == []
    note = "no speech in its 12.0 s; its result is empty; use --no-vad to process it anyway"
    assert empty_result_note(audio.speech, options) == note
    [stretch] = left_out(audio, [])
    assert (stretch.start, stretch.end, stretch.reason) == (0.0, 12.0, "no speech")
    assert detect_speech(noise(12.0), SpeechOptions(vad=False)).seconds(0, 12 * RATE) == pytest.approx(12.0)
