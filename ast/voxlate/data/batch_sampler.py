"""Which utterances meet in which batch, in which order: the plan of an epoch, a pure function of seed and lengths.

Shape letters: N utterances, E draws of an epoch, G directions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BYTES_PER_TOKEN = 4
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Cost:
    """What an utterance costs, in seconds of sound: its length, a quadratic share for attention, its target tokens.

    With the defaults 120 s of sound cost twice their length (the share of self-attention in an encoder of width 1024
    and 50 frames a second), and a token 0.03 s (operations of mBART's decoder and output layer per token beside those
    of XLS-R 300M per second).
    """

    quadratic_seconds: float = 120.0
    token_seconds: float = 0.03

    def __call__(self, seconds: float, tokens: float) -> float:
        return seconds + seconds**2 / self.quadratic_seconds + tokens * self.token_seconds


def estimate_tokens(utf8_bytes_N: Integers) -> Integers:
    """Estimate the target tokens from the UTF-8 bytes of the texts: mBART's pieces have about four bytes each.

    Only the cost of a batch hangs on it. Counting the pieces of millions of sentences would take minutes at each start.
    """
    return (utf8_bytes_N + BYTES_PER_TOKEN - 1) // BYTES_PER_TOKEN + 2  # tag and </s>


def shares_by_temperature(sizes_G: Floats, temperature: float) -> Floats:
    """Return the probabilities of directions, in proportion to size^(1/temperature) (Arivazhagan et al. 2019).

    Temperature 1 keeps the proportions of the data; infinity makes all directions equal.
    """
    scaled_G = np.exp(np.log(sizes_G / sizes_G.max()) / temperature)
    return np.asarray(scaled_G / scaled_G.sum(), dtype=np.float64)


def sample_epoch(direction_N: Integers, shares_G: Floats, size: int, generator: np.random.Generator) -> Integers:
    """Draw the utterances of one epoch: each direction its share of `size`, in no order.

    A direction that gives more than it has gives every utterance equally often, but for one round of remainders.
    """
    drawn = []
    for direction, share in enumerate(shares_G):
        own = np.flatnonzero(direction_N == direction)
        wanted = int(np.floor(share * size + generator.random()))
        rounds, rest = divmod(wanted, len(own))
        drawn += [np.tile(own, rounds), generator.permutation(own)[:rest]]
    return np.concatenate(drawn)


def make_batches(
    indices_E: Integers,
    seconds_N: Floats,
    tokens_N: Integers,
    *,
    cost: Cost,
    batch_seconds: float,
    buckets: int,
    generator: np.random.Generator,
) -> list[Integers]:
    """Group utterances of like length into batches that cost at most `batch_seconds`, padding included.

    Buckets of duration hold equally much sound each and are cut into up to four by text length; small data has fewer.
    Within a bucket, order is random. An utterance that costs more than a batch goes alone. Every utterance is in
    exactly one batch, and the batches are in random order.
    """
    shuffled_E = generator.permutation(indices_E)
    estimate = seconds_N[indices_E].sum() / batch_seconds  # of the number of batches
    buckets = int(np.clip(estimate / 4, 1, buckets))
    text_buckets = int(np.clip(estimate / 4 / buckets, 1, 4))
    batches: list[Integers] = []
    for alike in _cut(shuffled_E, seconds_N, buckets):
        for members in _cut(alike, tokens_N, text_buckets):
            batches += _fill(members, seconds_N[members], tokens_N[members], cost, batch_seconds)
    return [batches[index] for index in generator.permutation(len(batches))]


def _cut(members: Integers, sizes_N: Floats | Integers, parts: int) -> list[Integers]:
    """Cut members into parts of like size, each with the same total, their order kept."""
    if not len(members):
        return []
    order = np.argsort(sizes_N[members], kind="stable")
    total = np.cumsum(sizes_N[members][order])
    part = np.minimum((total / total[-1] * parts).astype(np.int64), parts - 1)
    return [members[np.sort(order[part == number])] for number in range(parts)]


def _fill(members: Integers, seconds: Floats, tokens: Integers, cost: Cost, batch_seconds: float) -> Iterator[Integers]:
    first, longest, most = 0, 0.0, 0
    for place, (length, count) in enumerate(zip(seconds.tolist(), tokens.tolist(), strict=True)):
        widest, deepest = max(longest, length), max(most, count)
        if place > first and (place - first + 1) * cost(widest, deepest) > batch_seconds:
            yield members[first:place]
            first, widest, deepest = place, length, count
        longest, most = widest, deepest
    if len(members) > first:
        yield members[first:]


def padding_share(batches: Sequence[Integers], seconds_N: Floats) -> float:
    """Return which part of the sound in padded batches is padding."""
    padded = sum(len(batch) * seconds_N[batch].max() for batch in batches)
    return float(1 - sum(seconds_N[batch].sum() for batch in batches) / padded)


@dataclass(frozen=True)
class SamplerState:
    """A place in the endless sequence of batches: the batch `offset` of `epoch` is number `number` of all."""

    epoch: int = 0
    offset: int = 0
    number: int = 0


@dataclass(frozen=True)
class Joins:
    """Which clips become one with another of their group: what `share` of those that could be the first of two.

    Together they have at most `max_seconds`, and texts that surely have no more than `max_tokens` tokens.
    """

    share: float
    max_seconds: float
    max_tokens: int | None = None

    def pair(
        self, drawn_E: Integers, group_N: Integers, fits: Callable[[int, int], bool], generator: np.random.Generator
    ) -> list[tuple[int, ...]]:
        """Return the draws of an epoch as clips alone and pairs that fit, each draw once."""
        units: list[tuple[int, ...]] = []
        waiting: dict[int, int] = {}  # first clip of a pair by its group
        joins_E = generator.random(len(drawn_E)) < self.share
        for index, group, joins in zip(drawn_E.tolist(), group_N[drawn_E].tolist(), joins_E.tolist(), strict=True):
            first = waiting.pop(group, None)
            if first is not None and fits(first, index):
                units.append((first, index))
            else:
                if first is not None:
                    units.append((first,))
                if joins:
                    waiting[group] = index
                else:
                    units.append((index,))
        return units + [(index,) for index in waiting.values()]


def clips_of(batch_E: Integers) -> list[list[int]]:
    """Return the clips of a batch of a plan, several where they are joined: ``~index`` follows what it is joined to."""
    units: list[list[int]] = []
    for index in batch_E.tolist():
        if index < 0:
            units[-1].append(~index)
        else:
            units.append([index])
    return units


@dataclass(frozen=True)
class BatchSampler:
    """The endless sequence of batches of a run. It knows nothing of processes: whoever reads it takes every P-th."""

    seconds_N: Floats
    tokens_N: Integers
    direction_N: Integers
    shares_G: Floats
    cost: Cost
    batch_seconds: float
    buckets: int
    seed: int
    joins: Joins | None = None
    slowest: float = 1.0  # how many times its length a clip may have, at another speed

    def epoch(self, epoch: int) -> list[Integers]:
        """Return the batches of one epoch, each an array of utterance indices; see `clips_of` for joined ones."""
        generator = np.random.default_rng([self.seed, epoch])
        drawn_E = sample_epoch(self.direction_N, self.shares_G, len(self.seconds_N), generator)
        longest_N = self.seconds_N * self.slowest
        if self.joins is None or not self.joins.share:
            return self._make_batches(drawn_E, longest_N, self.tokens_N, generator)
        units = self.joins.pair(drawn_E, self.direction_N, self._fit(self.joins, longest_N), generator)
        totals = [np.array([values[list(unit)].sum() for unit in units]) for values in (longest_N, self.tokens_N)]
        batches = self._make_batches(np.arange(len(units)), totals[0], totals[1], generator)
        coded = [[index if place == 0 else ~index for place, index in enumerate(unit)] for unit in units]
        return [np.array([index for unit in batch.tolist() for index in coded[unit]]) for batch in batches]

    def _fit(self, joins: Joins, longest_N: Floats) -> Callable[[int, int], bool]:
        """Return whether two clips can be one: it is not too long, and a batch can hold it."""

        def fit(first: int, second: int) -> bool:
            seconds, tokens = longest_N[first] + longest_N[second], self.tokens_N[first] + self.tokens_N[second]
            short = joins.max_tokens is None or tokens * BYTES_PER_TOKEN <= joins.max_tokens  # a token has one or more
            return bool(short and seconds <= joins.max_seconds and self.cost(seconds, tokens) <= self.batch_seconds)

        return fit

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
        """Yield places and batches from `start` on, for ever. Going there costs the plan of one epoch, no data."""
        epoch, offset, number = start.epoch, start.offset, start.number
        while True:
            batches = self.epoch(epoch)
            for batch in batches[offset:]:
                yield SamplerState(epoch, offset, number), batch
                offset, number = offset + 1, number + 1
            epoch, offset = epoch + 1, 0
