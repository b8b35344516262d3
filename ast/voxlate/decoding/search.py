"""Greedy and beam search over the decoder, hypothesis for hypothesis what transformers' `generate` finds.

Shape letters: U utterances searched at present, K beam, N = 2K candidates, T ids of a hypothesis, P lengths of phrases.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from voxlate.decoding.output_layer import Vocabulary, top_k_ids
from voxlate.models.caches import CrossAttentionCache, KVCache, joined
from voxlate.models.decoder import MBartDecoder
from voxlate.models.precision import not_numbers
from voxlate.search_options import SearchOptions, SearchSettings
from voxlate.tokenizer import EOS_ID

_LONGEST_LOOP = 12  # tokens: the longest phrase whose repetition the guard sees


@dataclass(frozen=True)
class Hypothesis:
    """One translation as ids: tag, pieces, ``</s>``.

    `score` is `log_prob` divided by the number of these ids to the power of the length penalty; the forced tag, and
    an ``</s>`` forced at the maximum length, count as certain.
    """

    ids: tuple[int, ...]
    score: float
    log_prob: float


@torch.inference_mode()
def search(
    decoder: MBartDecoder, memory: CrossAttentionCache, tag_ids: Sequence[int], options: SearchOptions
) -> list[list[Hypothesis]]:
    """Return for each utterance its `n_best` hypotheses, best first. `tag_ids` names each one's target language."""
    pool = Search(decoder, options)
    pool.add(range(len(tag_ids)), memory, tag_ids)
    found: dict[int, list[Hypothesis]] = {}
    while len(found) < len(tag_ids):
        found.update(pool.step())
    return [found[index] for index in range(len(tag_ids))]


@dataclass
class _Utterances:
    """Utterances on their way. Ids begin with the start token; after `lengths_U` they mean nothing.

    `keys` are the caller's names, `tag_ids` the target languages; `ended` has the hypotheses that ended, best first;
    `scores_UK` are sums.
    """

    keys: list[int]
    tag_ids: list[int]
    ended: list[list[Hypothesis]]
    ids_UKT: Tensor
    lengths_U: Tensor
    scores_UK: Tensor
    memory: CrossAttentionCache
    history: KVCache

    def select(self, indices: list[int]) -> None:
        """Keep some utterances."""
        chosen_U = torch.tensor(indices, dtype=torch.long, device=self.lengths_U.device)
        self.keys, self.tag_ids = [self.keys[index] for index in indices], [self.tag_ids[index] for index in indices]
        self.ended = [self.ended[index] for index in indices]
        self.ids_UKT, self.lengths_U = self.ids_UKT[chosen_U], self.lengths_U[chosen_U]
        self.scores_UK, self.memory = self.scores_UK[chosen_U], self.memory.select(chosen_U)
        self.history.select(chosen_U)

    def join(self, other: "_Utterances") -> None:
        """Add other utterances, with as many hypotheses each."""
        self.keys, self.tag_ids = self.keys + other.keys, self.tag_ids + other.tag_ids
        self.ended = self.ended + other.ended
        self.ids_UKT = joined(self.ids_UKT, other.ids_UKT, 2)
        self.lengths_U = torch.cat([self.lengths_U, other.lengths_U])
        self.scores_UK = torch.cat([self.scores_UK, other.scores_UK])
        self.memory = self.memory.join(other.memory)
        self.history.join(other.history)

    def last(self, count: int) -> Tensor:
        """Return the last ids of each hypothesis, (U, K, count); those of shorter ones begin anywhere."""
        places_UT = (self.lengths_U[:, None] - count + torch.arange(count, device=self.lengths_U.device)).clamp(min=0)
        return self.ids_UKT.gather(2, places_UT[:, None].expand(-1, self.ids_UKT.shape[1], -1))

    def grow(self, origins_UK: Tensor, ids_UK: Tensor, scores_UK: Tensor) -> None:
        """Let hypothesis k of an utterance be what was `origins_UK[u, k]`, and one more id."""
        places_UK1 = self.lengths_U[:, None, None].expand(*ids_UK.shape, 1)
        ids_UKT = self.ids_UKT.gather(1, origins_UK[:, :, None].expand(-1, -1, self.ids_UKT.shape[2]))
        ids_UKT = F.pad(ids_UKT, (0, max(0, int(self.lengths_U.max()) + 1 - ids_UKT.shape[2])))
        self.ids_UKT = ids_UKT.scatter(2, places_UK1, ids_UK[:, :, None])
        self.lengths_U, self.scores_UK = self.lengths_U + 1, scores_UK
        self.history.reorder(origins_UK)


