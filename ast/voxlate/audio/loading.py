"""Any media file to a mono 16 kHz waveform, always by the same decoder and resampler.

Shapes: T samples at 16 kHz. Files are opened by Python and FFmpeg sees only their bytes, so that neither a name nor
a playlist inside a file can make it open anything else.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import BinaryIO, TypeVar

import av
import av.error
import numpy as np

from voxlate.audio.chunks import Chunks, Spool, SpooledWaveform
from voxlate.audio.clock import FROM_ZERO, Clock, Timeline
from voxlate.audio.containers import TrackChoice, all_frames, open_media
from voxlate.audio.downmix import MEDIA_ERRORS, Mixer
from voxlate.audio.frames import Media
from voxlate.audio.header_duration import announced_seconds
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
    "check_decoder",
    "decoder_fingerprint",
    "load_audio",
    "measure_audio",
]

_SUFFIXES = (
    ".3g2 .3gp .aac .ac3 .aif .aifc .aiff .amr .ape .asf .au .avi .caf .flac .flv .m2ts .m4a .m4b .m4v .mka .mkv .mov"
    " .mp2 .mp3 .mp4 .mpeg .mpg .mpga .mts .mxf .oga .ogg .ogv .opus .rf64 .snd .sph .spx .ts .tta .vob .voc .w64 .wav"
    " .webm .wma .wmv .wv"
)
MEDIA_SUFFIXES = frozenset(_SUFFIXES.split())

# Demuxers whose seeks land on a known sample. Chained ogg files restart their clock, so ogg is not one of them.
EXACT_SEEK = {"aiff", "au", "caf", "flac", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "w64", "wav"}
PREROLL_SECONDS = 0.5  # decoded ahead of a range, and dropped, for codecs and filters that need a past
MISSING_SECONDS = 0.01  # in the middle of a stream without gaps
TRUNCATION_SECONDS = 0.25  # encoders' delay and padding make smaller differences in sound files, 0.21 s at 8 kHz

_Collector = TypeVar("_Collector", bound=Chunks)

PROBE_PATH = Path(__file__).with_name("vbr_probe.mp3")
PROBE_CHECKSUM = "19200-aa6c3ab899f594ce"


@dataclass(frozen=True)
class Audio:
    """A decoded waveform, float32 of shape (T,) at 16 kHz, and what was wrong with its file.

    `notes` say what was chosen for the listener: a track of several, a channel where channels cancel.
    """

    waveform: Waveform
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
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

    `audio_track` is the track's number, from 1, or its language. By default it is the one flagged as default, else the
    first that can be decoded and holds sound.

    A path is opened and closed; a file object is read from its beginning and left open. Time 0 is the first sample
    of sound, and an end after the last sample means the last sample. A range is cut to the sample (in Matroska,
    whose clock ticks in milliseconds, to the millisecond). Channels are averaged, surround ones as FFmpeg weighs them;
    of channels that cancel each other, the louder one is taken.

    Gaps between timestamps are closed up: what is returned is the sound that the file holds, and nothing else.

    Raises AudioError, its message beginning with `name` (by default the path), where nothing can be decoded. What
    can be decoded of a damaged file is returned with `warnings`.
    """
    with _named(source, name), open_source(source) as file:
        chunks, warnings, notes, _ = _collect(file, Chunks, _sample_range(start_seconds, end_seconds), audio_track)
        return Audio(chunks.waveform(), warnings, notes)


def spool_audio(
    source: AudioSource, *, audio_track: AudioTrack | None = None, fill_gaps: bool = True
) -> tuple[Waveform | SpooledWaveform, tuple[str, ...], Clock, tuple[str, ...]]:
    """Return waveform and warnings of `load_audio`, but with silence in gaps, then its clock (see `clock`) and notes.

    A long waveform lies in a temporary file, not in memory. Without `fill_gaps` the samples are those of `load_audio`,
    and the clock counts them.
    """
    with _named(source, None), open_source(source) as file:
        spool, warnings, notes, timeline = _collect(file, Spool, (0, None), audio_track, fill_gaps=fill_gaps)
        if timeline is None:
            return spool.finish(), warnings, FROM_ZERO, notes
        return spool.finish(), (*warnings, *timeline.warnings), timeline.clock(), notes


