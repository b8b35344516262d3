from itertools import pairwise

import numpy as np
import pytest

from voxlate.data.audio import SAMPLE_RATE_HZ
from voxlate.decoding.segmentation import MAX_PIECE_SECONDS, segment

RATE = SAMPLE_RATE_HZ


def noise(seconds: float, level: float = 0.1, seed: int = 0) -> np.ndarray:
    made = np.random.default_rng(seed).standard_normal(round(seconds * RATE)) * level
    return made.astype(np.float32)


def talk(*parts: tuple[float, float]) -> np.ndarray:
    """Noise of given (seconds, level), one after another."""
    return np.concatenate([noise(seconds, level, index) for index, (seconds, level) in enumerate(parts)])


def seconds(pieces: list[tuple[int, int]]) -> list[tuple[float, float]]:
    return [(start / RATE, end / RATE) for start, end in pieces]


@pytest.mark.parametrize("length", [0.001, 1.0, 29.9])
def test_short_audio_is_one_piece(length: float) -> None:
    waveform_T = noise(length)
    assert segment(waveform_T) == [(0, len(waveform_T))]


@pytest.mark.parametrize("length", [0.0, 0.5, 20.0, 65.0])
def test_silence_gives_no_piece(length: float) -> None:
    assert segment(np.zeros(round(length * RATE), np.float32)) == []
    assert segment(noise(length, level=3e-4)) == []  # -70 dBFS


def test_quiet_speech_is_no_silence() -> None:
    assert len(segment(noise(5.0, level=3e-3))) == 1  # -50 dBFS


def test_long_audio_is_cut_where_it_is_quietest() -> None:
    waveform_T = talk((13.0, 0.1), (0.3, 0.004), (15.0, 0.1), (0.3, 0.004), (12.0, 0.1))
    pieces = seconds(segment(waveform_T))
    assert [piece[0] for piece in pieces[1:]] == pytest.approx([13.15, 28.45], abs=0.15)
    assert pieces[0][0] == 0
    assert pieces[-1][1] == len(waveform_T) / RATE


def test_the_longest_pause_is_cut_well_inside() -> None:
    waveform_T = talk((12.0, 0.1), (0.2, 0.0), (2.8, 0.1), (0.8, 0.0), (24.2, 0.1))
    assert segment(waveform_T)[0][1] / RATE == pytest.approx(15.4, abs=0.2)


def test_no_sample_is_too_loud() -> None:
    assert len(segment(np.full(16_000, 1e30, np.float32))) == 1


def test_long_pauses_part_pieces_and_are_left_out() -> None:
    pieces = seconds(segment(talk((6.0, 0.1), (8.0, 1e-4), (5.0, 0.1), (0.6, 1e-4), (5.0, 0.1), (30.0, 1e-4))))
    expected = [(0.0, 6.2), (13.8, 24.8)]
    assert [start for start, _ in pieces] == pytest.approx([start for start, _ in expected], abs=0.08)
    assert [end for _, end in pieces] == pytest.approx([end for _, end in expected], abs=0.08)


@pytest.mark.parametrize("length", [30.1, 41.0, 100.0, 601.7])
def test_nothing_loud_is_lost_and_no_piece_is_too_long(length: float) -> None:
    waveform_T = noise(length)
    pieces = segment(waveform_T)
    assert pieces[0][0] == 0
    assert pieces[-1][1] == len(waveform_T)
    assert all(first[1] == second[0] for first, second in pairwise(pieces))
    assert max(end - start for start, end in pieces) <= MAX_PIECE_SECONDS * RATE


def test_random_talks_keep_every_loud_moment() -> None:
    generator = np.random.default_rng(3)
    for _ in range(20):
        parts = [(float(generator.uniform(0.1, 25)), float(generator.choice([0.1, 0.03, 1e-4]))) for _ in range(8)] + [
            (20.0, 0.1),
            (20.0, 0.1),
        ]
        waveform_T = talk(*parts)
        covered_T = np.zeros(len(waveform_T), bool)
        for start, end in segment(waveform_T):
            assert 0 < end - start <= MAX_PIECE_SECONDS * RATE
            assert not covered_T[start:end].any()
            covered_T[start:end] = True
        assert not (np.abs(waveform_T[~covered_T]) > 0.01).any()
