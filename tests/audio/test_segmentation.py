"""Where audio is cut into segments, and what is left out."""

from itertools import pairwise

import numpy as np
import pytest

from voxlate.audio.loading import SAMPLE_RATE_HZ
from voxlate.audio.segmentation import MAX_SEGMENT_SECONDS, segment, segment_with_notes

RATE = SAMPLE_RATE_HZ


def noise(seconds: float, level: float = 0.1, seed: int = 0) -> np.ndarray:
    made = np.random.default_rng(seed).standard_normal(round(seconds * RATE)) * level
    return made.astype(np.float32)


def talk(*parts: tuple[float, float]) -> np.ndarray:
    """Return noise of the given (seconds, level), one after another."""
    return np.concatenate([noise(seconds, level, index) for index, (seconds, level) in enumerate(parts)])


def seconds(segments: list[tuple[int, int]]) -> list[tuple[float, float]]:
    return [(start / RATE, end / RATE) for start, end in segments]


@pytest.mark.parametrize("length", [0.1, 1.0, 29.9])
def test_short_audio_is_one_segment(length: float) -> None:
    waveform_T = noise(length)
    assert segment(waveform_T) == [(0, len(waveform_T))]


@pytest.mark.parametrize("length", [0.0, 0.5, 20.0, 65.0])
def test_silence_gives_no_segment(length: float) -> None:
    offset_T = np.full(round(length * RATE), 0.1, np.float32)  # an unconnected input of a sound card
    dither_T: np.ndarray = np.random.default_rng(0).integers(-1, 1, round(length * RATE)).astype(np.float32) / 65_536
    for waveform_T in (np.zeros_like(offset_T), offset_T, dither_T):
        assert segment_with_notes(waveform_T) == ([], ("only silence; its result is empty",))


@pytest.mark.parametrize("peak_dbfs", [-20, -50, -60, -70, -80])
@pytest.mark.parametrize("whole", [False, True])
def test_quiet_speech_is_cut_like_loud_speech(peak_dbfs: int, whole: bool) -> None:
    loud_T = talk((2.0, 0.1), (1.5, 0.0), (2.0, 0.1 * 10 ** (-15 / 20)))  # the second speaker 15 dB below the first
    quiet_T = loud_T * np.float32(10 ** (peak_dbfs / 20) / np.abs(loud_T).max())
    segments = seconds(segment(quiet_T, whole=whole))
    expected = [(0.0, 5.5)] if whole else [(0.0, 2.2), (3.3, 5.5)]
    assert segments == [pytest.approx(one, abs=0.1) for one in expected]


def test_pauses_separate_sentences_in_audio_of_any_length() -> None:
    sentences_T = talk(*[(3.5, 0.1), (1.5, 0.0)] * 6)[: round(29.9 * RATE)]
    short, long = (seconds(segment(np.pad(sentences_T, (0, more * RATE)))) for more in (0, 3))
    assert [start for start, _ in short] == pytest.approx([0, *(5 * n - 0.24 for n in range(1, 6))], abs=0.01)
    assert short == long
    assert segment(sentences_T, whole=True) == [(0, len(sentences_T))]


def test_one_stretch_of_sound_is_kept_whole_with_its_silence() -> None:
    clip_T = talk((1.2, 0.0), (4.0, 0.1), (0.9, 0.0), (2.0, 0.1), (2.0, 0.0))
    assert segment(clip_T) == [(0, len(clip_T))]


@pytest.mark.parametrize("samples", [1, 5, 160, 400, 1599])
@pytest.mark.parametrize("whole", [False, True])
def test_sound_too_short_for_a_word_gives_no_segment(samples: int, whole: bool) -> None:
    reason = "its sound lasts less than 0.1 s, too short for a word; its result is empty"
    sound_T = noise(samples / RATE)
    for waveform_T in (sound_T, np.pad(sound_T[:640], (RATE, 5 * RATE)).astype(np.float32)):
        if np.ptp(waveform_T):
            assert segment_with_notes(waveform_T, whole=whole) == ([], (reason,))


