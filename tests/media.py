"""Synthetic media files for tests: every container and codec that PyAV can write, and ways to break them."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.stream import Disposition
from av.video.stream import VideoStream

if TYPE_CHECKING:
    import numpy.typing as npt
    from av.container import OutputContainer

FRAME_SAMPLES = 1152
LAYOUTS = ("mono", "stereo", "2.1", "quad", "5.0", "5.1", "6.1", "7.1")  # by number of channels, from 1


def sine(frequency_hz: float, seconds: float, rate: int = 16_000, amplitude: float = 0.5) -> npt.NDArray[np.float32]:
    """Return a sine, shape (T,)."""
    times_T = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * frequency_hz * times_T)).astype(np.float32)


def sweep(
    low_hz: float, high_hz: float, seconds: float, rate: int = 16_000, amplitude: float = 0.5
) -> npt.NDArray[np.float32]:
    """Return a sine whose frequency rises linearly, shape (T,), so that all its parts differ."""
    times_T = np.arange(round(seconds * rate)) / rate
    phase_T = 2 * np.pi * (low_hz * times_T + (high_hz - low_hz) / (2 * seconds) * times_T**2)
    return (amplitude * np.sin(phase_T)).astype(np.float32)


def write_media(
    path: Path,
    waveform: npt.NDArray[np.float32],
    rate: int = 16_000,
    *,
    codec: str | None = None,
    container: str | None = None,
    codec_options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    bit_rate: int | None = None,
    video_seconds: float | None = None,
) -> Path:
    """Encode a waveform, shape (T,) or (channels, T), into `path` and return the path.

    Container and codec follow from the suffix unless named. `video_seconds` adds a black video of that length.
    """
    waveform_CT = np.atleast_2d(waveform)
    with av.open(str(path), "w", format=container, options=container_options) as output:
        video = None if video_seconds is None else _video_stream(output)
        audio = output.add_stream(codec or output.default_audio_codec, rate, options=codec_options)
        assert isinstance(audio, AudioStream)
        audio.layout = LAYOUTS[waveform_CT.shape[0] - 1]
        if bit_rate is not None:
            audio.bit_rate = bit_rate
        if video is not None and video_seconds is not None:
            _write_video(output, video, video_seconds)
        for start in range(0, waveform_CT.shape[1], FRAME_SAMPLES):
            # Packed, since planar frames of eight channels crash PyAV.
            block_CT = waveform_CT[:, start : start + FRAME_SAMPLES]
            packed_1T = np.ascontiguousarray(block_CT.T, dtype=np.float32).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed_1T, "flt", LAYOUTS[waveform_CT.shape[0] - 1])
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            output.mux(audio.encode(frame))
        output.mux(audio.encode(None))
    return path


def video_without_audio(path: Path, seconds: float = 1.0) -> Path:
    """Write a black video with no sound."""
    with av.open(str(path), "w") as output:
        _write_video(output, _video_stream(output), seconds)
    return path


def _video_stream(output: OutputContainer) -> VideoStream:
    stream: Any = output.add_stream(output.default_video_codec if output.format.name == "webm" else "mpeg4", 10)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    return stream


def _write_video(output: OutputContainer, stream: VideoStream, seconds: float) -> None:
    for _ in range(round(seconds * 10)):
        output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")))
    output.mux(stream.encode(None))


def truncate(path: Path, fraction: float) -> Path:
    """Cut a file to a fraction of its bytes, in place."""
    contents = path.read_bytes()
    path.write_bytes(contents[: int(len(contents) * fraction)])
    return path


def write_vbr_probe(path: Path) -> Path:
    """Write what voxlate/audio/vbr_probe.mp3 is: 1.2 s of MP3 whose frames have different bit rates.

    A rising tone that grows louder, noise that comes and goes, and near silence, at 48 kHz. Encoders differ between
    versions, so that a file written today need not equal the one in the package.
    """
    rate = 48_000
    tone_T = sweep(150.0, 6_000.0, 1.2, rate, 0.3)
    noise_T = np.random.default_rng(0).normal(0.0, 0.1, len(tone_T))
    seconds_T = np.arange(len(tone_T)) / rate
    loudness_T = np.where(seconds_T < 0.9, 0.2 + seconds_T, 0.004)
    probe_T = loudness_T * (tone_T + noise_T * (np.sin(2 * np.pi * 2.5 * seconds_T) > 0.3))
    variable = {"flags": "+qscale", "global_quality": str(7 * 118)}  # LAME's -V 7
    return write_media(path, probe_T.astype(np.float32), rate, codec="libmp3lame", codec_options=variable)


RATE = 16_000


def film(*tracks: dict[str, Any], container: str = "matroska", seconds: float = 2.0) -> bytes:
    """Return a file whose tracks are tones: `hz` (0: silence), `language`, `title`, `flags`, `codec`."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        streams: list[Any] = []
        for track in tracks:
            stream: Any = output.add_stream(track.get("codec", "aac"), RATE)
            stream.layout = "mono"
            stream.disposition = track.get("flags", Disposition(0))
            for name in ("language", "title"):
                if name in track:
                    stream.metadata[name] = track[name]
            streams.append(stream)
        for stream, track in zip(streams, tracks, strict=True):
            tone_T = sine(track["hz"], seconds) if track["hz"] else np.zeros(round(seconds * RATE), np.float32)
            for start in range(0, len(tone_T), 1024):
                frame = av.AudioFrame.from_ndarray(tone_T[None, start : start + 1024], "flt", "mono")
                frame.sample_rate, frame.pts = RATE, start
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
    return file.getvalue()


