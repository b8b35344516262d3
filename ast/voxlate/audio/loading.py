"""Decode any media file to a mono 16 kHz waveform, always with the same decoder and resampler.

Shape letter: T samples at 16 kHz. Python opens the files and FFmpeg sees only their bytes, so neither a file name nor a
playlist inside a file can make it open another file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import chain
from typing import BinaryIO, TypeVar

import av
import av.error

from voxlate.audio.chunks import AudioTooLongError, Chunks, Spool, SpooledWaveform
from voxlate.audio.clock import FROM_ZERO, Clock, Timeline
from voxlate.audio.containers import TrackChoice, all_frames, open_media
from voxlate.audio.downmix import MEDIA_ERRORS, Mixer
from voxlate.audio.frames import Media
from voxlate.audio.header_duration import stated_seconds
from voxlate.audio.ogg import begins_damaged, has_lost_pages
from voxlate.audio.resampling import SAMPLE_RATE_HZ, Waveform, mono_chunks
from voxlate.audio.sources import AudioSource, open_source
from voxlate.audio.tracks import AudioTrack
from voxlate.errors import AudioError

__all__ = [
    "MEDIA_SUFFIXES",
    "SAMPLE_RATE_HZ",
    "Audio",
    "AudioSource",
    "Waveform",
    "load_audio",
    "measure_audio",
]

_SUFFIXES = (
    ".3g2 .3gp .aac .ac3 .aif .aifc .aiff .amr .ape .asf .au .avi .caf .flac .flv .m2ts .m4a .m4b .m4v .mka .mkv .mov"
    " .mp2 .mp3 .mp4 .mpeg .mpg .mpga .mts .mxf .oga .ogg .ogv .opus .rf64 .snd .sph .spx .ts .tta .vob .voc .w64 .wav"
    " .webm .wma .wmv .wv"
)
MEDIA_SUFFIXES = frozenset(_SUFFIXES.split())

# Demuxers that seek to a known sample. Ogg is missing because chained files restart their clock.
EXACT_SEEK = {"aiff", "au", "caf", "flac", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "w64", "wav"}
PREROLL_SECONDS = 0.5  # decoded before a range and dropped, for codecs and filters with memory
MISSING_SECONDS = 0.01  # in the middle of a stream without gaps
TRUNCATION_SECONDS = 0.25  # encoder delay and padding cause smaller differences in intact files (0.21 s at 8 kHz)

_Collector = TypeVar("_Collector", bound=Chunks)


@dataclass(frozen=True)
class Audio:
    """A decoded waveform, float32 of shape (T,) at 16 kHz.

    `warnings` describe damage to the file. `notes` describe automatic choices: one of several tracks, one of two
    channels that cancel each other.
    """

    waveform: Waveform
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Duration of the waveform."""
        return len(self.waveform) / SAMPLE_RATE_HZ


def load_audio(
    source: AudioSource,
    *,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    name: str | None = None,
    audio_track: AudioTrack | None = None,
) -> Audio:
    """Decode an audio track of a media file, or a time range of it.

    Channels are averaged, surround channels with FFmpeg's weights. If two channels cancel each other, the louder one is
    used. Gaps between timestamps are removed: the result is exactly the audio in the file.

    Args:
        source: A path, bytes or a binary file, which is read from its beginning and left open.
        start_seconds: Start of the range. Time 0 is the first sample of sound.
        end_seconds: End of the range; the last sample if None or later than that. Ranges are exact to the sample (in
            Matroska, whose timestamps are in milliseconds, to the millisecond).
        name: Name for error messages; the path by default.
        audio_track: Number of the track, from 1, or its language. By default the track flagged as default, else the
            first one that can be decoded and contains sound.

    Returns:
        The audio. If the file is damaged, it holds what can be decoded, with `warnings`.

    Raises:
        AudioError: Nothing can be decoded, or the range is invalid.
    """
    with _named(source, name), open_source(source) as file:
        chunks, warnings, notes, _ = _collect(file, Chunks, _sample_range(start_seconds, end_seconds), audio_track)
        return Audio(chunks.waveform(), warnings, notes)


def spool_audio(
    source: AudioSource,
    *,
    audio_track: AudioTrack | None = None,
    fill_gaps: bool = True,
    max_seconds: float | None = None,
) -> tuple[Waveform | SpooledWaveform, tuple[str, ...], Clock, tuple[str, ...]]:
    """Return waveform, warnings, clock (see `clock`) and notes of a media file, with silence in gaps.

    A long waveform is stored in a temporary file. Without `fill_gaps` the samples equal those of `load_audio`, and the
    clock counts them from 0. AudioTooLongError once more than `max_seconds` are decoded.
    """
    with _named(source, None), open_source(source) as file:
        collector = partial(Spool, max_seconds)
        spool, warnings, notes, timeline = _collect(file, collector, (0, None), audio_track, fill_gaps=fill_gaps)
        if timeline is None:
            return spool.finish(), warnings, FROM_ZERO, notes
        return spool.finish(), (*warnings, *timeline.warnings), timeline.clock(), notes