def measure_audio(source: AudioSource, *, name: str | None = None) -> tuple[float, tuple[str, ...]]:
    """Return the seconds and the warnings of what `load_audio` would decode, and raise what it would raise.

    MP3 and FLAC are decoded without being resampled, which is faster and gives the same seconds to a sample.
    """
    with _named(source, name), open_source(source) as file:
        measured = _count_samples(file)
        if measured is None:
            chunks, warnings, *_ = _collect(file, Chunks, (0, None), None)
            measured = chunks.samples / SAMPLE_RATE_HZ, warnings
        return measured


def _count_samples(file: BinaryIO) -> tuple[float, tuple[str, ...]] | None:
    """Count the samples of an MP3 or FLAC; None if the file is anything else, or changes its sample rate."""
    with open_media(file) as media:
        kind = media.container.format.name
        if kind not in ("mp3", "flac") or not media.stream.codec_context.name.startswith(kind):
            return None
        samples, rate = 0, media.stream.sample_rate
        for frame in all_frames(media):
            if frame.sample_rate != rate:
                return None
            samples += frame.samples
        if samples == 0 or media.is_hopeless:
            raise AudioError(_why_nothing(media))
        seconds = samples / rate
        media.seconds = max(media.seconds, seconds)
        announced = announced_seconds(file, media)
    return seconds, tuple(_warnings(file, media, announced))


@contextmanager
def _named(source: AudioSource, name: str | None) -> Iterator[None]:
    """Begin the message of an AudioError with the name of its input."""
    try:
        yield
    except AudioError as error:
        if isinstance(source, (str, os.PathLike)):
            name = name or os.fspath(source)
        label = name or getattr(source, "name", f"<{type(source).__name__}>")
        raise AudioError(f"{label}: {error}") from error.__cause__


def _sample_range(start_seconds: float, end_seconds: float | None) -> tuple[int, int | None]:
    times = (start_seconds,) if end_seconds is None else (start_seconds, end_seconds)
    if start_seconds < 0 or not all(map(math.isfinite, times)):
        raise _BadRangeError(f"bad time range {times}: expected finite seconds, not negative")
    first_sample, last_sample = round(times[0] * SAMPLE_RATE_HZ), round(times[-1] * SAMPLE_RATE_HZ)
    if end_seconds is None:
        return first_sample, None
    if last_sample <= first_sample:
        raise _BadRangeError(
            f"bad time range: ends at {end_seconds} s, expected later than its start at {start_seconds} s"
        )
    return first_sample, last_sample


class _BadRangeError(AudioError):
    pass


def _collect(
    file: BinaryIO,
    collector: type[_Collector],
    samples: tuple[int, int | None],
    wanted: AudioTrack | None,
    *,
    fill_gaps: bool = False,
) -> tuple[_Collector, tuple[str, ...], tuple[str, ...], Timeline | None]:
    """Collect a range of the best track that fits; return it, warnings, notes and, if gaps are filled, its timeline.

    Where that track cannot be decoded, or is silent from beginning to end, the next one that holds sound is taken.
    """
    choice = TrackChoice(wanted, fill_gaps=fill_gaps)
    silent, failure = None, None
    while choice.place < choice.fitting:
        try:
            chunks, warnings = _collect_track(file, collector, samples, choice)
        except _BadRangeError:
            raise
        except AudioError as error:
            failure = failure or error
        else:
            found = chunks, warnings, choice.notes, choice.timeline
            if choice.fitting == 1 or chunks.holds_sound:
                return found
            if samples != (0, None) and _collect_track(file, Spool, (0, None), choice)[0].holds_sound:
                return found
            silent = silent or found
        choice.place += 1
    if silent is None:
        assert failure is not None
        raise failure
    return silent


