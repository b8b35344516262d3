"""Times follow the clock of the file, despite late sound, gaps, wrong timestamps and damage."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream

from media import shift_and_error, sine, sweep, write_media
from segments import segments_of
from voxlate.audio.clock import Clock, Timeline
from voxlate.audio.decoded_audio import DecodedAudio
from voxlate.audio.loading import SAMPLE_RATE_HZ, load_audio, spool_audio
from voxlate.audio.prefetch import read_ahead
from voxlate.decoding.translator import Translator
from voxlate.decoding.writers import WRITERS

RATE = 48_000
When = Callable[[float], float | None]


def write_at(path: Path, waveform_T: Any, codec: str, when: When, picture_start: float | None = None) -> Path:
    """Encode sound; `when` maps the time of each packet to a new one, or to None to leave the packet out."""
    with av.open(str(path), "w") as output:
        picture = output.add_stream("mpeg4", 10) if picture_start is not None else None
        sound = output.add_stream(codec, RATE)
        assert isinstance(sound, AudioStream)
        sound.layout = "mono"
        if picture is not None and picture_start is not None:
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")
            frame.pts, frame.time_base = round(picture_start * 10), Fraction(1, 10)
            output.mux(picture.encode(frame) + picture.encode(None))
        packets = []
        for start in range(0, len(waveform_T), 1152):
            block = av.AudioFrame.from_ndarray(waveform_T[None, start : start + 1152], "flt", "mono")
            block.sample_rate, block.pts, block.time_base = RATE, start, Fraction(1, RATE)
            packets += sound.encode(block)
        for packet in [*packets, *sound.encode(None)]:
            assert packet.pts is not None
            assert packet.time_base is not None
            seconds = when(float(packet.pts * packet.time_base))
            if seconds is not None:
                packet.pts = packet.dts = round(seconds / packet.time_base)
                output.mux(packet)
    return path


def gap(start: float, end: float) -> When:
    return lambda seconds: None if start <= seconds < end else seconds


@pytest.mark.parametrize(
    ("name", "codec", "picture_start"),
    [
        *[(f"late.{suffix}", "aac", 0.0) for suffix in ("mkv", "mp4", "mov", "nut")],
        ("alone.mka", "aac", None),
        ("alone.webm", "libopus", None),
        ("late.ts", "aac", 0.0),
        ("any_start.ts", "aac", 60_000.0),  # the clock of a broadcast, which wraps around after 95443.7 s
        ("wraps.ts", "aac", 95_441.0),
        ("any_start.mpg", "mp2", 20_000.0),
    ],
)
def test_sound_that_begins_late(tmp_path: Path, name: str, codec: str, picture_start: float | None) -> None:
    late = 5.0 + (picture_start or 0.0)
    path = write_at(tmp_path / name, sweep(100, 600, 2.0, RATE), codec, lambda seconds: seconds + late, picture_start)
    waveform_T, warnings, clock, *_ = spool_audio(path)
    assert warnings == ()
    assert clock.seconds(0) == pytest.approx(5.0, abs=0.03)
    assert len(waveform_T) == pytest.approx(2 * SAMPLE_RATE_HZ, abs=800)
    assert np.array_equal(waveform_T[:], load_audio(path).waveform)
    [sound] = read_ahead([path])
    assert isinstance(sound, DecodedAudio)
    assert sound.seconds == pytest.approx(2.0, abs=0.05)


def test_mpeg_streams_of_sound_alone_begin_at_zero(tmp_path: Path) -> None:
    path = write_at(tmp_path / "a.ts", sweep(100, 600, 1.0, RATE), "aac", lambda seconds: seconds + 777.0)
    assert spool_audio(path)[2] == Clock()


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mka", "flac"), ("a.webm", "libopus"), ("a.mp4", "aac"), ("a.ts", "aac"), ("a.ogg", "flac")]
)
def test_gaps_are_silence(tmp_path: Path, name: str, codec: str) -> None:
    sound_T = sweep(100, 600, 9.0, RATE)
    whole_T = load_audio(write_at(tmp_path / f"whole_{name}", sound_T, codec, gap(0, 0))).waveform
    path = write_at(
        tmp_path / name, sound_T, codec, lambda seconds: None if 2 <= seconds < 3.5 or 6 <= seconds < 7 else seconds
    )
    waveform_T, warnings, clock, *_ = spool_audio(path)
    assert warnings == ()
    assert clock.seconds(0) == 0.0
    assert len(waveform_T) == pytest.approx(len(whole_T), abs=16)
    for start, end in ((0.1, 1.9), (3.7, 5.9), (7.2, 8.9)):
        first, last = round(start * SAMPLE_RATE_HZ), round(end * SAMPLE_RATE_HZ)
        shift, error = shift_and_error(whole_T, first, waveform_T[first:last], 20)
        assert abs(shift) <= 16  # a tick of Matroska's clock
        assert error < 0.05
    assert np.abs(waveform_T[round(2.2 * SAMPLE_RATE_HZ) : round(3.3 * SAMPLE_RATE_HZ)]).max() < 1e-3
    # Training and scoring use exactly the sound in the file.
    assert load_audio(path).seconds == pytest.approx(len(whole_T) / SAMPLE_RATE_HZ - 2.5, abs=0.15)


def test_a_long_gap_needs_no_disk_space(tmp_path: Path) -> None:
    hours = 5 * 3_600.0
    path = write_at(
        tmp_path / "a.mka", sine(440, 6.0, RATE), "flac", lambda seconds: seconds + (hours if seconds >= 3 else 0)
    )
    waveform_T, warnings, clock, *_ = spool_audio(path)
    assert warnings == ()
    assert len(waveform_T) == pytest.approx(36 * SAMPLE_RATE_HZ, abs=2)
    [sound] = read_ahead([path])
    assert isinstance(sound, DecodedAudio)
    assert sound.seconds == pytest.approx(hours + 6.0, abs=0.1)
    times = [(clock.seconds(start), clock.seconds(end)) for start, end in segments_of(sound)]
    assert len(times) == 2
    assert times[0] == pytest.approx((0.0, 3.2), abs=0.3)
    assert times[1] == pytest.approx((hours + 2.8, hours + 6.0), abs=0.3)


def timeline_of(*stretches: tuple[float, float]) -> tuple[float, list[tuple[float, float]], Timeline]:
    """Place stretches of (timestamp, seconds); return total seconds, gaps as (position, seconds), and the timeline."""

    def frames() -> Any:
        for start, seconds in stretches:
            for number in range(round(seconds * 50)):
                frame = av.AudioFrame.from_ndarray(np.ones((1, 160), np.float32), "flt", "mono")
                frame.sample_rate, frame.time_base = 8_000, Fraction(1, 1000)
                frame.pts = round(start * 1000) + number * 20
                yield frame

    timeline = Timeline()
    container: Any = SimpleNamespace(format=SimpleNamespace(name="matroska,webm"), start_time=0)
    filled = [frame.to_ndarray()[0] for frame in timeline.fill_gaps(frames(), container)]
    sound_T = np.concatenate(filled)
    assert int(sound_T.sum()) == sum(round(seconds * 50) * 160 for _, seconds in stretches)  # no sample is lost
    edges = np.flatnonzero(np.diff(np.concatenate([[1.0], sound_T, [1.0]])))
    silence = [(start / 8_000, (end - start) / 8_000) for start, end in zip(edges[::2], edges[1::2], strict=True)]
    return len(sound_T) / 8_000, silence, timeline


@pytest.mark.parametrize(
    ("stretches", "silence"),
    [
        ([(0, 2), (2.06, 2), (4.01, 2)], []),  # jitter
        ([(0, 2), (1.5, 3)], []),  # an overlap
        ([(0, 2), (1.5, 2), (4.5, 2)], [(4.0, 0.5)]),  # the overlap ends with the next gap
        ([(0, 2), (30, 0.2), (2.2, 2)], []),  # wrong timestamps
        ([(5, 2), (1, 0.2), (300, 0.1), (7.3, 2)], []),
        ([(0, 5), (0, 5), (8, 2)], [(10.0, 3.0)]),  # joined files: the clock restarts
        ([(0, 2), (4, 0.4), (6, 0.4), (8, 2)], [(2.0, 2.0), (4.4, 1.6), (6.4, 1.6)]),  # one dropout after another
        ([(0, 2), (9, 0.1)], [(2.0, 7.0)]),  # at the end
        ([(second * 0.5, 0.3) for second in range(60)], [(0.3 + second * 0.5, 0.2) for second in range(59)]),
    ],
)
def test_only_what_is_missing_becomes_silence(
    stretches: list[tuple[float, float]], silence: list[tuple[float, float]]
) -> None:
    _, found, timeline = timeline_of(*stretches)
    assert np.array(found) == pytest.approx(np.array(silence), abs=0.01)
    assert timeline.warnings == []
    assert timeline.clock().seconds(SAMPLE_RATE_HZ) == stretches[0][0] + 1


def test_implausible_timestamps_do_not_fill_the_disk() -> None:
    seconds, silence, timeline = timeline_of((0, 2), (400_000, 2))
    assert (seconds, silence) == (4.0, [])
    [warning] = timeline.warnings
    assert warning.startswith(
        "damaged: timestamps jump by 4.6 days at 2.00 s, expected a day at most; later times ignore"
    )
    starts = np.random.default_rng(0).uniform(0, 80_000, 400)
    assert timeline_of(*((start, 0.1) for start in starts))[0] < 4_000
    assert timeline_of((1e9, 1), (1e9 + 1, 1))[2].clock() == Clock()


def test_damage_does_not_shift_what_follows(tmp_path: Path) -> None:
    """In MP3 and AAC, which have no timestamps, the length of the damage is estimated."""
    sound_T = sweep(100, 600, 6.0)
    for name, codec, tolerance in (
        ("a.flac", None, 0.1),
        ("a.ogg", "flac", 0.1),
        ("a.mka", "aac", 0.1),
        ("a.mp3", None, 0.2),
        ("a.aac", None, 0.2),
    ):
        contents = bytearray(write_media(tmp_path / name, sound_T, codec=codec).read_bytes())
        start, end = round(0.45 * len(contents)), round(0.6 * len(contents))
        contents[start:end] = np.random.default_rng(0).bytes(end - start)
        waveform_T, warnings, *_ = spool_audio(bytes(contents))
        assert any(warning.startswith("damaged") for warning in warnings), name
        assert len(waveform_T) / SAMPLE_RATE_HZ == pytest.approx(6.0, abs=tolerance), name
        lost = np.abs(waveform_T[:]).reshape(-1)[: len(waveform_T) // 160 * 160].reshape(-1, 160).max(axis=1) == 0
        assert 0.4 < lost.sum() / 100 < 3, name


def test_a_dropout_divides_a_recording(tmp_path: Path) -> None:
    path = write_at(tmp_path / "a.mka", sine(440, 18.0, RATE), "flac", gap(6, 12))
    [sound] = read_ahead([path])
    assert isinstance(sound, DecodedAudio)
    assert np.array(segments_of(sound)) / SAMPLE_RATE_HZ == pytest.approx(np.array([[0, 6], [12, 18]]), abs=0.35)
    short = write_at(tmp_path / "b.mka", sine(440, 3.0, RATE), "flac", gap(1, 1.8))
    [sound] = read_ahead([short])
    assert isinstance(sound, DecodedAudio)
    assert len(segments_of(sound)) == 1


def test_a_test_set_is_read_without_its_gaps(tmp_path: Path) -> None:
    """Scoring uses the same samples as training and the durations of manifests."""
    path = write_at(tmp_path / "a.mka", sine(440, 9.0, RATE), "flac", gap(3, 6))
    [sound] = read_ahead([path], fill_gaps=False)
    assert isinstance(sound, DecodedAudio)
    assert segments_of(sound) == [(0, len(load_audio(path).waveform))]
    assert np.array_equal(sound.waveform_T[:], load_audio(path).waveform)


def test_every_format_has_the_times_of_the_file(tmp_path: Path, tiny_model: Path) -> None:
    path = write_at(tmp_path / "a.mkv", sine(440, 2.0, RATE), "flac", lambda seconds: seconds + 3_605.0, 0.0)
    result = Translator(tiny_model).translate(path, to="de")
    [segment] = result.segments
    assert (segment.start, segment.end, result.seconds) == pytest.approx((3_605.0, 3_607.0, 3_607.0), abs=0.01)
    written = {name: writer(result) for name, writer in WRITERS.items()}
    for name, comma in (("srt", ","), ("vtt", r"\.")):
        assert re.search(f"01:00:05{comma}00. --> 01:00:07{comma}00.", written[name])
    assert "\t3605.000\t3607.000\t" in written["tsv"]
    assert json.loads(written["json"])["segments"][0]["start"] == 3605.0
