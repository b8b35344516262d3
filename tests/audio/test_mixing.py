"""Mixing channels to mono: no channel with sound is lost, and ordinary layouts are mixed as by FFmpeg."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from media import sine
from voxlate.audio.downmix import Mixer
from voxlate.audio.loading import load_audio
from voxlate.audio.resampling import SAMPLE_RATE_HZ, mono_chunks

if TYPE_CHECKING:
    import numpy.typing as npt

RATE = 16_000


def talk(seed: int, seconds: float = 2.0, rate: int = RATE) -> npt.NDArray[np.float32]:
    """Return noise below 6 kHz with the amplitude envelope of syllables, (T,)."""
    times_T = np.arange(round(seconds * rate)) / rate
    swell_T = np.sin(2 * np.pi * 2.5 * times_T + seed) ** 2
    parts = np.random.default_rng(seed).normal(size=(2, len(times_T) // 2 + 1))
    parts[:, round(6_000 * seconds) :] = 0
    noise_T: npt.NDArray[np.float64] = np.fft.irfft(parts[0] + 1j * parts[1], len(times_T))
    return np.asarray(0.1 * swell_T * noise_T / noise_T.std(), np.float32)


def wav(channels: Any, rate: int = RATE, mask: int | None = None) -> bytes:
    """Return a WAV of float samples, with or without a channel mask."""
    data_CT = np.asarray(channels, "<f4")
    count, data = len(data_CT), data_CT.T.tobytes()
    form = struct.pack("<HHIIHH", 3, count, rate, 4 * count * rate, 4 * count, 32)
    if mask is not None:
        guid = bytes.fromhex("0300000000001000800000aa00389b71")
        form = struct.pack("<H", 0xFFFE) + form[2:] + struct.pack("<HHI", 22, 32, mask) + guid
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def likeness(first_T: npt.NDArray[Any], second_T: npt.NDArray[Any]) -> float:
    """Return the correlation of two waveforms."""
    return float(np.corrcoef(first_T, second_T)[0, 1])


@pytest.mark.parametrize("channels", [2, 3, 4, 6, 7, 8, 9, 10, 12, 14, 16, 24])
def test_no_channel_of_any_number_is_lost(channels: int) -> None:
    speech_T = talk(0, 0.5)
    for channel in range(channels):
        waveform_CT = np.zeros((channels, len(speech_T)), np.float32)
        waveform_CT[channel] = speech_T
        audio = load_audio(wav(waveform_CT))
        assert np.abs(audio.waveform * channels - speech_T).max() < 1e-6
        assert audio.notes == ()


def test_more_channels_than_ffmpeg_mixes() -> None:
    assert np.abs(load_audio(wav(np.tile(talk(0, 0.2), (100, 1)))).waveform - talk(0, 0.2)).max() < 1e-6


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize("mask", [0x1, 0x2, 0x4, 0x8, 0x10, 0x100, 0x800])
def test_a_single_channel_with_sound_is_kept_wherever_it_is(mask: int, rate: int) -> None:
    tone_T = sine(440, 0.5, rate)
    assert np.std(load_audio(wav([tone_T], rate, mask)).waveform) == pytest.approx(np.std(tone_T), rel=0.01)


@pytest.mark.parametrize("layout", ["2.1", "5.1", "6.1(front)", "7.1", "cube", "5.1.4", "7.1.4", "22.2"])
def test_no_channel_of_a_layout_is_lost(layout: str) -> None:
    names = [channel.name for channel in av.AudioLayout(layout).channels]
    speech_T = talk(0, 0.3)
    for channel, name in enumerate(names):
        waveform_CT = np.zeros((len(names), len(speech_T)), np.float32)
        waveform_CT[channel] = speech_T
        mixer = Mixer()
        found_T = np.concatenate(list(mono_chunks(iter([frame(waveform_CT, layout)]), mixer=mixer)))
        assert likeness(found_T, speech_T) > 0.999
        assert np.std(found_T) > np.std(speech_T) / (2.5 * len(names))
        expected = f"channel {channel + 1} (LFE) contains more than bass and is mixed in for 0."
        assert [note.startswith(expected) for note in mixer.notes()] == ([True] if name.startswith("LFE") else [])


def test_the_low_frequency_channel_is_left_out() -> None:
    """Loud bass effects of a film, next to speech and alone."""
    speech_T, rumble_T = talk(0), sine(60, 2.0, amplitude=0.9)
    for front_T in (speech_T, 0 * speech_T):
        waveform_CT = np.stack([front_T, front_T, front_T, rumble_T, 0 * front_T, 0 * front_T])
        audio = load_audio(wav(waveform_CT, mask=0x3F))
        assert audio.notes == ()
        assert np.std(audio.waveform) < 0.8 * np.std(speech_T)


def frame(waveform_CT: npt.NDArray[np.float32], layout: str, rate: int = RATE) -> av.AudioFrame:
    made = av.AudioFrame.from_ndarray(np.ascontiguousarray(waveform_CT.T).reshape(1, -1), "flt", layout)
    made.sample_rate = rate
    return made


@pytest.mark.parametrize("layout", ["stereo", "3.0", "5.1", "7.1"])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_ordinary_layouts_are_mixed_as_by_ffmpeg(layout: str, rate: int) -> None:
    count = av.AudioLayout(layout).nb_channels
    apart_CT = np.stack([talk(seed, 2.3, rate) for seed in range(count)])
    common_CT = 0.1 * apart_CT + talk(99, 2.3, rate)
    one_CT = np.where(np.arange(count)[:, None] == 0, apart_CT, 0).astype(np.float32)
    for waveform_CT in (apart_CT, common_CT, one_CT):
        if layout in ("5.1", "7.1"):
            waveform_CT[3] = sine(50, 2.3, rate)
        found_T = np.concatenate(list(mono_chunks(iter([frame(waveform_CT, layout, rate)]))))
        resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
        outputs = [*resampler.resample(frame(waveform_CT, layout, rate)), *resampler.resample(None)]
        ffmpeg_T = np.concatenate([output.to_ndarray()[0] for output in outputs if output])
        gain = np.float32(ffmpeg_T.std() / found_T.std())
        assert np.abs(found_T * gain - ffmpeg_T).max() < 2e-6


VOICE, OTHER, HISS = talk(1, 4.0), talk(2, 4.0), talk(3, 4.0) * np.float32(0.05)
LATER_INVERTED = np.where(np.arange(len(VOICE)) < 2.37 * RATE, VOICE, -VOICE)
HUM = sine(50, 4.0, amplitude=0.6)


@pytest.mark.parametrize(
    ("channels", "expected", "note"),
    [
        ([VOICE, -VOICE], VOICE, "channel 2 cancels channel 1"),
        ([0.3 * HUM + VOICE, -VOICE], VOICE + 0.3 * HUM, "channel 2 cancels channel 1"),
        ([VOICE + HISS, HISS[::-1] - VOICE], VOICE, "channel 2 cancels channel 1"),
        ([VOICE, -0.5 * VOICE], VOICE, "channel 2 cancels channel 1"),
        ([-0.5 * VOICE, VOICE], VOICE, "channel 1 cancels channel 2"),
        ([VOICE, LATER_INVERTED], VOICE, "channel 2 cancels channel 1"),
        ([LATER_INVERTED, VOICE], LATER_INVERTED, "channel 2 cancels channel 1"),
        ([VOICE, -VOICE, OTHER], VOICE + OTHER, "channel 2 cancels channel 1"),
        ([OTHER, VOICE, -VOICE, HISS], VOICE + OTHER, "channel 3 cancels channel 2"),
        ([VOICE, OTHER], VOICE + OTHER, None),
        ([VOICE, 0.18 * OTHER], VOICE + 0.18 * OTHER, None),
        ([VOICE, HUM], VOICE + HUM, None),
        ([VOICE + HUM, VOICE - HUM], VOICE, None),
        ([VOICE, 0 * VOICE], VOICE, None),
        ([VOICE, 0.1 * VOICE], VOICE, None),
        ([VOICE, VOICE + 0.2], VOICE, None),
    ],
)
def test_the_louder_of_two_channels_that_cancel_is_used(channels: Any, expected: Any, note: str | None) -> None:
    audio = load_audio(wav(channels))
    expected_T = np.asarray(expected)
    for second in range(4):
        span = slice(second * RATE, (second + 1) * RATE)
        assert likeness(audio.waveform[span], expected_T[span]) > 0.99
    assert [text.partition(",")[0] for text in audio.notes] == ([note] if note else [])


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s32le", "pcm_f64le", "flac", "aac", "libopus"])
def test_channels_that_cancel_are_handled_in_every_sample_format(codec: str) -> None:
    for layout in ("stereo", "7.1") if codec != "libopus" else ("stereo",):
        count = av.AudioLayout(layout).nb_channels
        waveform_CT = np.zeros((count, 48_000 * 2), np.float32)
        waveform_CT[0] = talk(5, 2.0, 48_000)
        waveform_CT[1] = -waveform_CT[0]
        file = io.BytesIO()
        with av.open(file, "w", format="matroska") as output:
            stream: Any = output.add_stream(codec, 48_000)
            stream.layout = layout
            for start in range(0, waveform_CT.shape[1], 960):
                block = frame(waveform_CT[:, start : start + 960], layout, 48_000)
                block.pts = start
                output.mux(stream.encode(block))
            output.mux(stream.encode(None))
        audio = load_audio(file.getvalue())
        assert [note[:27] for note in audio.notes] == ["channel 2 cancels channel 1"]
        # One channel next to silent ones: FFmpeg's weights, or equal ones, since Matroska names no channels of PCM.
        share = 1 if layout == "stereo" else 1 / 7 if codec.startswith("pcm") else 0.707 / 3.707
        assert np.std(audio.waveform) == pytest.approx(share * np.std(waveform_CT[0]), rel=0.1)


def test_a_range_is_mixed_like_the_whole() -> None:
    pieces = [talk(seed, 1.0) * (-1 if seed % 2 else 1) for seed in range(6)]
    contents = wav([np.concatenate([np.abs(piece) for piece in pieces]), np.concatenate(pieces)])
    whole_T = load_audio(contents).waveform
    for start, end in ((0.0, 0.7), (0.3, 1.9), (1.05, 2.0), (2.55, 5.21), (4.0, 4.3)):
        part_T = load_audio(contents, start_seconds=start, end_seconds=end).waveform
        assert np.array_equal(part_T, whole_T[round(start * RATE) : round(end * RATE)])