def _collect_track(
    file: BinaryIO, collector: type[_Collector], samples: tuple[int, int | None], choice: TrackChoice
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
    """Collect the samples from first to last and return warnings; None where seeking failed, and decoding must tell."""
    mixer = Mixer()
    with open_media(file, choice) as media:
        frames: Iterator[av.AudioFrame] = all_frames(media)
        position, announced = 0, 0.0
        if seek and media.container.format.name in EXACT_SEEK:
            landing = _seek(media, first_sample // SAMPLE_RATE_HZ * SAMPLE_RATE_HZ)  # whole seconds are mixed alike
            if landing is None:
                return None
            frames, position = landing
        if choice.timeline is not None:
            frames = choice.timeline.filled(frames, media.container)
        for chunk in mono_chunks(frames, start_seconds=position / SAMPLE_RATE_HZ, mixer=mixer):
            if position + len(chunk) > first_sample:
                stop = None if last_sample is None else last_sample - position
                chunks.add(chunk[max(first_sample - position, 0) : stop])
            position += len(chunk)
            if last_sample is not None and position >= last_sample:
                break
        else:
            media.seconds = max(media.seconds, media.decoded_seconds)
            announced = announced_seconds(file, media)
    if position == 0 or media.is_hopeless:
        raise AudioError(_why_nothing(media))
    if not chunks.samples:
        start_seconds = first_sample / SAMPLE_RATE_HZ
        raise _BadRangeError(f"bad time range: starts at {start_seconds:g} s, the audio ends at {media.seconds:.2f} s")
    if chunks.first_not_finite is not None:
        seconds = (first_sample + chunks.first_not_finite) / SAMPLE_RATE_HZ
        raise AudioError(f"holds NaN or infinite samples, the first at {seconds:.2f} s: not a usable recording")
    choice.notes += mixer.notes()
    return tuple(_warnings(file, media, announced))


def _seek(media: Media, first_sample: int) -> tuple[Iterator[av.AudioFrame], int] | None:
    """Return the frames from shortly before a sample, and the place of the first of them; None if that fails."""
    next(all_frames(media), None)  # finds the origin
    if media.origin is None or not media.stream.time_base:
        return None
    # Whole hundredths of a second keep the phase of the resampler's filters for most rates and formats.
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


def _why_nothing(media: Media) -> str:
    if media.stopped:
        return f"its audio stream cannot be read: {media.stopped}"
    if media.packets and media.damaged:
        count = media.packets - media.damaged
        some = f"only {count}" if count else "none"
        return f"{some} of its {media.packets} audio packets could be decoded: damaged or encrypted"
    return "its audio stream holds no samples"


def _warnings(file: BinaryIO, media: Media, announced_seconds: float) -> Iterator[str]:
    seconds = media.seconds - media.lost_seconds
    if announced_seconds > seconds + TRUNCATION_SECONDS:
        yield f"truncated: {seconds:.2f} s decoded of the {announced_seconds:.2f} s its header announces"
    if media.damaged:
        yield f"damaged: {media.damaged} packet{'s' * (media.damaged > 1)} could not be decoded"
    missing_seconds = media.seconds - media.decoded_seconds
    if missing_seconds > MISSING_SECONDS and (media.kind == "flac" or (media.kind == "ogg" and has_lost_pages(file))):
        yield f"damaged: {missing_seconds:.2f} s of sound are missing"
    elif media.kind == "ogg" and not media.breaks and begins_damaged(file):
        yield "damaged: sound is missing at the beginning of an Ogg stream; later times are too early"
    if media.breaks:
        yield f"damaged: {media.breaks} part{'s' * (media.breaks > 1)} of it could not be read"
    if media.stopped:
        yield f"damaged: reading stopped at {media.seconds:.2f} s ({media.stopped})"


def decoder_fingerprint() -> dict[str, str]:
    """Name the decoder: versions of PyAV and FFmpeg's libraries, and a checksum of what they make of a VBR MP3.

    The checksum is the number of samples and a hash of the mean levels of all 10 ms, in thousandths of full scale:
    it is the same on processors that round differently, and another where samples are lost, added or moved.
    """
    libraries = ("libavformat", "libavcodec", "libswresample")
    versions = {library: ".".join(map(str, av.library_versions[library])) for library in libraries}
    waveform_T = load_audio(PROBE_PATH).waveform
    levels = np.abs(waveform_T[: len(waveform_T) // 160 * 160]).reshape(-1, 160).mean(axis=1)
    digest = hashlib.sha256(repr(np.rint(levels * 1000).astype(int).tolist()).encode()).hexdigest()
    return {"pyav": av.__version__, **versions, "checksum": f"{len(waveform_T)}-{digest[:16]}"}


def check_decoder() -> list[str]:
    """Decode the built-in MP3 and return what is wrong with the result, one line each."""
    try:
        checksum = decoder_fingerprint()["checksum"]
    except AudioError as error:
        return [f"the built-in MP3 cannot be decoded: {error}"]
    if checksum == PROBE_CHECKSUM:
        return []
    return [f"the built-in MP3 decodes to {checksum} (samples-levels), expected {PROBE_CHECKSUM}: scores may differ"]
