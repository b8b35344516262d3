"""Cut recordings into segments like the clips that a model was trained on.

A dynamic program weighs two things: how likely each pause is to lie between sentences, and how likely a clip of the
resulting length is. It finds the best of all segmentations, where the probabilistic divide and conquer of SHAS
(Tsiamas et al. 2022, https://github.com/mt-upc/SHAS) cuts at the most likely pause first.

Shape letter: G frames of 10 ms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from voxlate.audio.resampling import SAMPLE_RATE_HZ
from voxlate.audio.speech_detection import LEVEL_FRAME_SAMPLES, Speech

EDGE_SECONDS = 0.1  # kept before and after a segment, at most half of the pause
DEFAULT_MIN_PAUSE_SECONDS = 0.1
MIN_SEGMENT_SECONDS = 1.0  # on either side of a cut where there is no pause

_CERTAIN_PAUSE_SECONDS = 1.0  # pauses from this length lie between sentences
_LIKELY_PAUSE_SECONDS = 0.25  # as many pauses of this length lie between sentences as inside them
_PAUSE_SLOPE = 3.0  # change of the log-odds if a pause is longer by the factor e
_NO_PAUSE_LOG_ODDS = -9.0
_MAX_LOG_ODDS = 6.0
_MIN_SENTENCE_SECONDS = 0.3  # a sound between two pauses that is shorter, such as a final "t", is a part of a sentence
_FRAGMENT_COST = 20.0
_STRETCH_SECONDS = 60.0  # of speech without a certain pause that is cut at a time
_GRID_FRAMES = 25  # positions in speech without pauses at which it may be cut
_FRAMES_PER_SECOND = SAMPLE_RATE_HZ // LEVEL_FRAME_SAMPLES

Span = tuple[int, int]


@dataclass(frozen=True)
class ClipSeconds:
    """Lengths of the clips that a model was trained on, in seconds: median, 95 % quantile and maximum.

    `short_cost` limits the cost of a segment shorter than the median: people do say "yes".
    """

    median: float
    q95: float
    max: float
    short_cost: float = 2.0

    def cost(self, seconds: float) -> float:
        """Return the cost of a segment: that of a log-normal distribution, in nats, but infinite above the maximum."""
        if seconds > self.max:
            return float("inf")
        if seconds < _MIN_SENTENCE_SECONDS:
            return _FRAGMENT_COST
        sigma = np.log(max(self.q95 / self.median, 1.05)) / 1.645
        cost = 0.5 * (np.log(max(seconds, 0.01) / self.median) / sigma) ** 2
        return float(cost if seconds > self.median else min(cost, self.short_cost))


@dataclass(frozen=True)
class Cut:
    """A possible cut: the frames where the speech before it ends and the speech after it starts, and its log-odds."""

    end: int
    start: int
    log_odds: float


def pause_log_odds(seconds: float) -> float:
    """Return the log-odds that a pause lies between two sentences, from its length alone."""
    log_odds = _PAUSE_SLOPE * np.log(max(seconds, 0.01) / _LIKELY_PAUSE_SECONDS)
    return float(np.clip(log_odds, _NO_PAUSE_LOG_ODDS + 1, _MAX_LOG_ODDS))


@dataclass(frozen=True)
class Stretch:
    """A stretch of speech that can be cut independently: its runs without any pause, as (start, end) in frames.

    `earlier` and `later` are the frames where the speech before it ends and the speech after it starts.
    """

    runs: Sequence[Span]
    earlier: int | None
    later: int | None

    @property
    def start(self) -> int:
        """First frame."""
        return self.runs[0][0]

    @property
    def end(self) -> int:
        """Frame after the last one."""
        return self.runs[-1][1]

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return (self.end - self.start) / _FRAMES_PER_SECOND


def part_of(stretch: Stretch, segment: Span) -> Stretch:
    """Return a segment of a stretch as a stretch."""
    start, end = segment
    runs = [(max(start, first), min(end, last)) for first, last in stretch.runs if first < end and last > start]
    return Stretch(runs, None, None)


def speech_stretches(speech: Speech) -> Iterator[Stretch]:
    """Yield the stretches between pauses of a second or more.

    Speech that lacks such pauses is divided after about a minute, at its longest pause.
    """
    runs = speech.runs
    first = 0
    for index in range(len(runs)):
        later = runs[index + 1][0] if index + 1 < len(runs) else None
        last = index
        if later is not None and later - runs[index][1] < _CERTAIN_PAUSE_SECONDS * _FRAMES_PER_SECOND:
            if later - runs[first][0] < _STRETCH_SECONDS * _FRAMES_PER_SECOND:
                continue
            last = max(range((first + index) // 2, index + 1), key=lambda number: runs[number + 1][0] - runs[number][1])
        if last < first:
            continue
        earlier = runs[first - 1][1] if first else None
        yield Stretch(runs[first : last + 1], earlier, runs[last + 1][0] if last + 1 < len(runs) else None)
        first = last + 1


def cut_stretch(
    speech: Speech,
    stretch: Stretch,
    lengths: ClipSeconds,
    *,
    min_pause_seconds: float = DEFAULT_MIN_PAUSE_SECONDS,
    boundaries: Sequence[Cut] | None = None,
) -> list[Span]:
    """Return the segments of a stretch of speech as (start, end) in frames, without the pauses between them.

    `boundaries` are cuts with better log-odds than the length of a pause gives (see `SentenceBoundaries`).
    """
    cuts = [*(_pauses(stretch, min_pause_seconds) if boundaries is None else boundaries)]
    cuts += _cuts_without_pause(speech, stretch, lengths, cuts)
    cuts.sort(key=lambda cut: cut.start)
    first, last = Cut(stretch.start, stretch.start, 0.0), Cut(stretch.end, stretch.end, 0.0)
    return _best_segments([first, *cuts, last], lengths)


def to_samples(segments: Sequence[Span], stretch: Stretch, samples: int) -> list[Span]:
    """Return the segments of a stretch in samples, with up to 0.1 s of the pauses around them.

    `samples` is the length of the waveform.
    """
    edge = round(EDGE_SECONDS * SAMPLE_RATE_HZ)
    ends = [stretch.earlier, *(end for _, end in segments)]
    starts = [*(start for start, _ in segments), stretch.later]
    spans = []
    for index, (start, end) in enumerate(segments):
        earlier, later = ends[index], starts[index + 1]
        lower = 0 if earlier is None else (earlier + start) * LEVEL_FRAME_SAMPLES // 2
        upper = samples if later is None else (end + later) * LEVEL_FRAME_SAMPLES // 2
        first, last = start * LEVEL_FRAME_SAMPLES - edge, end * LEVEL_FRAME_SAMPLES + edge
        spans.append((max(lower, first), min(upper, last, samples)))
    return spans


def _pauses(stretch: Stretch, min_seconds: float) -> Iterator[Cut]:
    """Yield the pauses inside a stretch. Those shorter than `min_seconds` are used only if nothing else is left."""
    for (_, end), (start, _) in pairwise(stretch.runs):
        seconds = (start - end) / _FRAMES_PER_SECOND
        yield Cut(end, start, pause_log_odds(seconds) if seconds >= min_seconds else _NO_PAUSE_LOG_ODDS + 1)


def _cuts_without_pause(speech: Speech, stretch: Stretch, lengths: ClipSeconds, cuts: Sequence[Cut]) -> Iterator[Cut]:
    """Yield cuts in parts of a stretch that are longer than a segment may be and have no other cuts.

    They are at the frames with the least probability of speech, and at least a second from any pause.
    """
    margin = round(min(MIN_SEGMENT_SECONDS, lengths.max / 4) * _FRAMES_PER_SECOND)
    edges = [stretch.start, *(frame for cut in cuts for frame in (cut.end, cut.start)), stretch.end]
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if (end - start) / _FRAMES_PER_SECOND <= lengths.max:
            continue
        for first in range(start + margin, end - margin, _GRID_FRAMES):
            frames = np.arange(first, min(first + _GRID_FRAMES, end - margin))
            frame = int(frames[np.argmin(speech.probability_at(frames))])
            yield Cut(frame, frame, _NO_PAUSE_LOG_ODDS)


def _best_segments(nodes: Sequence[Cut], lengths: ClipSeconds) -> list[Span]:
    """Return the segments with the lowest cost: that of their lengths minus the log-odds of the cuts between them.

    The first and the last node are the edges of the stretch.
    """
    costs = [0.0] + [float("inf")] * (len(nodes) - 1)
    origins = [0] * len(nodes)
    for index in range(1, len(nodes)):
        for origin in range(index - 1, -1, -1):
            seconds = (nodes[index].end - nodes[origin].start) / _FRAMES_PER_SECOND
            if seconds > lengths.max and origin < index - 1:
                break
            # A part that cannot be cut is kept, although it is too long.
            length_cost = 1e6 if seconds > lengths.max else lengths.cost(seconds)
            cost = costs[origin] + length_cost - nodes[index].log_odds
            if cost < costs[index]:
                costs[index], origins[index] = cost, origin
    segments = []
    index = len(nodes) - 1
    while index > 0:
        segments.append((nodes[origins[index]].start, nodes[index].end))
        index = origins[index]
    return segments[::-1]