def test_clicks_in_long_audio_are_left_out_and_counted() -> None:
    clicks = [(20.0, 0.0), (0.01, 0.3), (5.0, 0.0), (0.03, 0.3), (9.0, 0.0)]
    waveform_T = talk((5.0, 0.1), *clicks, (0.15, 0.1), (9.0, 0.0))
    segments, notes = segment_with_notes(waveform_T)
    assert [start for start, _ in seconds(segments)] == pytest.approx([0.0, 38.8], abs=0.06)  # a word of 0.15 s stays
    assert notes == ("2 sounds of less than 0.1 s, too short for a word, left out",)


@pytest.mark.parametrize("stretch", [19.55, 19.6, 19.7, 19.9, 20.0, 20.1, 20.5, 21.0, 39.9, 40.2])
@pytest.mark.parametrize("tail", [0.0, 0.1])
def test_no_segment_is_too_short_for_a_sentence(stretch: float, tail: float) -> None:
    waveform_T = talk((1.5, 0.0), (stretch, 0.1), (0.9 if tail else 0.0, 0.0), (tail, 0.1), (21.0, 0.0), (1.0, 0.1))
    *segments, _ = segment(waveform_T)
    for start, end in segments:
        assert end - start >= RATE
        assert np.count_nonzero(waveform_T[start:end]) >= 0.4 * RATE
        assert end - start <= MAX_SEGMENT_SECONDS * RATE


def test_long_audio_is_cut_where_it_is_quietest() -> None:
    waveform_T = talk((13.0, 0.1), (0.3, 0.004), (15.0, 0.1), (0.3, 0.004), (12.0, 0.1))
    segments = seconds(segment(waveform_T))
    assert [one[0] for one in segments[1:]] == pytest.approx([13.15, 28.45], abs=0.15)
    assert segments[0][0] == 0
    assert segments[-1][1] == len(waveform_T) / RATE


def test_a_cut_lies_well_inside_the_longest_pause() -> None:
    waveform_T = talk((12.0, 0.1), (0.2, 0.0), (2.8, 0.1), (0.8, 0.0), (24.2, 0.1))
    assert segment(waveform_T)[0][1] / RATE == pytest.approx(15.4, abs=0.2)


def test_extremely_loud_audio_is_one_segment() -> None:
    assert len(segment(noise(1.0, level=1e30))) == 1


def test_long_pauses_separate_segments_and_are_left_out() -> None:
    segments = seconds(segment(talk((6.0, 0.1), (8.0, 1e-4), (5.0, 0.1), (0.6, 1e-4), (5.0, 0.1), (30.0, 1e-4))))
    expected = [(0.0, 6.2), (13.8, 24.8)]
    assert [start for start, _ in segments] == pytest.approx([start for start, _ in expected], abs=0.08)
    assert [end for _, end in segments] == pytest.approx([end for _, end in expected], abs=0.08)


@pytest.mark.parametrize("length", [30.1, 41.0, 100.0, 601.7])
def test_continuous_sound_is_covered_by_segments_of_limited_length(length: float) -> None:
    waveform_T = noise(length)
    segments = segment(waveform_T)
    assert segments[0][0] == 0
    assert segments[-1][1] == len(waveform_T)
    assert all(first[1] == second[0] for first, second in pairwise(segments))
    assert max(end - start for start, end in segments) <= MAX_SEGMENT_SECONDS * RATE


def test_segments_of_random_talks_cover_all_loud_samples() -> None:
    generator = np.random.default_rng(3)
    for _ in range(20):
        parts = [(float(generator.uniform(0.1, 25)), float(generator.choice([0.1, 0.03, 1e-4]))) for _ in range(8)] + [
            (20.0, 0.1),
            (20.0, 0.1),
        ]
        waveform_T = talk(*parts)
        covered_T = np.zeros(len(waveform_T), bool)
        for start, end in segment(waveform_T):
            assert 0 < end - start <= MAX_SEGMENT_SECONDS * RATE
            assert not covered_T[start:end].any()
            covered_T[start:end] = True
        assert not (np.abs(waveform_T[~covered_T]) > 0.01).any()
