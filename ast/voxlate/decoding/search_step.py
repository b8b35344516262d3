"""One step of greedy or beam search: a function of tensors, which never waits for the values of any of them.

In its order: `SearchStep` runs the decoder, `_candidates` adds the log-probabilities of the next tokens, `_ended`
scores the hypotheses that end, and `_is_finished` decides whether an utterance needs another step.

Shape letters: U utterances in the search, K hypotheses of each (the beam), N = 2K candidates, T tokens of a hypothesis,
D width of the decoder, P lengths of repeated phrases, F ids that would repeat a phrase too often.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from voxlate.decoding.output_layer import Vocabulary, top_k_ids
from voxlate.decoding.search_state import PREFIX, EndedHypotheses, SearchState, cache_entries, gather_rows
from voxlate.models.caches import CrossAttentionCache, KVCache
from voxlate.models.decoder import TextDecoder
from voxlate.search_options import SearchSettings

_MAX_PHRASE_TOKENS = 12  # the longest phrase whose repetition is detected


class SearchStep:
    """Extends every hypothesis of a state by one token, as transformers' `generate` does."""

    def __init__(self, decoder: TextDecoder, vocabulary: Vocabulary, settings: SearchSettings) -> None:
        self._decoder, self._vocabulary, self._settings = decoder, vocabulary, settings
        self._eos_id = decoder.config.eos_id
        self.key = (id(decoder), id(vocabulary), settings)  # steps with the same key do the same
        self.max_length = min(settings.max_length, decoder.config.max_positions)
        guarded = 0 if settings.max_repeats is None else _MAX_PHRASE_TOKENS
        self._periods_P = torch.arange(1, guarded + 1, device=vocabulary.rows.weight_VD.device)

    def first(self, cross_attention_cache: CrossAttentionCache, tags_U: Tensor, tokens: int) -> SearchState:
        """Return the state of new utterances, whose hypotheses have the start token, the tag, and one more token.

        There is room for a number of tokens.
        """
        utterances, device, beam_size = len(tags_U), tags_U.device, self._settings.beam_size
        prefix_U2 = torch.stack([torch.full_like(tags_U, self._eos_id), tags_U], 1)
        kv_cache = KVCache.of_prefix(cross_attention_cache, PREFIX, cache_entries(tokens, beam_size))
        positions_U2 = torch.arange(PREFIX, device=device).expand(utterances, -1)
        states_UTD = self._decoder.step(prefix_U2, positions_U2, cross_attention_cache, kv_cache)
        after_the_tag_U1 = torch.full((utterances, 1), PREFIX - 1, device=device)
        prefix = SearchState(
            ids_UKT=F.pad(prefix_U2, (0, tokens - PREFIX))[:, None],
            lengths_U=torch.full((utterances,), PREFIX, device=device),
            log_probs_UK=torch.zeros(utterances, 1, device=device),
            matches_UKP=torch.zeros(utterances, 1, len(self._periods_P), dtype=torch.long, device=device),
            is_done_U=torch.zeros(utterances, dtype=torch.bool, device=device),
            ended=EndedHypotheses.none(utterances, beam_size, tokens, device),
            cross_attention_cache=cross_attention_cache,
            kv_cache=kv_cache.reordered(after_the_tag_U1),
        )
        return self._extended(prefix, states_UTD[:, -1:])

    def __call__(self, state: SearchState) -> SearchState:
        """Return the state after one more token. Its caches share the memory of the former ones."""
        newest_UK = state.ids_before(torch.ones_like(state.lengths_U[:1]))[:, :, 0]
        positions_UK = (state.lengths_U[:, None] - 1).expand_as(newest_UK)
        entries_U = PREFIX + (state.lengths_U - PREFIX - 1) * self._settings.beam_size
        kv_cache = state.kv_cache.extended(entries_U)
        states_UKD = self._decoder.step(newest_UK, positions_UK, state.cross_attention_cache, kv_cache)
        return self._extended(replace(state, kv_cache=kv_cache), states_UKD)

    def _extended(self, state: SearchState, states_UKD: Tensor) -> SearchState:
        """Choose the next token of every hypothesis."""
        beam_size = self._settings.beam_size
        log_probs_UN, parents_UN, ids_UN = self._candidates(state, states_UKD)
        ended = self._ended(state, log_probs_UN, parents_UN, ids_UN)

        # Keep the best K candidates that did not end. There are always K, as at most K of the 2K candidates end.
        log_probs_UK, kept_UK = log_probs_UN.masked_fill(ids_UN == self._eos_id, -torch.inf).topk(beam_size, dim=1)
        parents_UK, ids_UK = parents_UN.gather(1, kept_UK), ids_UN.gather(1, kept_UK)
        is_finished_U = self._is_finished(ended, log_probs_UK[:, 0], state.lengths_U)
        return replace(
            state,
            ids_UKT=_appended(state, parents_UK, ids_UK),
            lengths_U=state.lengths_U + ~state.is_done_U,
            log_probs_UK=log_probs_UK,
            matches_UKP=self._matches(state, parents_UK, ids_UK),
            is_done_U=state.is_done_U | is_finished_U,
            ended=ended,
            kv_cache=state.kv_cache.reordered(parents_UK),
        )

    def _candidates(self, state: SearchState, states_UKD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the best 2K continuations of each utterance, (U, N): log-probabilities, parent hypotheses, ids."""
        utterances, rows, _ = states_UKD.shape
        count = 2 * self._settings.beam_size
        forbidden_UKF = self._ids_that_repeat(state)
        tags_R = state.ids_UKT[:, :, 1].flatten()
        log_probs_RN, ids_RN = top_k_ids(
            states_UKD.flatten(0, 1), self._vocabulary, count + forbidden_UKF.shape[2], tags_R
        )
        log_probs_UKN, ids_UKN = (table_RN.view(utterances, rows, -1) for table_RN in (log_probs_RN, ids_RN))
        is_forbidden_UKN = (ids_UKN[:, :, :, None] == forbidden_UKF[:, :, None]).any(3)
        log_probs_UKN = log_probs_UKN.masked_fill(is_forbidden_UKN, -torch.inf)
        must_end_U11 = (state.lengths_U == self.max_length - 1)[:, None, None]
        first_N = torch.arange(ids_UKN.shape[2], device=ids_UKN.device) == 0
        log_probs_UKN = log_probs_UKN.where(~must_end_U11, torch.where(first_N, 0.0, -torch.inf))
        ids_UKN = ids_UKN.masked_fill(must_end_U11, self._eos_id)

        totals_UM = (state.log_probs_UK[:, :, None] + log_probs_UKN).flatten(1)
        totals_UM = F.pad(totals_UM, (0, max(0, count - totals_UM.shape[1])), value=-torch.inf)  # a tiny vocabulary
        totals_UN, indices_UN = totals_UM.topk(count, dim=1)
        indices_UN = indices_UN.clamp(max=ids_UKN[0].numel() - 1)
        return totals_UN, indices_UN // ids_UKN.shape[2], ids_UKN.flatten(1).gather(1, indices_UN)

    def _ended(self, state: SearchState, log_probs_UN: Tensor, parents_UN: Tensor, ids_UN: Tensor) -> EndedHypotheses:
        """Add the hypotheses that end among the best K candidates; keep the best K ended ones of each utterance."""
        log_probs_UK, parents_UK, ids_UK = (
            table_UN[:, : self._settings.beam_size] for table_UN in (log_probs_UN, parents_UN, ids_UN)
        )
        ends_UK = (ids_UK == self._eos_id) & log_probs_UK.isfinite() & ~state.is_done_U[:, None]
        scores_UK = log_probs_UK / self._divisor(state.lengths_U)[:, None]
        return state.ended.with_candidates(
            EndedHypotheses(
                _appended(state, parents_UK, ids_UK),
                (state.lengths_U[:, None] + 1).expand_as(ids_UK),
                log_probs_UK,
                scores_UK.masked_fill(~ends_UK, -torch.inf),
            )
        )

    def _is_finished(self, ended: EndedHypotheses, best_running_U: Tensor, lengths_U: Tensor) -> Tensor:
        """Return whether the search of each utterance is finished, by the rule of `early_stopping`.

        True: K hypotheses have ended. False: the best running log-probability would not enter them at its present
        length. "never": it would not enter them at any length up to the maximum.
        """
        settings = self._settings
        worst_U, longest = ended.scores_UK[:, -1], self.max_length - 1  # without the start token
        is_finished_U = worst_U > -torch.inf
        if not (settings.early_stopping is True or settings.beam_size == 1):
            can_improve_by_length = settings.early_stopping == "never" and settings.length_penalty > 0
            lengths = torch.full_like(lengths_U, longest) if can_improve_by_length else lengths_U
            is_finished_U &= best_running_U / self._divisor(lengths) <= worst_U
        return is_finished_U | (lengths_U == longest)

    def _divisor(self, lengths: Tensor) -> Tensor:
        """Return what turns log-probabilities into scores; lengths count the tokens without the start token."""
        return lengths.float() ** self._settings.length_penalty

    def _ids_that_repeat(self, state: SearchState) -> Tensor:
        """Return the ids that would make a phrase occur more than `max_repeats` times in a row, (U, K, F), or -1."""
        if not len(self._periods_P):
            return state.matches_UKP
        most = self._settings.max_repeats or 0
        begins_phrase_UP = _lies_after_prefix(state, self._periods_P)
        repeats_UKP = (state.matches_UKP >= self._periods_P * most - 1) & begins_phrase_UP[:, None]
        forbidden_UKP = state.ids_before(self._periods_P).masked_fill(~repeats_UKP, -1)
        return forbidden_UKP.topk(_most_forbidden(most), dim=2).values

    def _matches(self, state: SearchState, parents_UK: Tensor, ids_UK: Tensor) -> Tensor:
        """Return `matches_UKP` after one more id."""
        if not len(self._periods_P):
            return state.matches_UKP.expand(-1, ids_UK.shape[1], -1)
        before_UKP = gather_rows(state.ids_before(self._periods_P), parents_UK)
        equal_UKP = (ids_UK[:, :, None] == before_UKP) & _lies_after_prefix(state, self._periods_P)[:, None]
        return (gather_rows(state.matches_UKP, parents_UK) + 1) * equal_UKP


def _appended(state: SearchState, parents_UM: Tensor, ids_UM: Tensor) -> Tensor:
    """Return the ids of parent hypotheses, each with one more, (U, M, T)."""
    positions_UM1 = state.lengths_U[:, None, None].expand(*ids_UM.shape, 1)
    return gather_rows(state.ids_UKT, parents_UM).scatter(2, positions_UM1, ids_UM[:, :, None])


def _lies_after_prefix(state: SearchState, periods_P: Tensor) -> Tensor:
    """Return whether the id some positions before the next one may belong to a phrase, (U, P)."""
    return state.lengths_U[:, None] - periods_P >= PREFIX


def _most_forbidden(most: int) -> int:
    """Return how many ids can complete one repetition too many at the same time.

    Where a phrase of p tokens has occurred `most` times in a row, except for one token, and so has a longer one of q
    tokens, q > most * p: otherwise both would repeat a still shorter phrase (Fine and Wilf 1965), more often than the
    search has allowed.
    """
    count, period = 0, 1
    while period <= _MAX_PHRASE_TOKENS:
        count, period = count + 1, most * period + 1
    return count
