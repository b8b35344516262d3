"""Choose the segments of an input that are translated or transcribed.

Shape letters: T samples at 16 kHz, B frames of a sentence boundary head.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from voxlate.audio.decoded_audio import DecodedAudio
from voxlate.audio.resampling import SAMPLE_RATE_HZ
from voxlate.audio.segmentation import (
    DEFAULT_MIN_PAUSE_SECONDS,
    ClipSeconds,
    Cut,
    Span,
    Stretch,
    cut_stretch,
    part_of,
    pause_log_odds,
    speech_stretches,
    to_samples,
)
from voxlate.audio.speech_detection import LEVEL_FRAME_SAMPLES, MIN_SPEECH_SECONDS, Speech, SpeechOptions
from voxlate.checkpoints.training_statistics import TrainingStatistics
from voxlate.decoding.results import LeftOut
from voxlate.decoding.segment_journal import KnownSegments, ResumableSegments
from voxlate.errors import OptionError

if TYPE_CHECKING:
    from voxlate.models.sentence_boundaries import SentenceBoundaries

Floats: TypeAlias = npt.NDArray[np.floating]
Segmentation: TypeAlias = float | Literal["auto", "none"]

# A CTC head transcribes any number of sentences; its recordings are cut for memory and for cues of readable length.
CTC_CLIP_SECONDS = ClipSeconds(median=6.0, q95=15.0, max=20.0)
WHOLE_SECONDS = 30.0  # utterances of test sets up to this length are not cut
_LEFT_OUT_SECONDS = 1.0  # shorter pauses are not reported
_CONTEXT_SECONDS = 0.3  # around the speech that the boundary head sees
_FIRST_GROUP_SECONDS, _GROUP_SECONDS = 60.0, 300.0  # of speech that is cut at once
_FRAMES_PER_SECOND = SAMPLE_RATE_HZ // LEVEL_FRAME_SAMPLES
_MAX_LOG_ODDS = 8.0
_SHORT_COST = 1.0  # of a segment that is shorter than usual: the head knows better where sentences end
_PEAK_DISTANCE = 30  # frames of 10 ms from a pause, for which the head's probability is high, too


@dataclass(frozen=True)
class SegmentationOptions:
    """How an input is cut into segments.

    - `segmentation`: "auto" for segments like the clips that the model was trained on, a maximum length in seconds, or
      "none" for one segment.
    - `vad`, `vad_threshold`: whether speech is detected, and the probability from which a frame contains speech.
      Without detection, all sound counts as speech.
    - `min_pause`: pauses from this length, in seconds, are preferred places to cut.
    - `coverage_check`: whether segments whose translation cannot be right are cut again (`voxlate.decoding.review`). It
      needs speech detection.

    OptionError if a value is out of its range.
    """

    segmentation: Segmentation = "auto"
    vad: bool = True
    vad_threshold: float = 0.5
    min_pause: float = DEFAULT_MIN_PAUSE_SECONDS
    coverage_check: bool = True

    def __post_init__(self) -> None:
        _ = self.speech  # checks the threshold
        if self.segmentation not in ("auto", "none"):
            seconds = self.segmentation
            if isinstance(seconds, str | bool) or not 1 <= seconds <= 3600:
                raise OptionError({"segmentation": f"is {seconds!r}, expected auto, none, or 1 to 3600 seconds"})
        if not 0 <= self.min_pause <= 10:  # false for NaN, too
            raise OptionError({"min_pause": f"is {self.min_pause}, expected 0 to 10 seconds"})

    @property
    def speech(self) -> SpeechOptions:
        """The options of speech detection."""
        return SpeechOptions(self.vad, self.vad_threshold)

    @property
    def checks_coverage(self) -> bool:
        """Whether suspicious segments are cut again: not without speech detection, nor in one segment on request."""
        return self.coverage_check and self.vad and self.segmentation != "none"

    def recorded(self) -> dict[str, object]:
        """Return the options that results depend on, under the names of recipes."""
        detection = {"vad_threshold": self.vad_threshold} if self.vad else {}
        options = {"segmentation": self.segmentation, "vad": self.vad, **detection, "min_pause": self.min_pause}
        return {**options, "coverage_check": self.checks_coverage}

    def changed(self) -> dict[str, object]:
        """Return the options that differ from the defaults, for journals, whose older entries have none."""
        return {name: value for name, value in asdict(self).items() if value != getattr(DEFAULT_SEGMENTATION, name)}


DEFAULT_SEGMENTATION = SegmentationOptions()


def clip_seconds(statistics: TrainingStatistics) -> ClipSeconds:
    """Return the lengths of the clips that a model was trained on."""
    return ClipSeconds(statistics.median_seconds, statistics.q95_seconds, statistics.max_seconds)


class Segmenter:
    """Yields the segments of inputs, in order; those of a long recording while it is being translated.

    Audio that is not longer than the longest clip in training is one segment, with the silence around its speech. A
    recording is cut in groups of up to `group_seconds` of speech, which do not change where it is cut.
    """

    def __init__(
        self,
        options: SegmentationOptions,
        clip_seconds: ClipSeconds,
        boundaries: "SentenceBoundaries | None" = None,
        *,
        group_seconds: float = _GROUP_SECONDS,
    ) -> None:
        self._options, self._boundaries, self._group_seconds = options, boundaries, group_seconds
        self._lengths = clip_seconds
        if isinstance(options.segmentation, int | float):
            limit = float(options.segmentation)
            self._lengths = ClipSeconds(limit * 0.75, limit * 0.95, limit, short_cost=20.0)  # as long as possible

    def segments(self, audio: DecodedAudio, *, whole: bool = False) -> Iterator[Span]:
        """Yield (start, end) in samples. With `whole`, an utterance of a test set of up to 30 s is not cut."""
        for spans, _ in self.stretches(audio, whole=whole):
            yield from spans

    def stretches(
        self, audio: DecodedAudio, *, whole: bool = False, after: int = 0
    ) -> Iterator[tuple[list[Span], int]]:
        """Yield the segments of one stretch of speech after another, and the sample where it ends.

        Stretches that end by sample `after` are left out.
        """
        speech = audio.speech
        has_enough_sound = speech.sound_seconds >= MIN_SPEECH_SECONDS and whole and not self._options.vad
        if not speech.runs and not has_enough_sound:
            return
        uncut_seconds = WHOLE_SECONDS if whole else self._lengths.max
        if self._options.segmentation == "none" or speech.samples <= uncut_seconds * SAMPLE_RATE_HZ:
            if after < speech.samples:
                yield [(0, speech.samples)], speech.samples
            return
        remaining = (stretch for stretch in speech_stretches(speech) if after < stretch.end * LEVEL_FRAME_SAMPLES)
        for group in grouped(remaining, self._group_seconds):
            for stretch, segments in zip(group, self._cut(audio, group), strict=True):
                yield to_samples(segments, stretch, speech.samples), stretch.end * LEVEL_FRAME_SAMPLES

    def resumed(
        self,
        index: int,
        audio: DecodedAudio,
        known: KnownSegments,
        resume: ResumableSegments | None,
        *,
        whole: bool = False,
    ) -> Iterator[Span]:
        """Yield the known segments of an input, then the others, which `resume` keeps for a rerun."""
        yield from known.spans
        for spans, until in self.stretches(audio, whole=whole, after=known.until):
            if resume:
                resume.put_spans(index, spans, until)
            yield from spans

    def _cut(self, audio: DecodedAudio, group: Sequence[Stretch]) -> list[list[Span]]:
        """Return the segments of each stretch, in frames.

        Pauses and lengths decide. A segment that may still hold several sentences is shown to the boundary head.
        """
        speech, min_pause = audio.speech, self._options.min_pause
        cut = [cut_stretch(speech, stretch, self._lengths, min_pause_seconds=min_pause) for stretch in group]
        if self._boundaries is None:
            return cut
        parts = [
            part_of(stretch, segment) for stretch, segments in zip(group, cut, strict=True) for segment in segments
        ]
        unclear = [part for part in parts if self._may_be_several_sentences(part)]
        context = round(_CONTEXT_SECONDS * SAMPLE_RATE_HZ)
        firsts = [max(0, part.start * LEVEL_FRAME_SAMPLES - context) for part in unclear]
        lasts = [part.end * LEVEL_FRAME_SAMPLES + context for part in unclear]
        found = self._boundaries.boundary_probabilities(
            [audio.waveform_T[first:last] for first, last in zip(firsts, lasts, strict=True)]
        )
        lengths = replace(self._lengths, short_cost=_SHORT_COST)
        cut_again: dict[Span, list[Span]] = {}
        for part, first, probabilities_B in zip(unclear, firsts, found, strict=True):
            centers_B = first + (np.arange(len(probabilities_B)) + 0.5) * self._boundaries.frame_samples
            cuts = boundary_cuts(part, centers_B / LEVEL_FRAME_SAMPLES, probabilities_B, self._boundaries.threshold)
            cut_again[part.start, part.end] = cut_stretch(speech, part, lengths, boundaries=cuts)
        return [[one for segment in segments for one in cut_again.get(segment, [segment])] for segments in cut]

    def _may_be_several_sentences(self, part: Stretch) -> bool:
        """Return whether a segment is longer than most clips, or than half of them with a pause inside."""
        pauses = ((later[0] - earlier[1]) / _FRAMES_PER_SECOND for earlier, later in pairwise(part.runs))
        has_pause = max(pauses, default=0.0) >= self._options.min_pause
        return part.seconds > (self._lengths.median if has_pause else self._lengths.q95)


def grouped(stretches: Iterable[Stretch], max_seconds: float = _GROUP_SECONDS) -> Iterator[list[Stretch]]:
    """Group stretches for the boundary head, which is faster on several segments. The first group is short."""
    group: list[Stretch] = []
    limit, seconds = _FIRST_GROUP_SECONDS, 0.0
    for stretch in stretches:
        if group and seconds + stretch.seconds > limit:
            yield group
            group, limit, seconds = [], max_seconds, 0.0
        group.append(stretch)
        seconds += stretch.seconds
    if group:
        yield group


def boundary_cuts(stretch: Stretch, frames_B: Floats, probabilities_B: Floats, threshold: float) -> list[Cut]:
    """Return cuts with the log-odds of boundary probabilities at `frames_B`, in (fractional) frames of 10 ms.

    A pause has the highest probability in it, and its length counts as well. Each peak outside pauses that reaches the
    threshold is a cut, too.
    """
    near_B = (frames_B > stretch.start - _PEAK_DISTANCE) & (frames_B < stretch.end + _PEAK_DISTANCE)
    frames_B, probabilities_B = frames_B[near_B], probabilities_B[near_B]
    spacing = float(frames_B[1] - frames_B[0]) if len(frames_B) > 1 else 1.0
    log_odds_B = np.clip(_log_odds(probabilities_B) - _log_odds(threshold), -_MAX_LOG_ODDS, _MAX_LOG_ODDS)
    free_B = (frames_B >= stretch.start + _PEAK_DISTANCE) & (frames_B <= stretch.end - _PEAK_DISTANCE)
    cuts = []
    for (_, end), (start, _) in pairwise(stretch.runs):
        inside_B = (frames_B >= end - spacing) & (frames_B <= start + spacing)
        if inside_B.any():
            length_log_odds = pause_log_odds((start - end) * LEVEL_FRAME_SAMPLES / SAMPLE_RATE_HZ)
            cuts.append(Cut(end, start, float(log_odds_B[inside_B].max()) + length_log_odds))
        free_B &= (frames_B <= end - _PEAK_DISTANCE) | (frames_B >= start + _PEAK_DISTANCE)
    indices = np.flatnonzero(free_B & (probabilities_B >= threshold))
    for group in np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1):
        if len(group):
            peak = group[np.argmax(probabilities_B[group])]
            frame = round(float(frames_B[peak]))
            cuts.append(Cut(frame, frame, float(log_odds_B[peak])))
    return sorted(cuts, key=lambda cut: cut.start)


def _log_odds(probability: Any) -> Any:
    return np.log(probability + 1e-9) - np.log(1 - probability + 1e-9)


def empty_result_note(speech: Speech, options: SegmentationOptions) -> str:
    """Return why an input without segments has none."""
    if speech.is_silent:
        return "only silence; its result is empty"
    if speech.sound_seconds < MIN_SPEECH_SECONDS or not options.vad:
        return f"its sound lasts less than {MIN_SPEECH_SECONDS} s, too short for a word; its result is empty"
    seconds = speech.samples / SAMPLE_RATE_HZ
    return f"no speech in its {seconds:.1f} s; its result is empty; use --no-vad to process it anyway"


def left_out(audio: DecodedAudio, spans: Sequence[Span]) -> tuple[LeftOut, ...]:
    """Return the stretches of a second or more that belong to no segment, and why, on the file's clock."""
    edges = [0, *(sample for span in spans for sample in span), audio.speech.samples]
    stretches = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start >= _LEFT_OUT_SECONDS * SAMPLE_RATE_HZ:
            sound_G = audio.speech.sound_G[start // LEVEL_FRAME_SAMPLES : end // LEVEL_FRAME_SAMPLES]
            reason: Literal["silence", "no speech"] = "no speech" if sound_G.mean() > 0.1 else "silence"
            stretches.append(LeftOut(audio.clock.seconds(start), audio.clock.seconds(end), reason))
    return tuple(stretches)