def measure_audio(source: AudioSource, *, name: str | None = None) -> tuple[float, tuple[str, ...]]:
    """Return the duration in seconds and the warnings that `load_audio` would return; raise the same errors.

    MP3 and FLAC are decoded without resampling, which is faster; the duration is exact to the sample.
    """
    with _named(source, name), open_source(source) as file:
        measured = _measure_directly(file)
        if measured is None:
            chunks, warnings, *_ = _collect(file, Chunks, (0, None), None)
            measured = chunks.samples / SAMPLE_RATE_HZ, warnings
        return measured


def _measure_directly(file: BinaryIO) -> tuple[float, tuple[str, ...]] | None:
    """Measure an MP3 or FLAC file; None for any other file, or if its sample rate changes."""
    with open_media(file) as media:
        kind = media.container.format.name
        if kind not in ("mp3", "flac") or not media.stream.codec_context.name.startswith(kind):
            return None
        samples, rate = 0, media.stream.sample_rate
        for frame in all_frames(media):
            if frame.sample_rate != rate:
                return None
            samples += frame.samples
        if samples == 0 or media.is_mostly_damaged:
            raise AudioError(_failure_reason(media))
        seconds = samples / rate
        media.seconds = max(media.seconds, seconds)
        stated = stated_seconds(file, media)
    return seconds, tuple(_warnings(file, media, stated))


@contextmanager
def _named(source: AudioSource, name: str | None) -> Iterator[None]:
    """Prefix the message of an AudioError with the name of its input."""
    try:
        yield
    except AudioError as error:
        if isinstance(source, (str, os.PathLike)):
            name = name or os.fspath(source)
        label = name or getattr(source, "name", f"<{type(source).__name__}>")
        named = type(error) if isinstance(error, AudioTooLongError) else AudioError
        raise named(f"{label}: {error}") from error.__cause__


def _sample_range(start_seconds: float, end_seconds: float | None) -> tuple[int, int | None]:
    """Convert a time range to samples. _BadRangeError if it is empty or not finite."""
    times = (start_seconds,) if end_seconds is None else (start_seconds, end_seconds)
    if start_seconds < 0 or not all(map(math.isfinite, times)):
        raise _BadRangeError(f"bad time range {times}: expected finite, non-negative seconds")
    first_sample, last_sample = round(times[0] * SAMPLE_RATE_HZ), round(times[-1] * SAMPLE_RATE_HZ)
    if end_seconds is None:
        return first_sample, None
    if last_sample <= first_sample:
        raise _BadRangeError(
            f"bad time range: ends at {end_seconds} s, expected an end after its start at {start_seconds} s"
        )
    return first_sample, last_sample


class _BadRangeError(AudioError):
    """The requested time range is invalid or past the end."""


def _collect(
    file: BinaryIO,
    collector: Callable[[], _Collector],
    samples: tuple[int, int | None],
    audio_track: AudioTrack | None,
    *,
    fill_gaps: bool = False,
) -> tuple[_Collector, tuple[str, ...], tuple[str, ...], Timeline | None]:
    """Decode a range of the best matching track; return it, warnings, notes and, if gaps are filled, its timeline.

    If that track cannot be decoded or is entirely silent, the next one that contains sound is used.
    """
    choice = TrackChoice(audio_track, fill_gaps=fill_gaps)
    silent, failure = None, None
    while choice.rank < choice.candidates:
        try:
            chunks, warnings = _collect_track(file, collector, samples, choice)
        except (_BadRangeError, AudioTooLongError):
            raise
        except AudioError as error:
            failure = failure or error
        else:
            result = chunks, warnings, choice.notes, choice.timeline
            if choice.candidates == 1 or chunks.holds_sound:
                return result
            if samples != (0, None) and _collect_track(file, Spool, (0, None), choice)[0].holds_sound:
                return result
            silent = silent or result
        choice.rank += 1
    if silent is None:
        assert failure is not None
        raise failure
    return silent


def _collect_track(
    file: BinaryIO, collector: Callable[[], _Collector], samples: tuple[int, int | None], choice: TrackChoice
) -> tuple[_Collector, tuple[str, ...]]:
    choice.timeline = Timeline() if choice.fill_gaps else None
    chunks, warnings = collector(), None
    if samples[0] >= SAMPLE_RATE_HZ:
        warnings = _decode(file, chunks, *samples, choice, seek=True)
    if warnings is None:
        chunks = collector()
        warnings = _decode(file, chunks, *samples, choice)
    assert warnings is not None
    return chunks, warnings


