"""Check whether a hypothesis can be a translation of the speech in its segment.

A model that was trained on single sentences translates one sentence of two, and leaves out the other without a trace.
The traces are in what it attends to, in how much text there is for the speech, and in how sure it is.

Shape letters: S encoder states, F frames of speech of 32 ms.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log

import numpy as np

from voxlate.audio.speech_detection import true_runs
from voxlate.checkpoints.training_statistics import TrainingStatistics
from voxlate.decoding.alignment import SPEECH_FRAME_SECONDS, Attention, Floats
from voxlate.decoding.results import Segment
from voxlate.decoding.search import Hypothesis

MAX_REPEATS = 4  # of a phrase in a row, if the search has no limit
_MAX_PHRASE_TOKENS = 12
_ATTENDED = 0.1  # attention, averaged over the heads, from which a state counts as attended
_SUSPICIOUS_SECONDS = 1.5  # of speech without attention
_WARNED_SECONDS = 2.5
_WARNED_RATE = 0.6  # of the lowest usual rate
_HIGH_RATE = 1.5  # of the highest usual rate
# Pauses that may lie between two sentences, in seconds, if a token has a lower log-probability on average.
_PAUSES = ((0.25, -0.1), (0.12, -0.15))
_SHOWN_SEGMENTS = 5  # on standard error; json has all
_EDGE_SECONDS = 0.3  # around the speech of a training clip
_RATE_PENALTY = 0.2  # in nats per token, for a rate that is e times too low or too high
_ATTENTION_PENALTY = 0.1  # in nats per token, for speech without any attention


@dataclass(frozen=True)
class TokenRates:
    """Tokens of a translation, with ``</s>``, per second of a training clip: 5 % and 95 % quantiles."""

    q05: float
    q95: float

    @classmethod
    def of(cls, statistics: TrainingStatistics) -> "TokenRates":
        """Return the rates of the clips that a model was trained on."""
        return cls(statistics.q05_tokens_per_second, statistics.q95_tokens_per_second)

    def deviation(self, rate: float) -> float:
        """Return by how much a rate is outside of the usual range, as the logarithm of a ratio."""
        return max(log(self.q05 / rate), log(rate / self.q95), 0.0)


@dataclass(frozen=True)
class Account:
    """What is known about how well a hypothesis accounts for the speech of its segment.

    - `tokens`, `log_prob`: tokens with ``</s>`` and the sum of their log-probabilities.
    - `seconds`: from the first speech to the last, with the edges that a clip has.
    - `pause_seconds`: the longest pause inside.
    - `unattended`: (start, end) of the longest stretch of speech that no token attends to, in seconds from the
      segment's start.
    - `repeats`: how many times in a row a phrase occurs, if as often as the search allows, else 0.
    - `is_cut_off`: whether the hypothesis reached the maximum length.
    """

    rates: TokenRates
    tokens: int
    log_prob: float
    seconds: float
    pause_seconds: float
    unattended: tuple[float, float]
    repeats: int
    is_cut_off: bool

    @property
    def unattended_seconds(self) -> float:
        """Length of the longest stretch of speech that no token attends to."""
        return self.unattended[1] - self.unattended[0]

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return self.tokens / max(self.seconds, 0.1)

    @property
    def log_prob_per_token(self) -> float:
        """Average log-probability of a token."""
        return self.log_prob / self.tokens

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Return what cannot be right, as phrases."""
        start, end = self.unattended
        is_too_short = self.rate < self.rates.q05 * _WARNED_RATE and not self.is_cut_off  # a note says if it is
        problems = {
            f"{end - start:.1f} s of speech may be missing": end - start >= _WARNED_SECONDS,
            f"only {self.tokens} tokens for {self.seconds:.1f} s of speech": is_too_short,
            f"{self.tokens} tokens for {self.seconds:.1f} s of speech": self.rate > self.rates.q95 * _HIGH_RATE,
            f"a phrase occurs {self.repeats} times in a row": self.repeats > 0,
        }
        return tuple(problem for problem, applies in problems.items() if applies)

    @property
    def is_suspicious(self) -> bool:
        """Whether it is worth the time to cut the segment and translate its parts."""
        return bool(
            self.warnings
            or self.is_cut_off
            or self.unattended_seconds >= _SUSPICIOUS_SECONDS
            or self.rate < self.rates.q05
            or any(self.pause_seconds >= pause and self.log_prob_per_token < unsure for pause, unsure in _PAUSES)
        )