def shift_and_error(longer_T: npt.NDArray[Any], start: int, part_T: npt.NDArray[Any], reach: int) -> tuple[int, float]:
    """Return the shift of `part_T` relative to `longer_T[start:]`, up to `reach` samples, and the RMS error left."""
    errors = {
        shift: rms(longer_T[start + shift : start + shift + len(part_T)] - part_T) for shift in range(-reach, reach + 1)
    }
    best = min(errors, key=errors.__getitem__)
    return best, errors[best]


def rms(waveform_T: npt.NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(waveform_T, dtype=np.float64))))


VARIABLE_RATE = {"flags": "+qscale", "global_quality": str(4 * 118)}


FORMATS: dict[str, dict[str, Any]] = {
    "s16.wav": {"codec": "pcm_s16le"},
    "f32.wav": {"codec": "pcm_f32le"},
    "pcm.w64": {},
    "pcm.aiff": {},
    "pcm.au": {},
    "pcm.caf": {"codec": "pcm_s16le"},
    "lossless.flac": {},
    "lossless.wv": {},
    "constant.mp3": {},
    "variable.mp3": {"codec_options": VARIABLE_RATE},
    "no_xing.mp3": {"codec_options": VARIABLE_RATE, "container_options": {"write_xing": "0"}},
    "plain.m4a": {},
    "moov_first.m4a": {"container_options": {"movflags": "+faststart"}},
    "fragments.mp4": {"codec": "aac", "container_options": {"movflags": "+frag_keyframe+empty_moov"}},
    "apple.m4a": {"codec": "alac"},
    "stream.aac": {},
    "dolby.ac3": {},
    "speech.opus": {"codec": "libopus"},
    "lossless.ogg": {"codec": "flac"},
    "aac.mka": {"codec": "aac"},
    "opus.webm": {"codec": "libopus", "container": "webm"},
    "film.mp4": {"codec": "aac", "video_seconds": 6.0},
    "film.mkv": {"codec": "aac", "video_seconds": 6.0},
    "film.webm": {"codec": "libopus", "video_seconds": 6.0},
    "film.avi": {"codec": "libmp3lame", "video_seconds": 6.0},
    "film.mov": {"codec": "pcm_s16le", "video_seconds": 6.0},
    "film.ts": {"codec": "aac"},
    "film.mpg": {"codec": "mp2"},
}


def id3_tag(frames: bytes) -> bytes:
    size = len(frames)
    return b"ID3\x03\x00\x00" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + frames