def _decode(
    file: BinaryIO,
    chunks: Chunks,
    first_sample: int,
    last_sample: int | None,
    choice: TrackChoice,
    *,
    seek: bool = False,
) -> tuple[str, ...] | None:
    """Collect the samples from first to last and return warnings; None if seeking failed."""
    mixer = Mixer()
    with open_media(file, choice) as media:
        frames: Iterator[av.AudioFrame] = all_frames(media)
        position, stated = 0, 0.0
        if seek and media.container.format.name in EXACT_SEEK:
            # Starting at a whole second keeps the mixing blocks the same.
            landing = _seek(media, first_sample // SAMPLE_RATE_HZ * SAMPLE_RATE_HZ)
            if landing is None:
                return None
            frames, position = landing
        if choice.timeline is not None:
            frames = choice.timeline.fill_gaps(frames, media.container)
        for chunk in mono_chunks(frames, start_seconds=position / SAMPLE_RATE_HZ, mixer=mixer):
            if position + len(chunk) > first_sample:
                stop = None if last_sample is None else last_sample - position
                chunks.add(chunk[max(first_sample - position, 0) : stop])
            position += len(chunk)
            if last_sample is not None and position >= last_sample:
                break
        else:
            media.seconds = max(media.seconds, media.decoded_seconds)
            stated = stated_seconds(file, media)
    if position == 0 or media.is_mostly_damaged:
        raise AudioError(_failure_reason(media))
    if not chunks.samples:
        start_seconds = first_sample / SAMPLE_RATE_HZ
        raise _BadRangeError(f"bad time range: starts at {start_seconds:g} s, the audio ends at {media.seconds:.2f} s")
    if chunks.first_not_finite is not None:
        seconds = (first_sample + chunks.first_not_finite) / SAMPLE_RATE_HZ
        raise AudioError(f"contains NaN or infinite samples, the first at {seconds:.2f} s: not a usable recording")
    choice.notes += mixer.notes()
    return tuple(_warnings(file, media, stated))


def _seek(media: Media, first_sample: int) -> tuple[Iterator[av.AudioFrame], int] | None:
    """Return frames that start shortly before a sample, and the index of their first sample; None if seeking fails."""
    next(all_frames(media), None)  # sets the origin
    if media.origin is None or not media.stream.time_base:
        return None
    # Multiples of 10 ms preserve the phase of the resampler's filters for most rates and formats.
    hundredths = math.floor((first_sample / SAMPLE_RATE_HZ - PREROLL_SECONDS) * 100)
    try:
        ticks = int(Fraction(hundredths, 100) / media.stream.time_base)
        media.container.seek(media.origin + ticks, stream=media.stream)
    except MEDIA_ERRORS:
        return None
    frames = all_frames(media)
    landing = next(frames, None)
    if landing is None or landing.pts is None:
        return None
    media.decoded_seconds = media.seconds
    position = round((landing.pts - media.origin) * media.stream.time_base * SAMPLE_RATE_HZ)
    return None if position > first_sample else (chain([landing], frames), position)


def _failure_reason(media: Media) -> str:
    """Return why nothing usable was decoded, for an error message."""
    if media.stopped:
        return f"its audio stream cannot be read: {media.stopped}"
    if media.packets and media.damaged:
        count = media.packets - media.damaged
        decoded = f"only {count}" if count else "none"
        return f"{decoded} of its {media.packets} audio packets could be decoded: damaged or encrypted"
    return "its audio stream contains no samples"


def _warnings(file: BinaryIO, media: Media, stated_seconds: float) -> Iterator[str]:
    """Yield a warning for each kind of damage. `stated_seconds` is the duration in the header, 0 if unknown."""
    seconds = media.seconds - media.lost_seconds
    if stated_seconds > seconds + TRUNCATION_SECONDS:
        yield f"truncated: {seconds:.2f} s decoded of the {stated_seconds:.2f} s its header states"
    if media.damaged:
        yield f"damaged: {media.damaged} packet{'s' * (media.damaged > 1)} could not be decoded"
    missing_seconds = media.seconds - media.decoded_seconds
    if missing_seconds > MISSING_SECONDS and (media.kind == "flac" or (media.kind == "ogg" and has_lost_pages(file))):
        yield f"damaged: {missing_seconds:.2f} s of sound are missing"
    elif media.kind == "ogg" and not media.breaks and begins_damaged(file):
        yield "damaged: sound is missing at the beginning of an Ogg stream; later times are too early"
    if media.breaks:
        yield f"damaged: {media.breaks} part{'s' * (media.breaks > 1)} of the file could not be read"
    if media.stopped:
        yield f"damaged: reading stopped at {media.seconds:.2f} s ({media.stopped})"