class Search:
    """A pool of utterances searched together: a finished one leaves, and others may enter at any time.

    Utterances do not influence each other. Stopping follows transformers 5: with early stopping an utterance is
    finished when `beam` hypotheses ended, without it when the best running score can no longer enter them at its
    present length (with "never": at any length up to the limit). What the options leave open is the published setting.
    """

    def __init__(self, decoder: MBartDecoder, options: SearchOptions, vocabulary: Vocabulary | None = None) -> None:
        self._decoder, self._options = decoder, options.settled()
        self._vocabulary = vocabulary or Vocabulary(decoder.output_weight)
        self._max_length = min(self._options.max_length, decoder.config.max_positions)
        self._running: _Utterances | None = None
        self._finished: list[tuple[int, list[Hypothesis]]] = []

    def __len__(self) -> int:
        """Return how many utterances are still searched."""
        return len(self._running.keys) if self._running is not None else 0

    @torch.inference_mode()
    def add(self, keys: Iterable[int], memory: CrossAttentionCache, tag_ids: Sequence[int]) -> None:
        """Begin to search utterances, named by keys. `tag_ids` names each one's target language."""
        device, count = memory.mask_U11S.device, len(tag_ids)
        ids_U1T = torch.tensor([[[EOS_ID, tag_id]] for tag_id in tag_ids], device=device)
        history = KVCache(memory)
        positions_UT = torch.arange(2, device=device).expand(count, 2)
        states_UTD = self._decoder.step(ids_U1T[:, 0], positions_UT, memory, history)
        history.reorder(torch.ones(count, 1, dtype=torch.long, device=device))
        lengths_U, scores_U1 = torch.full((count,), 2, device=device), torch.zeros(count, 1, device=device)
        new = _Utterances([*keys], [*tag_ids], [[] for _ in tag_ids], ids_U1T, lengths_U, scores_U1, memory, history)
        self._expand(new, states_UTD[:, -1:])
        if self._running is None or not self._running.keys:
            self._running = new
        elif new.keys:
            self._running.join(new)

    @torch.inference_mode()
    def step(self) -> list[tuple[int, list[Hypothesis]]]:
        """Add an id to every hypothesis; return the keys and hypotheses of the utterances that are finished."""
        running = self._running
        if running is not None and running.keys:
            newest_UK = running.last(1)[:, :, 0]
            positions_UK = (running.lengths_U[:, None] - 1).expand_as(newest_UK)
            self._expand(running, self._decoder.step(newest_UK, positions_UK, running.memory, running.history))
        finished, self._finished = self._finished, []
        return finished

    def _expand(self, running: _Utterances, states_UKD: Tensor) -> None:
        """Give the hypotheses their next ids; take out utterances that are finished."""
        options, beam = self._options, self._options.beam
        totals_UN, origins_UN, ids_UN = self._candidates(running, states_UKD)
        _collect_ended(running, totals_UN, origins_UN, ids_UN, options)

        # Keep the best K candidates that did not end. There are always K: of 2K candidates at most K end.
        scores_UK, kept_UK = totals_UN.masked_fill(ids_UN == EOS_ID, -torch.inf).topk(beam, dim=1)
        lengths, best = running.lengths_U.tolist(), scores_UK[:, 0].tolist()
        running.grow(origins_UN.gather(1, kept_UK), ids_UN.gather(1, kept_UK), scores_UK)
        done = [
            length == self._max_length - 1 or _is_finished(ended, score, length, self._max_length - 1, options)
            for ended, score, length in zip(running.ended, best, lengths, strict=True)
        ]
        if not any(done):
            return
        for index in (index for index, is_done in enumerate(done) if is_done):
            if not running.ended[index]:
                raise not_numbers(self._decoder.layer_norm.weight.dtype)
            self._finished.append((running.keys[index], running.ended[index][: options.n_best]))
        running.select([index for index, is_done in enumerate(done) if not is_done])

    def _candidates(self, running: _Utterances, states_UKD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the best 2K continuations of each utterance, (U, N): scores, the rows they extend, ids."""
        utterances, rows, _ = states_UKD.shape
        count = 2 * self._options.beam
        forbidden_UKP = _loop_ids(running, self._options.max_repeats)
        log_probs_RN, ids_RN = top_k_ids(
            states_UKD.flatten(0, 1),
            self._vocabulary,
            count + forbidden_UKP.shape[2],
            [tag_id for tag_id in running.tag_ids for _ in range(rows)],
        )
        log_probs_UKN, ids_UKN = (table_RN.view(utterances, rows, -1) for table_RN in (log_probs_RN, ids_RN))
        loops_UKN = (ids_UKN[:, :, :, None] == forbidden_UKP[:, :, None]).any(3)
        log_probs_UKN = log_probs_UKN.masked_fill(loops_UKN, -torch.inf)
        last_U11 = (running.lengths_U == self._max_length - 1)[:, None, None]  # these must end now
        first_N = torch.arange(ids_UKN.shape[2], device=ids_UKN.device) == 0
        log_probs_UKN = log_probs_UKN.where(~last_U11, torch.where(first_N, 0.0, -torch.inf))
        ids_UKN = ids_UKN.masked_fill(last_U11, EOS_ID)

        totals_UM = (running.scores_UK[:, :, None] + log_probs_UKN).flatten(1)
        totals_UM = F.pad(totals_UM, (0, max(0, count - totals_UM.shape[1])), value=-torch.inf)  # a tiny vocabulary
        totals_UN, places_UN = totals_UM.topk(count, dim=1)
        places_UN = places_UN.clamp(max=ids_UKN[0].numel() - 1)
        return totals_UN, places_UN // ids_UKN.shape[2], ids_UKN.flatten(1).gather(1, places_UN)


def _collect_ended(
    running: _Utterances, totals_UN: Tensor, origins_UN: Tensor, ids_UN: Tensor, options: SearchSettings
) -> None:
    """Add hypotheses that ended among the best K candidates, and keep the best K of each utterance."""
    ended_UK = (ids_UN[:, : options.beam] == EOS_ID) & totals_UN[:, : options.beam].isfinite()
    for index, rank in ended_UK.nonzero().tolist():
        length = int(running.lengths_U[index])  # of the ids after the start token
        log_prob = float(totals_UN[index, rank])
        ids = (*running.ids_UKT[index, origins_UN[index, rank], 1:length].tolist(), EOS_ID)
        hypotheses = running.ended[index]
        hypotheses.append(Hypothesis(ids, log_prob / length**options.length_penalty, log_prob))
        hypotheses.sort(key=lambda hypothesis: -hypothesis.score)
        del hypotheses[options.beam :]


def _is_finished(
    hypotheses: list[Hypothesis], best_running: float, length: int, longest: int, options: SearchSettings
) -> bool:
    """Return whether a search is finished: `length` is that of its running hypotheses, `longest` the limit."""
    if len(hypotheses) < options.beam:
        return False
    if options.early_stopping is True or options.beam == 1:
        return True
    hoped = longest if options.early_stopping == "never" and options.length_penalty > 0 else length
    return bool(best_running / hoped**options.length_penalty <= hypotheses[-1].score)


def _loop_ids(running: _Utterances, max_repeats: int | None) -> Tensor:
    """Return the ids that would make a phrase occur more than `max_repeats` times in a row, (U, K, P), -1 for none.

    P counts the lengths of phrases that any hypothesis repeats that often: most of the time none.
    """
    none_UKP = running.ids_UKT[:, :, :0]
    if max_repeats is None:
        return none_UKP
    forbidden_UK = []
    for period in range(1, _LONGEST_LOOP + 1):
        needed = period * (max_repeats + 1) - 1
        long_enough_U = running.lengths_U - 2 >= needed  # the start token and the tag are no part of a phrase
        if not bool(long_enough_U.any()):
            break
        tail_UKT = running.last(needed)
        repeats_UK = (tail_UKT[:, :, period:] == tail_UKT[:, :, :-period]).all(dim=2) & long_enough_U[:, None]
        if bool(repeats_UK.any()):
            forbidden_UK.append(tail_UKT[:, :, -period].masked_fill(~repeats_UK, -1))
    return torch.stack(forbidden_UK, 2) if forbidden_UK else none_UKP
