"""The clock of a media file: the time in seconds at which each sample is played.

Time 0 is the zero of the container's own timeline. MPEG and Ogg streams start at arbitrary timestamps, and elementary
streams (MP3, FLAC, ...) at the encoder delay: there, as in FFmpeg and players, time 0 is the earliest timestamp of all
streams.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av

from voxlate.audio.resampling import HIGHEST_RATE_HZ, SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from av.container import InputContainer

# Demuxers of containers whose timeline starts at zero, regardless of when the first sound starts.
ZERO_BASED = {"asf", "avi", "flv", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "nut"}
TOLERANCE_SECONDS = 0.1  # timestamps are rounded to milliseconds, jitter, and drift from the sample count
OVERLAP_SECONDS = 1.0  # timestamps that jump back further restart the clock
CONSISTENT_SECONDS = 1.0  # a jump that is reverted sooner is a wrong timestamp
LONGEST_HELD_SECONDS = 10.0  # of frames with inconsistent timestamps
LONGEST_SILENCE_SECONDS = 30.0  # inserted for one gap; the clock skips the rest
MOST_SILENCE_SECONDS = 3_600.0  # inserted in total; after that, each gap gets SHORT_SILENCE_SECONDS
SHORT_SILENCE_SECONDS = 2.0
MPEG_WRAP_SECONDS = 2**33 / 90_000  # MPEG clocks wrap around after this; FFmpeg unwraps them within a stream
LONGEST_GAP_SECONDS = 86_400.0  # a longer jump is a wrong timestamp, not a gap


@dataclass(frozen=True)
class Clock:
    """Maps 16 kHz samples to a file's clock. Samples are counted from each mark (sample, seconds) to the next."""

    marks: tuple[tuple[int, float], ...] = ((0, 0.0),)

    def seconds(self, sample: int) -> float:
        """Return the time of a sample in seconds."""
        first, seconds = self.marks[max(0, bisect_right(self.marks, (sample, math.inf)) - 1)]
        return seconds + (sample - first) / SAMPLE_RATE_HZ

    def sample(self, seconds: float) -> int:
        """Return the sample that is played at a time, the inverse of `seconds`."""
        first, start = self.marks[max(0, bisect_right(self.marks, seconds, key=lambda mark: mark[1]) - 1)]
        return first + round((seconds - start) * SAMPLE_RATE_HZ)


FROM_ZERO = Clock()


