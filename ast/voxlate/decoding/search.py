"""Greedy and beam search, with the same hypotheses as transformers' `generate`.

In the order of a decoding step: `Search.step` runs the decoder, `Search._candidates` adds the log-probabilities of the
next tokens, `_collect_ended` scores the hypotheses that end (`normalized_score` applies the length penalty), and
`_is_finished` decides whether an utterance needs another step.

Shape letters: U utterances in the search, K hypotheses of each (the beam), N = 2K candidates, T tokens of a hypothesis,
D width of the decoder, P lengths of repeated phrases.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from voxlate.decoding.output_layer import Vocabulary, top_k_ids
from voxlate.models.caches import CrossAttentionCache, KVCache, concatenate_padded
from voxlate.models.decoder import MBartDecoder
from voxlate.models.precision import nan_scores_error
from voxlate.search_options import SearchOptions, SearchSettings
from voxlate.tokenizer import EOS_ID

_MAX_PHRASE_TOKENS = 12  # the longest phrase whose repetition is detected


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


@dataclass
class _BeamState:
    """The running hypotheses of U utterances, and those that have ended.

    `keys` are the caller's ids of the utterances. `ended` has up to K hypotheses each, best first. Ids begin with
    the start token; those beyond `lengths_U` have no meaning. `log_probs_UK` are the sums of the running hypotheses.
    """

    keys: list[int]
    tag_ids: list[int]
    ended: list[list[Hypothesis]]
    ids_UKT: Tensor
    lengths_U: Tensor
    log_probs_UK: Tensor
    cross_attention_cache: CrossAttentionCache
    kv_cache: KVCache

    def select(self, indices: list[int]) -> None:
        """Keep only some utterances."""
        chosen_U = torch.tensor(indices, dtype=torch.long, device=self.lengths_U.device)
        self.keys, self.tag_ids = [self.keys[index] for index in indices], [self.tag_ids[index] for index in indices]
        self.ended = [self.ended[index] for index in indices]
        self.ids_UKT, self.lengths_U = self.ids_UKT[chosen_U], self.lengths_U[chosen_U]
        self.log_probs_UK = self.log_probs_UK[chosen_U]
        self.cross_attention_cache = self.cross_attention_cache.select(chosen_U)
        self.kv_cache.select(chosen_U)

    def join(self, other: "_BeamState") -> None:
        """Add the utterances of another state, which have as many hypotheses each."""
        self.keys, self.tag_ids = self.keys + other.keys, self.tag_ids + other.tag_ids
        self.ended = self.ended + other.ended
        self.ids_UKT = concatenate_padded(self.ids_UKT, other.ids_UKT, 2)
        self.lengths_U = torch.cat([self.lengths_U, other.lengths_U])
        self.log_probs_UK = torch.cat([self.log_probs_UK, other.log_probs_UK])
        self.cross_attention_cache = self.cross_attention_cache.join(other.cross_attention_cache)
        self.kv_cache.join(other.kv_cache)

    def last_ids(self, count: int) -> Tensor:
        """Return the last `count` ids of each hypothesis, (U, K, count); of shorter ones, the first id is repeated."""
        offsets = torch.arange(count, device=self.lengths_U.device)
        positions_UT = (self.lengths_U[:, None] - count + offsets).clamp(min=0)
        return self.ids_UKT.gather(2, positions_UT[:, None].expand(-1, self.ids_UKT.shape[1], -1))

    def append(self, parents_UK: Tensor, ids_UK: Tensor, log_probs_UK: Tensor) -> None:
        """Replace hypothesis k of utterance u by hypothesis `parents_UK[u, k]` with one more id."""
        positions_UK1 = self.lengths_U[:, None, None].expand(*ids_UK.shape, 1)
        ids_UKT = self.ids_UKT.gather(1, parents_UK[:, :, None].expand(-1, -1, self.ids_UKT.shape[2]))
        ids_UKT = F.pad(ids_UKT, (0, max(0, int(self.lengths_U.max()) + 1 - ids_UKT.shape[2])))
        self.ids_UKT = ids_UKT.scatter(2, positions_UK1, ids_UK[:, :, None])
        self.lengths_U, self.log_probs_UK = self.lengths_U + 1, log_probs_UK
        self.kv_cache.reorder(parents_UK)


class Search:
    """A pool of utterances that are searched together. Finished ones leave it, and others may join at any step.

    Utterances do not influence each other. The stopping rules are those of transformers 5 (see `_is_finished`). Options
    that are None take the published setting. With `keep_caches`, `take_cache` returns what an utterance was searched
    with.
    """

    def __init__(
        self,
        decoder: MBartDecoder,
        options: SearchOptions,
        vocabulary: Vocabulary | None = None,
        *,
        keep_caches: bool = False,
    ) -> None:
        self._decoder, self._options = decoder, options.resolve()
        self._vocabulary = vocabulary or Vocabulary(decoder.output_rows())
        self._max_length = min(self._options.max_length, decoder.config.max_positions)
        self._state: _BeamState | None = None
        self._finished: list[tuple[int, list[Hypothesis]]] = []
        self._keep_caches = keep_caches
        self._finished_caches: dict[int, CrossAttentionCache] = {}

    def __len__(self) -> int:
        """Return the number of utterances still in the search."""
        return len(self._state.keys) if self._state is not None else 0

    @torch.inference_mode()
    def add(self, keys: Iterable[int], cross_attention_cache: CrossAttentionCache, tag_ids: Sequence[int]) -> None:
        """Begin to search utterances, identified by the caller's `keys`, for translations with the tags `tag_ids`."""
        device, count = cross_attention_cache.mask_U11S.device, len(tag_ids)
        ids_U1T = torch.tensor([[[EOS_ID, tag_id]] for tag_id in tag_ids], device=device)
        kv_cache = KVCache(cross_attention_cache)
        positions_UT = torch.arange(2, device=device).expand(count, 2)
        states_UTD = self._decoder.step(ids_U1T[:, 0], positions_UT, cross_attention_cache, kv_cache)
        kv_cache.reorder(torch.ones(count, 1, dtype=torch.long, device=device))  # continue after the tag
        new = _BeamState(
            keys=[*keys],
            tag_ids=[*tag_ids],
            ended=[[] for _ in tag_ids],
            ids_UKT=ids_U1T,
            lengths_U=torch.full((count,), 2, device=device),
            log_probs_UK=torch.zeros(count, 1, device=device),
            cross_attention_cache=cross_attention_cache,
            kv_cache=kv_cache,
        )
        self._extend(new, states_UTD[:, -1:])
        if self._state is None or not self._state.keys:
            self._state = new
        elif new.keys:
            self._state.join(new)

    @torch.inference_mode()
    def step(self) -> list[tuple[int, list[Hypothesis]]]:
        """Extend every hypothesis by one token; return the keys and hypotheses of the utterances that are finished."""
        state = self._state
        if state is not None and state.keys:
            newest_UK = state.last_ids(1)[:, :, 0]
            positions_UK = (state.lengths_U[:, None] - 1).expand_as(newest_UK)
            states_UKD = self._decoder.step(newest_UK, positions_UK, state.cross_attention_cache, state.kv_cache)
            self._extend(state, states_UKD)
        finished, self._finished = self._finished, []
        return finished

    def take_cache(self, key: int) -> CrossAttentionCache:
        """Return the cross-attention cache of a finished utterance, once."""
        return self._finished_caches.pop(key)

    def _extend(self, state: _BeamState, states_UKD: Tensor) -> None:
        """Choose the next token of every hypothesis, and remove the utterances that are finished."""
        options = self._options
        log_probs_UN, parents_UN, ids_UN = self._candidates(state, states_UKD)
        _collect_ended(state, log_probs_UN, parents_UN, ids_UN, options)

        # Keep the best K candidates that did not end. There are always K, as at most K of the 2K candidates end.
        running_UN = log_probs_UN.masked_fill(ids_UN == EOS_ID, -torch.inf)
        log_probs_UK, kept_UK = running_UN.topk(options.beam_size, dim=1)
        lengths, best_log_probs = state.lengths_U.tolist(), log_probs_UK[:, 0].tolist()
        state.append(parents_UN.gather(1, kept_UK), ids_UN.gather(1, kept_UK), log_probs_UK)
        longest = self._max_length - 1  # without the start token
        done = [
            length == longest or _is_finished(ended, best, length, longest, options)
            for ended, best, length in zip(state.ended, best_log_probs, lengths, strict=True)
        ]
        if not any(done):
            return
        for index in (index for index, is_done in enumerate(done) if is_done):
            if not state.ended[index]:
                raise nan_scores_error(self._decoder.layer_norm.weight.dtype)
            self._finished.append((state.keys[index], state.ended[index][: options.n_best]))
            if self._keep_caches:
                chosen = torch.tensor([index], device=state.lengths_U.device)
                self._finished_caches[state.keys[index]] = state.cross_attention_cache.select(chosen)
        state.select([index for index, is_done in enumerate(done) if not is_done])

    def _candidates(self, state: _BeamState, states_UKD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the best 2K continuations of each utterance, (U, N): log-probabilities, parent hypotheses, ids."""
        utterances, rows, _ = states_UKD.shape
        count = 2 * self._options.beam_size
        forbidden_UKP = _ids_that_repeat(state, self._options.max_repeats)
        log_probs_RN, ids_RN = top_k_ids(
            states_UKD.flatten(0, 1),
            self._vocabulary,
            count + forbidden_UKP.shape[2],
            [tag_id for tag_id in state.tag_ids for _ in range(rows)],
        )
        log_probs_UKN, ids_UKN = (table_RN.view(utterances, rows, -1) for table_RN in (log_probs_RN, ids_RN))
        is_forbidden_UKN = (ids_UKN[:, :, :, None] == forbidden_UKP[:, :, None]).any(3)
        log_probs_UKN = log_probs_UKN.masked_fill(is_forbidden_UKN, -torch.inf)
        must_end_U11 = (state.lengths_U == self._max_length - 1)[:, None, None]
        first_N = torch.arange(ids_UKN.shape[2], device=ids_UKN.device) == 0
        log_probs_UKN = log_probs_UKN.where(~must_end_U11, torch.where(first_N, 0.0, -torch.inf))
        ids_UKN = ids_UKN.masked_fill(must_end_U11, EOS_ID)

        totals_UM = (state.log_probs_UK[:, :, None] + log_probs_UKN).flatten(1)
        totals_UM = F.pad(totals_UM, (0, max(0, count - totals_UM.shape[1])), value=-torch.inf)  # a tiny vocabulary
        totals_UN, indices_UN = totals_UM.topk(count, dim=1)
        indices_UN = indices_UN.clamp(max=ids_UKN[0].numel() - 1)
        return totals_UN, indices_UN // ids_UKN.shape[2], ids_UKN.flatten(1).gather(1, indices_UN)


def _collect_ended(
    state: _BeamState, log_probs_UN: Tensor, parents_UN: Tensor, ids_UN: Tensor, options: SearchSettings
) -> None:
    """Add the hypotheses that end among the best K candidates; keep the best K ended ones of each utterance."""
    beam_size = options.beam_size
    ended_UK = (ids_UN[:, :beam_size] == EOS_ID) & log_probs_UN[:, :beam_size].isfinite()
    for index, rank in ended_UK.nonzero().tolist():
        length = int(state.lengths_U[index])  # with </s>, without the start token
        log_prob = float(log_probs_UN[index, rank])
        ids = (*state.ids_UKT[index, parents_UN[index, rank], 1:length].tolist(), EOS_ID)
        hypotheses = state.ended[index]
        hypotheses.append(Hypothesis(ids, normalized_score(log_prob, length, options.length_penalty), log_prob))
        hypotheses.sort(key=lambda hypothesis: -hypothesis.score)
        del hypotheses[beam_size:]


def _is_finished(
    ended: list[Hypothesis], best_running: float, length: int, longest: int, options: SearchSettings
) -> bool:
    """Return whether the search of an utterance is finished, by the rule of `early_stopping`.

    True: K hypotheses have ended. False: the best running log-probability would not enter them at its present
    `length`. "never": it would not enter them at any length up to `longest`.
    """
    if len(ended) < options.beam_size:
        return False
    if options.early_stopping is True or options.beam_size == 1:
        return True
    can_improve_by_length = options.early_stopping == "never" and options.length_penalty > 0
    attainable = normalized_score(best_running, longest if can_improve_by_length else length, options.length_penalty)
    return attainable <= ended[-1].score


def _ids_that_repeat(state: _BeamState, max_repeats: int | None) -> Tensor:
    """Return the ids that would make a phrase occur more than `max_repeats` times in a row, (U, K, P), or -1.

    P is the number of phrase lengths that any hypothesis has repeated that often, which is usually 0.
    """
    empty_UKP = state.ids_UKT[:, :, :0]
    if max_repeats is None:
        return empty_UKP
    forbidden_UK = []
    for period in range(1, _MAX_PHRASE_TOKENS + 1):
        needed = period * (max_repeats + 1) - 1
        long_enough_U = state.lengths_U - 2 >= needed  # the start token and the tag belong to no phrase
        if not bool(long_enough_U.any()):
            break
        tail_UKT = state.last_ids(needed)
        repeats_UK = (tail_UKT[:, :, period:] == tail_UKT[:, :, :-period]).all(dim=2) & long_enough_U[:, None]
        if bool(repeats_UK.any()):
            forbidden_UK.append(tail_UKT[:, :, -period].masked_fill(~repeats_UK, -1))
    return torch.stack(forbidden_UK, 2) if forbidden_UK else empty_UKP
