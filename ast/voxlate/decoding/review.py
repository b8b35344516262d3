"""Review the hypotheses of segments: find the times of words, and translate the parts of suspicious segments again.

The parts replace the segment if their hypotheses account better for the speech (see `coverage.joint_score`).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from voxlate.audio.resampling import SAMPLE_RATE_HZ
from voxlate.audio.segmentation import EDGE_SECONDS, Span
from voxlate.audio.silero import FRAME_SAMPLES
from voxlate.audio.speech_detection import LEVEL_FRAME_SAMPLES, Speech
from voxlate.decoding.aligned_words import spoken_characters
from voxlate.decoding.alignment import Alignment, Attention, Floats, SpokenHypothesis, align, attend
from voxlate.decoding.coverage import Account, TokenRates, account_for, joint_score
from voxlate.decoding.schedule import AudioSegment, SearchedSegment
from voxlate.decoding.search import Hypothesis
from voxlate.models.caches import CrossAttentionCache
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.search_options import SearchSettings
from voxlate.tokenizer import Tokenizer

BATCH_SEGMENTS = 16
_MAX_DEPTH = 2  # how often a part is cut again
_MIN_PART_SECONDS = 0.5  # of speech on either side of a pause
_MIN_PART_SECONDS_WITHOUT_PAUSE = 1.0


@dataclass(frozen=True)
class ReviewedPart:
    """A segment, or a part of it: its hypotheses, the alignment and the pieces of the best one, its warnings."""

    span: Span
    hypotheses: Sequence[Hypothesis]
    pieces: Sequence[str] = ()
    alignment: Alignment | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReviewedSegment:
    """A segment, the index of its target language, and what it was translated to: one part, or several."""

    segment: AudioSegment
    tag: int
    parts: tuple[ReviewedPart, ...]


@dataclass
class _Attempt:
    """A segment or part that was searched, and the parts of it that are being searched."""

    searched: SearchedSegment
    whole: "_Attempt | None"
    depth: int
    parts: tuple[ReviewedPart, ...] = ()
    accounts: tuple[Account, ...] = ()
    awaited: list[AudioSegment] = field(default_factory=list)
    found: list["_Attempt"] = field(default_factory=list)


class Review:
    """Collects the results of searches, and reviews them in batches.

    `rates` are the usual rates of tokens (None: nothing is suspicious). `words` asks for alignments. `max_length` and
    `max_repeats` of `settings` are those of the search. `retries` are the parts to be searched next.
    """

    def __init__(
        self,
        model: SpeechTranslator,
        tokenizer: Tokenizer,
        settings: SearchSettings,
        *,
        rates: TokenRates | None,
        words: bool,
    ) -> None:
        self._model, self._tokenizer, self._settings = model, tokenizer, settings
        self._rates, self._words = rates, words
        self._waiting: list[_Attempt] = []
        self._wholes: dict[tuple[int, Span, int], _Attempt] = {}  # of parts: input, span, tag
        self.retries: list[AudioSegment] = []

    def __len__(self) -> int:
        """Return the number of results that wait for the next batch."""
        return len(self._waiting)

    def add(self, searched: SearchedSegment) -> None:
        """Add the result of a search, of a segment or of one of `retries`."""
        segment = searched.segment
        whole = self._wholes.pop((segment.index, segment.span, segment.tag_ids[searched.tag]), None)
        self._waiting.append(_Attempt(searched, whole, whole.depth + 1 if whole else 0))

    def drop(self, index: int) -> None:
        """Forget all segments of an input."""
        self._waiting = [attempt for attempt in self._waiting if attempt.searched.segment.index != index]
        self._wholes = {key: whole for key, whole in self._wholes.items() if key[0] != index}
        self.retries = [segment for segment in self.retries if segment.index != index]

    def finish_batch(self) -> Iterator[ReviewedSegment]:
        """Review the waiting results; yield the segments that are done. `retries` gets parts of the others."""
        attempts, self._waiting = self._waiting, []
        if not attempts:
            return
        caches = [attempt.searched.cross_attention_cache for attempt in attempts]
        spoken = [self._spoken(attempt.searched) for attempt in attempts]
        cache = CrossAttentionCache.join_all([cache for cache in caches if cache is not None])
        attentions = attend(self._model, cache, spoken, with_scores=self._words)
        for attempt, hypothesis, attention in zip(attempts, spoken, attentions, strict=True):
            attempt.searched = replace(attempt.searched, cross_attention_cache=None)  # not kept until parts are found
            self._judge(attempt, hypothesis, attention)
            if not attempt.awaited:
                yield from self._resolve(attempt)

    def _spoken(self, searched: SearchedSegment) -> SpokenHypothesis:
        ids, segment = searched.hypotheses[0].ids, searched.segment
        pieces = self._tokenizer.pieces(ids[1:-1])
        return SpokenHypothesis(ids, spoken_characters(pieces), segment.seconds, _speech(segment))

    def _judge(self, attempt: _Attempt, spoken: SpokenHypothesis, attention: Attention) -> None:
        """Set the part and the account of an attempt; if it is suspicious, ask for its parts."""
        searched, best = attempt.searched, attempt.searched.hypotheses[0]
        segment = searched.segment
        alignment = align(spoken, attention) if self._words else None
        warnings: tuple[str, ...] = ()
        if self._rates is not None:
            account = account_for(
                best,
                attention,
                _speech(segment),
                segment.seconds,
                self._rates,
                pause_seconds=longest_pause(segment.audio.speech, segment.span),
                max_length=self._settings.max_length,
                max_repeats=self._settings.max_repeats,
            )
            attempt.accounts, warnings = (account,), account.warnings
            parts = cut_in_two(segment.audio.speech, segment.span)
            if account.is_suspicious and attempt.depth < _MAX_DEPTH and parts:
                tag_id = segment.tag_ids[searched.tag]
                attempt.awaited = [AudioSegment(segment.index, span, segment.audio, (tag_id,)) for span in parts]
                self._wholes |= {(segment.index, span, tag_id): attempt for span in parts}
                self.retries += attempt.awaited
        pieces = self._tokenizer.pieces(best.ids[1:-1])
        attempt.parts = (ReviewedPart(segment.span, searched.hypotheses, pieces, alignment, warnings),)

    def _resolve(self, attempt: _Attempt) -> Iterator[ReviewedSegment]:
        """Hand a result to the segment that it is part of, or yield it."""
        whole = attempt.whole
        if whole is None:
            yield ReviewedSegment(attempt.searched.segment, attempt.searched.tag, attempt.parts)
            return
        whole.found.append(attempt)
        if len(whole.found) == len(whole.awaited):
            found = sorted(whole.found, key=lambda part: part.searched.segment.span)
            accounts = tuple(account for part in found for account in part.accounts)
            if joint_score(accounts) > joint_score(whole.accounts):
                whole.parts, whole.accounts = tuple(one for part in found for one in part.parts), accounts
            whole.found = []
            yield from self._resolve(whole)


def longest_pause(speech: Speech, span: Span) -> float:
    """Return the length of the longest inner pause of a span, in seconds."""
    runs = _runs(speech, span)
    frames = max((later[0] - earlier[1] for earlier, later in pairwise(runs)), default=0)
    return frames * LEVEL_FRAME_SAMPLES / SAMPLE_RATE_HZ


def _runs(speech: Speech, span: Span) -> list[Span]:
    """Return the runs of speech inside a span, in frames of 10 ms."""
    first, last = span[0] // LEVEL_FRAME_SAMPLES, -(-span[1] // LEVEL_FRAME_SAMPLES)
    beginning = bisect_right(speech.runs, first, key=lambda run: run[1])
    ending = bisect_left(speech.runs, last, key=lambda run: run[0])
    return [(max(start, first), min(end, last)) for start, end in speech.runs[beginning:ending]]


def cut_in_two(speech: Speech, span: Span) -> tuple[Span, Span] | None:
    """Return the two parts of a span, cut at its longest inner pause, else where speech is least probable.

    None if there is too little speech for two parts.
    """
    runs = _runs(speech, span)
    if not runs:
        return None
    start, end = runs[0][0], runs[-1][1]
    margin = round(_MIN_PART_SECONDS * SAMPLE_RATE_HZ / LEVEL_FRAME_SAMPLES)
    pauses = [
        (before[1], after[0])
        for before, after in pairwise(runs)
        if before[1] - start >= margin and end - after[0] >= margin
    ]
    if pauses:
        earlier, later = max(pauses, key=lambda pause: pause[1] - pause[0])
    else:
        margin = round(_MIN_PART_SECONDS_WITHOUT_PAUSE * SAMPLE_RATE_HZ / LEVEL_FRAME_SAMPLES)
        frames = np.arange(start + margin, end - margin)
        if not len(frames):
            return None
        earlier = later = int(frames[np.argmin(speech.probability_at(frames))])
    middle = (earlier + later) * LEVEL_FRAME_SAMPLES // 2
    edge = round(EDGE_SECONDS * SAMPLE_RATE_HZ)
    return (
        (span[0], min(middle, earlier * LEVEL_FRAME_SAMPLES + edge)),
        (max(middle, later * LEVEL_FRAME_SAMPLES - edge), span[1]),
    )


def _speech(segment: AudioSegment) -> Floats:
    """Return the probabilities of speech in a segment, at least one."""
    start, end = segment.span
    first = min(start // FRAME_SAMPLES, len(segment.audio.speech.probabilities_F) - 1)
    return segment.audio.speech.probabilities_F[first : max(first + 1, -(-end // FRAME_SAMPLES))]
