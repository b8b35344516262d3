"""Greedy and beam search over the decoder, hypothesis for hypothesis what transformers' `generate` finds.

Shape letters: U utterances still searched, K beam, R = U·K rows, V vocabulary, N = 2K candidates, T tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from voxlate.errors import VoxlateError
from voxlate.models.decoder import MBartDecoder, Memory, SelfCache
from voxlate.text import EOS_ID

_LONGEST_LOOP = 12  # tokens: the longest phrase whose repetition the guard sees


@dataclass(frozen=True)
class SearchOptions:
    """How to search. The defaults are the published setting: beam 5, length penalty 1, 200 tokens.

    `max_length` counts every token of the hypothesis: ``</s>`` at the start, tag, pieces, ``</s>``. `max_repeats`
    forbids a phrase of up to 12 tokens to follow itself more often than that (None: no guard, as in benchmarks).
    """

    beam: int = 5
    length_penalty: float = 1.0
    max_length: int = 200
    early_stopping: bool = True
    n_best: int = 1
    max_repeats: int | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.beam < 1:
            problems.append(f"beam is {self.beam}, expected 1 (greedy) or more")
        if not 1 <= self.n_best <= max(self.beam, 1):
            problems.append(f"n_best is {self.n_best}, expected 1 to the beam, {self.beam}")
        if self.max_length < 3:
            problems.append(f"max_length is {self.max_length}, expected 3 tokens or more (start, tag, end)")
        if not abs(self.length_penalty) <= 10:  # a NaN is not either
            problems.append(f"length_penalty is {self.length_penalty}, expected a number between -10 and 10")
        if self.max_repeats is not None and self.max_repeats < 1:
            problems.append(f"max_repeats is {self.max_repeats}, expected 1 or more, or None")
        if problems:
            raise VoxlateError("; ".join(problems))


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
    decoder: MBartDecoder, memory: Memory, tag_ids: Sequence[int], options: SearchOptions
) -> list[list[Hypothesis]]:
    """Return for each utterance its `n_best` hypotheses, best first. `tag_ids` names each one's target language.

    Utterances do not influence each other, and one that is finished leaves the batch. Stopping follows transformers
    5: with early stopping an utterance is finished when `beam` hypotheses ended, without it when the best running
    score can no longer enter them at its present length.
    """
    max_length = min(options.max_length, decoder.config.max_positions)
    device, beam = memory.mask_U11S.device, options.beam
    found: list[list[Hypothesis]] = [[] for _ in tag_ids]
    active = list(range(len(tag_ids)))  # which utterance each of the U is
    tokens_RT = torch.tensor([[EOS_ID, tag_id] for tag_id in tag_ids], device=device)
    scores_UK = torch.zeros(len(tag_ids), 1, device=device)  # one row each until the first expansion
    cache = SelfCache(decoder.config.layers)
    newest_RT = tokens_RT

    while active:
        log_probs_RV = _next_log_probs(decoder, newest_RT, memory, cache)
        if options.max_repeats is not None:
            _forbid_loops(log_probs_RV, tokens_RT[:, 2:], options.max_repeats)
        length = tokens_RT.shape[1]  # ids behind the start token once this step's id is added
        if length == max_length - 1:
            log_probs_RV = torch.full_like(log_probs_RV, -torch.inf)
            log_probs_RV[:, EOS_ID] = 0.0
        rows, vocabulary = scores_UK.shape[1], log_probs_RV.shape[1]
        totals = (scores_UK.view(-1, 1) + log_probs_RV).view(len(active), rows * vocabulary)
        totals_UN, flat_UN = totals.topk(min(2 * beam, totals.shape[1]), dim=1)
        offsets_U1 = torch.arange(len(active), device=device)[:, None] * rows
        origins_UN, ids_UN = offsets_U1 + flat_UN // vocabulary, flat_UN % vocabulary

        _collect_ended(found, active, tokens_RT, totals_UN, origins_UN, ids_UN, options)

        # The best K candidates that did not end go on. There are always K: of 2K candidates at most K end.
        running_UN = totals_UN.masked_fill(ids_UN == EOS_ID, -torch.inf)
        scores_UK, kept_UK = running_UN.topk(min(beam, running_UN.shape[1]), dim=1)
        origins_UK, ids_UK = origins_UN.gather(1, kept_UK), ids_UN.gather(1, kept_UK)
        going = [
            index
            for index, utterance in enumerate(active)
            if length < max_length - 1
            and not _is_finished(found[utterance], float(scores_UK[index, 0]), length, options)
        ]
        if len(going) < len(active):
            chosen_U = torch.tensor(going, dtype=torch.long, device=device)
            active = [active[index] for index in going]
            memory = memory.select(chosen_U)
            scores_UK, origins_UK, ids_UK = scores_UK[chosen_U], origins_UK[chosen_U], ids_UK[chosen_U]
        origins_R, newest_RT = origins_UK.reshape(-1), ids_UK.reshape(-1, 1)
        cache.select(origins_R)
        tokens_RT = torch.cat([tokens_RT[origins_R], newest_RT], dim=1)

    if not all(found):
        precision = str(decoder.layer_norm.weight.dtype).removeprefix("torch.")
        raise VoxlateError(
            f"the model's scores are not numbers in {precision}; the weights are damaged or overflow: try float32"
        )
    return [hypotheses[: options.n_best] for hypotheses in found]


def _next_log_probs(decoder: MBartDecoder, tokens_RT: Tensor, memory: Memory, cache: SelfCache) -> Tensor:
    logits_RV = decoder.logits(decoder(tokens_RT, memory, cache)[:, -1])
    return torch.log_softmax(logits_RV, dim=-1, dtype=torch.float32)


def _collect_ended(
    found: list[list[Hypothesis]],
    active: list[int],
    tokens_RT: Tensor,
    totals_UN: Tensor,
    origins_UN: Tensor,
    ids_UN: Tensor,
    options: SearchOptions,
) -> None:
    """Add hypotheses that ended among the best K candidates, and keep the best K of each utterance."""
    length = tokens_RT.shape[1]
    ended_UK = (ids_UN[:, : options.beam] == EOS_ID) & totals_UN[:, : options.beam].isfinite()
    for index, rank in ended_UK.nonzero().tolist():
        hypotheses = found[active[index]]
        log_prob = float(totals_UN[index, rank])
        ids = (*tokens_RT[origins_UN[index, rank], 1:].tolist(), EOS_ID)
        hypotheses.append(Hypothesis(ids, log_prob / length**options.length_penalty, log_prob))
        hypotheses.sort(key=lambda hypothesis: -hypothesis.score)
        del hypotheses[options.beam :]


def _is_finished(hypotheses: list[Hypothesis], best_running: float, length: int, options: SearchOptions) -> bool:
    if len(hypotheses) < options.beam:
        return False
    if options.early_stopping or options.beam == 1:
        return True
    return bool(best_running / length**options.length_penalty <= hypotheses[-1].score)


def _forbid_loops(log_probs_RV: Tensor, tokens_RT: Tensor, max_repeats: int) -> None:
    """Give no chance to an id that would make a phrase follow itself more than `max_repeats` times."""
    for period in range(1, _LONGEST_LOOP + 1):
        needed = period * (max_repeats + 1) - 1
        if tokens_RT.shape[1] < needed:
            return
        tail_RT = tokens_RT[:, -needed:]
        loops_R = (tail_RT[:, period:] == tail_RT[:, :-period]).all(dim=1)
        log_probs_RV[loops_R, tokens_RT[loops_R, -period]] = -torch.inf
