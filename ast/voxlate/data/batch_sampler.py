"""Sampling of utterances and their grouping into batches, as a pure function of the seed and the lengths.

Shape letters: N utterances of the corpus, E utterances drawn for an epoch, C clips, joined or not, G groups
(directions).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from voxlate.data.joined_clips import MAX_PAUSE_SECONDS

BYTES_PER_TOKEN = 4
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class UtteranceCost:
    """Computational cost of an utterance, in seconds of audio: duration, a quadratic term for attention, target tokens.

    With the defaults, 120 s of audio cost twice their duration (the share of self-attention in an encoder of width 1024
    at 50 frames per second), and a token costs 0.03 s (operations of mBART's decoder and output layer per token,
    relative to those of XLS-R 300M per second).
    """

    quadratic_seconds: float = 120.0
    token_seconds: float = 0.03

    def __call__(self, seconds: float, tokens: float) -> float:
        return seconds + seconds**2 / self.quadratic_seconds + tokens * self.token_seconds


def estimate_tokens(utf8_bytes_N: Integers) -> Integers:
    """Estimate the number of target tokens from UTF-8 lengths: a piece of mBART's vocabulary has about four bytes.

    Only the cost of a batch depends on it. Tokenizing millions of sentences would take minutes at every start.
    """
    return (utf8_bytes_N + BYTES_PER_TOKEN - 1) // BYTES_PER_TOKEN + 2  # tag and </s>


def shares_by_temperature(sizes_G: Floats, temperature: float) -> Floats:
    """Return sampling probabilities proportional to size^(1/temperature) (Arivazhagan et al. 2019).

    Temperature 1 keeps the proportions of the data; infinity makes all groups equally likely.
    """
    scaled_G = np.exp(np.log(sizes_G / sizes_G.max()) / temperature)
    return np.asarray(scaled_G / scaled_G.sum(), dtype=np.float64)


def sample_epoch(group_N: Integers, shares_G: Floats, size: int, generator: np.random.Generator) -> Integers:
    """Draw about `size` utterances for an epoch, grouped by direction; each direction gets its share.

    When oversampled, every utterance is drawn floor(n) or ceil(n) times.
    """
    draws = []
    for group, share in enumerate(shares_G):
        members = np.flatnonzero(group_N == group)
        count = int(np.floor(share * size + generator.random()))
        rounds, remainder = divmod(count, len(members))
        draws += [np.tile(members, rounds), generator.permutation(members)[:remainder]]
    return np.concatenate(draws)


def make_batches(
    indices_E: Integers,
    seconds_N: Floats,
    tokens_N: Integers,
    *,
    cost: UtteranceCost,
    batch_seconds: float,
    buckets: int,
    generator: np.random.Generator,
) -> list[Integers]:
    """Group utterances of similar length into batches that cost at most `batch_seconds`, including padding.

    Utterances are sorted into at most `buckets` buckets by duration, each with the same total duration, and each bucket
    into up to four by text length; small corpora get fewer buckets. The order within a bucket is random. An utterance
    that costs more than `batch_seconds` forms a batch by itself. Every utterance is in exactly one batch, and the
    batches are in random order.
    """
    shuffled_E = generator.permutation(indices_E)
    num_batches = seconds_N[indices_E].sum() / batch_seconds  # an estimate
    buckets = int(np.clip(num_batches / 4, 1, buckets))
    text_buckets = int(np.clip(num_batches / 4 / buckets, 1, 4))
    batches: list[Integers] = []
    for bucket in _split_by_size(shuffled_E, seconds_N, buckets):
        for members in _split_by_size(bucket, tokens_N, text_buckets):
            batches += _pack(members, seconds_N[members], tokens_N[members], cost, batch_seconds)
    return [batches[index] for index in generator.permutation(len(batches))]


def _split_by_size(members: Integers, sizes_N: Floats | Integers, parts: int) -> list[Integers]:
    """Split members into parts of similar size, each with the same total, keeping their order."""
    if not len(members):
        return []
    order = np.argsort(sizes_N[members], kind="stable")
    total = np.cumsum(sizes_N[members][order])
    part = np.minimum((total / total[-1] * parts).astype(np.int64), parts - 1)
    return [members[np.sort(order[part == number])] for number in range(parts)]


def _pack(
    members: Integers, seconds: Floats, tokens: Integers, cost: UtteranceCost, batch_seconds: float
) -> Iterator[Integers]:
    """Yield consecutive members as batches of at most `batch_seconds`, all padded to the longest of the batch."""
    start, max_seconds, max_tokens = 0, 0.0, 0
    for position, (length, count) in enumerate(zip(seconds.tolist(), tokens.tolist(), strict=True)):
        max_seconds, max_tokens = max(max_seconds, length), max(max_tokens, count)
        if position > start and (position - start + 1) * cost(max_seconds, max_tokens) > batch_seconds:
            yield members[start:position]
            start, max_seconds, max_tokens = position, length, count
    if len(members) > start:
        yield members[start:]


def padding_share(batches: Sequence[Integers], seconds_N: Floats) -> float:
    """Return the share of padding in the samples of padded batches."""
    padded = sum(len(batch) * seconds_N[batch].max() for batch in batches)
    return float(1 - sum(seconds_N[batch].sum() for batch in batches) / padded)


@dataclass(frozen=True)
class SamplerState:
    """A position in the endless sequence of batches: batch `offset` of `epoch`, which is number `number` overall."""

    epoch: int = 0
    offset: int = 0
    number: int = 0


@dataclass(frozen=True)
class ClipJoining:
    """Augmentation that joins two clips of the same group into one, for about a `share` of the clips.

    A joined clip has at most `max_seconds`, including the longest pause. Its target has at most
    `max_tokens` tokens, by an upper bound.
    """

    share: float
    max_seconds: float
    max_tokens: int | None = None

    def pair(
        self, drawn_E: Integers, group_N: Integers, fits: Callable[[int, int], bool], generator: np.random.Generator
    ) -> list[tuple[int, ...]]:
        """Return the utterances drawn for an epoch as single clips and pairs that fit, each exactly once."""
        clips: list[tuple[int, ...]] = []
        waiting: dict[int, int] = {}  # first clip of a pair, by its group
        joins_E = generator.random(len(drawn_E)) < self.share
        for index, group, joins in zip(drawn_E.tolist(), group_N[drawn_E].tolist(), joins_E.tolist(), strict=True):
            first = waiting.pop(group, None)
            if first is not None and fits(first, index):
                clips.append((first, index))
                continue
            if first is not None:
                clips.append((first,))
            if joins:
                waiting[group] = index
            else:
                clips.append((index,))
        return clips + [(index,) for index in waiting.values()]


def split_joined(batch_E: Integers) -> list[list[int]]:
    """Return the utterances of each clip of a batch: ``~index`` is joined to the utterance before it."""
    clips: list[list[int]] = []
    for index in batch_E.tolist():
        if index < 0:
            clips[-1].append(~index)
        else:
            clips.append([index])
    return clips


@dataclass(frozen=True)
class BatchSampler:
    """The endless sequence of batches of a run, which does not depend on the number of processes.

    Each of P processes takes every P-th batch of an update.
    """

    seconds_N: Floats
    tokens_N: Integers
    group_N: Integers
    shares_G: Floats
    cost: UtteranceCost
    batch_seconds: float
    buckets: int
    seed: int
    joining: ClipJoining | None = None
    max_stretch: float = 1.0  # largest factor by which speed perturbation lengthens a clip

    def epoch(self, epoch: int) -> list[Integers]:
        """Return the batches of one epoch, each an array of utterance indices; see `split_joined` for joined clips."""
        generator = np.random.default_rng([self.seed, epoch])
        drawn_E = sample_epoch(self.group_N, self.shares_G, len(self.seconds_N), generator)
        stretched_N = self.seconds_N * self.max_stretch
        if self.joining is None or not self.joining.share:
            return self._make_batches(drawn_E, stretched_N, self.tokens_N, generator)
        clips = self.joining.pair(drawn_E, self.group_N, self._fits_joined(self.joining, stretched_N), generator)
        first_C, second_C = np.array([(clip[0], clip[1] if len(clip) == 2 else -1) for clip in clips]).T
        joined_C = second_C >= 0
        seconds_C = stretched_N[first_C] + np.where(joined_C, stretched_N[second_C] + MAX_PAUSE_SECONDS, 0.0)
        tokens_C = self.tokens_N[first_C] + np.where(joined_C, self.tokens_N[second_C], 0)
        batches = self._make_batches(np.arange(len(clips)), seconds_C, tokens_C, generator)
        encoded_C2, used_C2 = np.stack([first_C, ~second_C], 1), np.stack([np.ones_like(joined_C), joined_C], 1)
        return [encoded_C2[batch][used_C2[batch]] for batch in batches]

    def _fits_joined(self, joining: ClipJoining, stretched_N: Floats) -> Callable[[int, int], bool]:
        """Return a function that decides whether two clips may be joined: within the limits, and within a batch."""

        all_seconds, all_tokens = stretched_N.tolist(), self.tokens_N.tolist()  # faster to access one by one

        def fits(first: int, second: int) -> bool:
            seconds = all_seconds[first] + all_seconds[second] + MAX_PAUSE_SECONDS
            tokens = all_tokens[first] + all_tokens[second]
            short = (
                joining.max_tokens is None or tokens * BYTES_PER_TOKEN <= joining.max_tokens
            )  # at least one byte per token
            return bool(short and seconds <= joining.max_seconds and self.cost(seconds, tokens) <= self.batch_seconds)

        return fits

    def _make_batches(
        self, indices_E: Integers, seconds_N: Floats, tokens_N: Integers, generator: np.random.Generator
    ) -> list[Integers]:
        return make_batches(
            indices_E,
            seconds_N,
            tokens_N,
            cost=self.cost,
            batch_seconds=self.batch_seconds,
            buckets=self.buckets,
            generator=generator,
        )

    def batches(self, start: SamplerState) -> Iterator[tuple[SamplerState, Integers]]:
        """Yield states and batches from `start`, endlessly. Resuming costs sampling one epoch; no data is read."""
        epoch, offset, number = start.epoch, start.offset, start.number
        while True:
            batches = self.epoch(epoch)
            for batch in batches[offset:]:
                yield SamplerState(epoch, offset, number), batch
                offset, number = offset + 1, number + 1
            epoch, offset = epoch + 1, 0
