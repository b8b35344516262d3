"""Greedy and beam search, with the same hypotheses as transformers' `generate`.

`SearchStep` computes one step on the device. `Search` keeps a pool of utterances: it runs the steps, takes out the
utterances that are finished, and lets others join.

Shape letters: U utterances in the pool, K hypotheses of each (the beam), T tokens of a hypothesis.
"""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from voxlate.decoding.look import Look
from voxlate.decoding.output_layer import Vocabulary
from voxlate.decoding.search_state import PREFIX, SearchState
from voxlate.decoding.search_step import SearchStep
from voxlate.decoding.step_graphs import StepGraphs
from voxlate.hardware import without_cudnn_attention
from voxlate.models.caches import CrossAttentionCache
from voxlate.models.decoder import MBartDecoder
from voxlate.models.encoder import on_device
from voxlate.models.precision import nan_scores_error
from voxlate.search_options import SearchOptions


@dataclass(frozen=True)
class Hypothesis:
    """A translation as token ids: language tag, pieces, ``</s>``.

    `log_prob` is the sum over the ids, `score` its `normalized_score`. The tag is forced, as is the ``</s>`` at the
    maximum length: both have probability 1.
    """

    ids: tuple[int, ...]
    score: float
    log_prob: float


def normalized_score(log_prob: float, length: int, length_penalty: float) -> float:
    """Return log_prob / length ** length_penalty, the score that ranks hypotheses of different lengths.

    `length` counts the tokens without the start token. Log-probabilities are negative: a higher penalty favors longer
    hypotheses, 0 leaves the sum as it is.
    """
    score: float = log_prob / length**length_penalty
    return score


@torch.inference_mode()
def search(
    decoder: MBartDecoder, cross_attention_cache: CrossAttentionCache, tag_ids: Sequence[int], options: SearchOptions
) -> list[list[Hypothesis]]:
    """Return the `n_best` hypotheses of each utterance, best first. `tag_ids` are the tags of the target languages."""
    pool = Search(decoder, options)
    pool.add(range(len(tag_ids)), cross_attention_cache, tag_ids)
    results: dict[int, list[Hypothesis]] = {}
    while len(results) < len(tag_ids):
        results.update(pool.step())
    return [results[index] for index in range(len(tag_ids))]


_SMALL_SIZES = (1, 4, 16, 64)