class Timeline:
    """Tracks the timestamps of decoded frames and fills gaps between them with silence.

    Audio is never dropped. If timestamps overlap by up to a second, audio is late until the next gap. If they jump back
    further, as in concatenated files, the clock is assumed to have restarted, and time continues.
    """

    def __init__(self) -> None:
        self._zero = 0.0
        self._marks: list[tuple[int, float]] = []
        self._position = 0.0  # seconds of sound and silence so far
        self._shift = 0.0  # clock time minus position
        self._silence = 0.0  # seconds
        # Frames since a jump of the timestamps, each with its delay, until the timestamps are consistent for a while.
        self._held: list[tuple[float, av.AudioFrame]] = []
        self._held_seconds = self._consistent_seconds = 0.0
        self.warnings: list[str] = []

    def clock(self) -> Clock:
        """Return the clock of the samples so far."""
        return Clock(tuple(self._marks)) if self._marks else FROM_ZERO

    def fill_gaps(self, frames: Iterator[av.AudioFrame], container: InputContainer) -> Iterator[av.AudioFrame]:
        """Yield all frames of a container, with frames of silence in the gaps."""
        self._zero = _zero(container)
        for frame in frames:
            delay = self._delay(frame)
            if -OVERLAP_SECONDS <= delay <= TOLERANCE_SECONDS:
                yield from self._release(trusted=False)
                self._position += _seconds(frame)
                yield frame
                continue
            is_consistent = self._held and abs(delay - self._held[-1][0]) <= TOLERANCE_SECONDS
            self._consistent_seconds = (self._consistent_seconds if is_consistent else 0.0) + _seconds(frame)
            self._held.append((delay, frame))
            self._held_seconds += _seconds(frame)
            if self._consistent_seconds >= CONSISTENT_SECONDS or self._held_seconds >= LONGEST_HELD_SECONDS:
                yield from self._release(trusted=True)
        yield from self._release(trusted=True)

    def _delay(self, frame: av.AudioFrame) -> float:
        """Return the seconds between the end of the previous frames and the timestamp of this one."""
        if frame.pts is None or frame.time_base is None:
            return self._held[-1][0] if self._held else 0.0
        time = float(frame.pts * frame.time_base)
        if not self._marks:
            if not 0 <= time - self._zero <= LONGEST_GAP_SECONDS:
                self._zero = time
            self._shift = time - self._zero - self._position
            self._marks.append((0, self._shift))
        return time - self._zero - (self._position + self._held_seconds + self._shift)

    def _release(self, *, trusted: bool) -> Iterator[av.AudioFrame]:
        """Yield the held frames; if their timestamps are trusted, fill the gaps up to the last one."""
        held, self._held = self._held, []
        last = held[-1][0] if held and trusted else 0.0
        if not 0 <= last <= LONGEST_GAP_SECONDS:
            self._zero += last
            if last > 0:
                self.warnings.append(
                    f"damaged: timestamps jump by {last / 86_400:.1f} days at {self._position + self._shift:.2f} s, "
                    "expected a day at most; later times ignore this gap"
                )
            last = 0.0
        filled = 0.0
        for delay, frame in held:
            if filled + TOLERANCE_SECONDS < delay <= last + TOLERANCE_SECONDS:
                yield from self._gap(frame, delay - filled)
                filled = delay
            self._position += _seconds(frame)
            yield frame
        self._held_seconds = self._consistent_seconds = 0.0

    def _gap(self, before: av.AudioFrame, seconds: float) -> Iterator[av.AudioFrame]:
        """Yield silence, shortened if the gap is long; a mark in its middle advances the clock by the rest."""
        longest = LONGEST_SILENCE_SECONDS if self._silence < MOST_SILENCE_SECONDS else SHORT_SILENCE_SECONDS
        silence = min(seconds, longest)
        if silence < seconds:
            middle = self._position + silence / 2
            self._shift += seconds - silence
            self._marks.append((round(middle * SAMPLE_RATE_HZ), middle + self._shift))
        self._position += silence
        self._silence += silence
        yield from _silent(before, silence)


def _zero(container: InputContainer) -> float:
    """Return the timestamp, in seconds, of time 0."""
    kind = container.format.name
    if kind in ZERO_BASED or container.start_time is None:
        return 0.0
    starts = [float((stream.start_time or 0) * (stream.time_base or 0)) for stream in container.streams]
    if kind in ("mpeg", "mpegts") and max(starts) - min(starts) > MPEG_WRAP_SECONDS / 2:
        return min(start for start in starts if start > MPEG_WRAP_SECONDS / 2) - MPEG_WRAP_SECONDS
    return container.start_time / av.time_base  # in microseconds


def _seconds(frame: av.AudioFrame) -> float:
    """Return the duration of a frame."""
    return frame.samples / max(1, frame.sample_rate)


def _silent(like: av.AudioFrame, seconds: float) -> Iterator[av.AudioFrame]:
    """Yield silent frames with the format, layout and rate of another frame."""
    if not 0 < like.sample_rate <= HIGHEST_RATE_HZ:
        return  # the resampler refuses it later
    samples = round(seconds * like.sample_rate)
    zero = b"\x80" if like.format.name.startswith("u8") else b"\0"
    while samples > 0:
        frame = av.AudioFrame(like.format.name, like.layout, min(samples, like.sample_rate))
        frame.sample_rate = like.sample_rate
        for plane in frame.planes:
            plane.update(zero * plane.buffer_size)
        samples -= frame.samples
        yield frame