def account_for(
    hypothesis: Hypothesis,
    attention: Attention,
    speech_F: Floats,
    seconds: float,
    rates: TokenRates,
    *,
    pause_seconds: float,
    max_length: int,
    max_repeats: int | None,
) -> Account:
    """Return the account of a hypothesis for its segment of `seconds`.

    `speech_F` are the probabilities of speech in it, and `pause_seconds` is its longest inner pause.
    """
    speech = np.flatnonzero(speech_F >= 0.5)
    first, last = (speech[0], speech[-1] + 1) if len(speech) else (0, len(speech_F))
    extent = min(seconds, (last - first) * SPEECH_FRAME_SECONDS + _EDGE_SECONDS)
    return Account(
        rates=rates,
        tokens=len(hypothesis.ids) - 1,
        log_prob=hypothesis.log_prob,
        seconds=extent,
        pause_seconds=pause_seconds,
        unattended=_longest_unattended(attention, speech_F),
        repeats=repeats(hypothesis.ids[1:-1], max_repeats or MAX_REPEATS),
        is_cut_off=1 + len(hypothesis.ids) >= max_length,  # with the start token
    )


def joint_score(accounts: Sequence[Account]) -> float:
    """Return how well the hypotheses of successive stretches account for their speech together; higher is better.

    It is the average log-probability of their tokens, minus penalties for rates outside of those of the training
    data and for speech without attention.
    """
    tokens = sum(account.tokens for account in accounts)
    seconds = max(0.1, sum(account.seconds for account in accounts))
    deviation = sum(account.rates.deviation(account.rate) for account in accounts) / len(accounts)
    unattended = max(account.unattended_seconds for account in accounts) / seconds
    log_prob = sum(account.log_prob for account in accounts)
    certain_errors = sum(account.repeats > 0 or account.is_cut_off for account in accounts)
    return log_prob / tokens - _RATE_PENALTY * deviation - _ATTENTION_PENALTY * unattended - certain_errors


def coverage_note(segments: Sequence[Segment]) -> str | None:
    """Return a line about the segments with warnings, None if there are none."""
    suspicious = [segment for segment in segments if segment.warnings]
    if not suspicious:
        return None
    shown = [
        f"{segment.start:.1f} to {segment.end:.1f} s: {', '.join(segment.warnings)}"
        for segment in suspicious[:_SHOWN_SEGMENTS]
    ]
    more = f"; and {len(suspicious) - len(shown)} more" if len(suspicious) > len(shown) else ""
    return f"{len(suspicious)} of {len(segments)} segments may be translated wrongly: {'; '.join(shown)}{more}"


def cut_off_note(cut_off: int, segments: int, max_length: int) -> str:
    """Return a line about the segments whose translations reached the maximum length."""
    subject = "its translation" if segments == 1 else f"the translation of {cut_off} of its {segments} segments"
    return f"{subject} reached the maximum length, {max_length} tokens, and may be cut off; see --max-length"


def repeats(ids: Sequence[int], limit: int) -> int:
    """Return how many times in a row a phrase of up to 12 ids occurs, if `limit` times or more, else 0."""
    most = 0
    for period in range(1, _MAX_PHRASE_TOKENS + 1):
        run = 0
        for index in range(period, len(ids)):
            run = run + 1 if ids[index] == ids[index - period] else 0
            most = max(most, 1 + run // period)
    return most if most >= limit > 1 else 0


def _longest_unattended(attention: Attention, speech_F: Floats) -> tuple[float, float]:
    """Return (start, end) of the longest stretch of speech whose states no token attends to, in seconds.

    The first state does not count as attended: it is where attention rests that is not needed.
    """
    states = len(attention.strongest_S)
    frames_S = ((np.arange(states) + 0.5) * attention.state_seconds / SPEECH_FRAME_SECONDS).astype(int)
    is_speech_S = speech_F[frames_S.clip(max=len(speech_F) - 1)] >= 0.5
    unattended_S = is_speech_S & ((attention.strongest_S < _ATTENDED) | (np.arange(states) == 0))
    start, end = max(true_runs(unattended_S), key=lambda stretch: stretch[1] - stretch[0], default=(0, 0))
    return start * attention.state_seconds, end * attention.state_seconds