@dataclass(frozen=True)
class PoolLayout:
    """How the pool of a search uses a type of device.

    - `steps_ahead`: steps that are queued on the device before the host looks at what an earlier one has finished, so
      that the device never waits for the host.
    - `has_fixed_sizes`: the number of utterances in the tensors is one of a few, and rows that are not used are
      computed in vain: it is cheaper than to move the caches of all others, and permits CUDA graphs.
    - `token_block`, `state_block`: tokens and encoder states to allocate at a time.
    """

    steps_ahead: int
    has_fixed_sizes: bool
    token_block: int
    state_block: int

    def utterances(self, used: int) -> int:
        """Return the number of utterances in the tensors of a pool that has `used` ones."""
        if not self.has_fixed_sizes:
            return used
        return next((size for size in _SMALL_SIZES if size >= used), 1 << (used - 1).bit_length())

    def tokens(self, used: int) -> int:
        """Return the number of tokens to allocate."""
        return -(-used // self.token_block) * self.token_block

    def states(self, used: int) -> int:
        """Return the number of encoder states to allocate."""
        return -(-used // self.state_block) * self.state_block


# One step ahead, a GPU has a whole step queued while the host looks at the step before it: it has to wait only if the
# host takes longer to launch a step than the GPU to compute one, and then looking seldom would not help. But each step
# that a look comes later, every utterance stays a step longer in the pool: a look at every fourth step would keep it
# there for 1.5 steps more on average, 7 % of a translation of 20 tokens.
CPU_LAYOUT = PoolLayout(steps_ahead=0, has_fixed_sizes=False, token_block=8, state_block=1)
GPU_LAYOUT = PoolLayout(steps_ahead=1, has_fixed_sizes=True, token_block=64, state_block=64)


@dataclass
class _Row:
    """A row of the pool: the caller's key of its utterance, its tokens so far, and its encoder states, with padding."""

    key: int
    tokens: int
    states: int


class Search:
    """A pool of utterances that are searched together. Finished ones leave it, and others may join at any step.

    Utterances do not influence each other. The stopping rules are those of transformers 5 (see `SearchStep`). Options
    that are None take the published setting. With `keep_caches`, `take_cache` returns what an utterance was searched
    with. `graphs` are for a GPU.
    """

    def __init__(
        self,
        decoder: MBartDecoder,
        options: SearchOptions,
        vocabulary: Vocabulary | None = None,
        *,
        keep_caches: bool = False,
        layout: PoolLayout | None = None,
        graphs: StepGraphs | None = None,
    ) -> None:
        self._settings, weight = options.resolve(), decoder.layer_norm.weight
        self._device, self._dtype = weight.device, weight.dtype
        self._step = SearchStep(decoder, vocabulary or Vocabulary(decoder.output_rows()), self._settings)
        self._layout = layout or (CPU_LAYOUT if self._device.type == "cpu" else GPU_LAYOUT)
        self._run = self._step if graphs is None else partial(graphs.run, self._step)
        self._state: SearchState | None = None
        self._rows: dict[int, _Row] = {}  # by row of the state
        self._looks: deque[Look] = deque()
        self._keep_caches = keep_caches
        self._finished_caches: dict[int, CrossAttentionCache] = {}

    def __len__(self) -> int:
        """Return the number of utterances still in the search."""
        return len(self._rows)

    @torch.inference_mode()
    @without_cudnn_attention()
    def add(self, keys: Iterable[int], cross_attention_cache: CrossAttentionCache, tag_ids: Sequence[int]) -> None:
        """Begin to search utterances, identified by the caller's `keys`, for translations with the tags `tag_ids`."""
        if not tag_ids:
            return
        added = [_Row(key, PREFIX + 1, cross_attention_cache.states) for key in keys]
        tags_U = on_device(tag_ids, self._device)
        new = self._step.first(cross_attention_cache, tags_U, self._layout.tokens(PREFIX + 2))
        if self._rows:
            state = self._fitted(added)
            rows = [row for row in range(state.utterances) if row not in self._rows][: len(added)]
            state.put(on_device(rows, self._device), new)
            self._rows.update(zip(rows, added, strict=True))
        else:
            # The pool changes its tensors in place, and the cache belongs to the caller.
            self._state = replace(new, cross_attention_cache=cross_attention_cache.clone())
            self._rows = dict(enumerate(added))
            self._state = self._fitted()

    @torch.inference_mode()
    def remove(self, keys: Collection[int]) -> None:
        """Remove utterances before they are finished; others may take their rows."""
        rows = [row for row, one in self._rows.items() if one.key in keys]
        if rows:
            assert self._state is not None
            self._state.is_done_U[on_device(rows, self._device)] = True  # a GPU may compute them for a while
            for row in rows:
                del self._rows[row]
            self._end_if_empty()

    @torch.inference_mode()
    @without_cudnn_attention()
    def step(self) -> list[tuple[int, list[Hypothesis]]]:
        """Extend every hypothesis by one token; return the keys and hypotheses of utterances that are finished."""
        if not self._rows:
            return []
        self._state = self._run(self._fitted())
        for row in self._rows.values():
            row.tokens = min(row.tokens + 1, self._step.max_length)
        self._looks.append(Look.at(self._state, {row: one.key for row, one in self._rows.items()}))
        return self._finished(self._looks.popleft()) if len(self._looks) > self._layout.steps_ahead else []

    def take_cache(self, key: int) -> CrossAttentionCache:
        """Return the cross-attention cache of a finished utterance, once."""
        return self._finished_caches.pop(key)

    def _fitted(self, added: Sequence[_Row] = ()) -> SearchState:
        """Return the state with room for the next step of its utterances, and for those that are added."""
        assert self._state is not None
        state, layout = self._state, self._layout
        everything = [*self._rows.values(), *added]
        count = layout.utterances(len(everything))
        tokens = layout.tokens(max(one.tokens for one in everything) + 1)
        states = layout.states(max(one.states for one in everything))
        if count == state.utterances and tokens <= state.tokens and states <= state.cross_attention_cache.states:
            return state
        if count > state.utterances or layout.has_fixed_sizes:
            used = [*self._rows]
            unused = [used[0]] * (count - len(used))
            state = state.select(on_device([*used, *unused], self._device), tokens, states)
            state.is_done_U[len(used) :] = True
            self._rows = dict(enumerate(self._rows.values()))
        else:
            self._move_rows(state, count)
            state = state.select(count, tokens, states)
        self._state = state
        return state

    def _move_rows(self, state: SearchState, count: int) -> None:
        """Move all utterances to the first rows, in place."""
        free = (row for row in range(count) if row not in self._rows)
        moves = {row: next(free) for row in [*self._rows] if row >= count}
        if moves:
            moved = state.select(on_device([*moves], self._device), state.tokens, state.cross_attention_cache.states)
            state.put(on_device([*moves.values()], self._device), moved)
            self._rows = {moves.get(row, row): one for row, one in self._rows.items()}

    def _finished(self, look: Look) -> list[tuple[int, list[Hypothesis]]]:
        """Return the keys and hypotheses of the utterances that a look finds finished, and remove them."""
        rows = {one.key: row for row, one in self._rows.items()}
        finished = [(key, hypotheses) for key, hypotheses in look.finished() if key in rows]
        assert self._state is not None
        for key, hypotheses in finished:
            if not hypotheses:
                raise nan_scores_error(self._dtype)
            states = self._rows.pop(rows[key]).states
            if self._keep_caches:
                row_1 = on_device([rows[key]], self._device)
                self._finished_caches[key] = self._state.cross_attention_cache.select(row_1, states)
        self._end_if_empty()
        return [(key, [self._hypothesis(*one) for one in ended[: self._settings.n_best]]) for key, ended in finished]

    def _end_if_empty(self) -> None:
        if not self._rows:
            self._state = None
            self._looks.clear()

    def _hypothesis(self, ids: Sequence[int], log_prob: float) -> Hypothesis:
        score = normalized_score(log_prob, len(ids) - 1, self._settings.length_penalty)
        return Hypothesis(tuple(ids[1:]), score, log_prob)
