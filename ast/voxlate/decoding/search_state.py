"""The state of a search in tensors: the running hypotheses of a pool of utterances, and those that have ended.

Shape letters: U utterances, K hypotheses of each (the beam), T tokens of a hypothesis, P lengths of repeated phrases.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from voxlate.models.caches import CrossAttentionCache, KVCache, resized

PREFIX = 2  # tokens of every hypothesis that are given: the start token and the language tag


@dataclass(frozen=True)
class EndedHypotheses:
    """The best hypotheses of each utterance that have ended, best first.

    `ids_UKT` begin with the start token, and end with ``</s>`` after `lengths_UK` ids. `scores_UK` are the log-
    probabilities divided by the length to the length penalty; where no hypothesis has ended, they are -inf.
    """

    ids_UKT: Tensor
    lengths_UK: Tensor
    log_probs_UK: Tensor
    scores_UK: Tensor

    @classmethod
    def none(cls, utterances: int, beam_size: int, tokens: int, device: torch.device) -> "EndedHypotheses":
        """Return the ended hypotheses of a new search."""
        lengths_UK = torch.zeros(utterances, beam_size, dtype=torch.long, device=device)
        scores_UK = torch.full((utterances, beam_size), -torch.inf, device=device)
        return cls(lengths_UK.new_zeros((utterances, beam_size, tokens)), lengths_UK, scores_UK, scores_UK)

    def with_candidates(self, candidates: "EndedHypotheses") -> "EndedHypotheses":
        """Return the best of these hypotheses and of candidates, as many as these. Of equals, these come first."""
        beam_size = self.scores_UK.shape[1]
        joined_U2 = torch.cat([self.scores_UK, candidates.scores_UK], 1)
        scores_U2, order_U2 = joined_U2.sort(dim=1, descending=True, stable=True)
        order_UK = order_U2[:, :beam_size]
        return EndedHypotheses(
            gather_rows(torch.cat([self.ids_UKT, candidates.ids_UKT], 1), order_UK),
            torch.cat([self.lengths_UK, candidates.lengths_UK], 1).gather(1, order_UK),
            torch.cat([self.log_probs_UK, candidates.log_probs_UK], 1).gather(1, order_UK),
            scores_U2[:, :beam_size],
        )

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors, whose first dimension is U."""
        return self.ids_UKT, self.lengths_UK, self.log_probs_UK, self.scores_UK

    def select(self, utterances: Tensor | int, tokens: int) -> "EndedHypotheses":
        """Return the hypotheses of the given utterances, or the first ones, with room for a number of tokens."""
        tables = (resized(table, utterances, 1, table.shape[1]) for table in self.tensors[1:])
        return EndedHypotheses(resized(self.ids_UKT, utterances, 2, tokens), *tables)


@dataclass(frozen=True)
class SearchState:
    """The state of U utterances, each with K running hypotheses.

    - `ids_UKT` begin with the start token and the language tag; those beyond `lengths_U` have no meaning.
    - `log_probs_UK` are the sums of the running hypotheses, best first.
    - `matches_UKP`: of the last ids, how many in a row equal the ids 1 to P positions before.
    - `is_done_U`: the search of an utterance is finished. Its ended hypotheses and its length no longer change.
    """

    ids_UKT: Tensor
    lengths_U: Tensor
    log_probs_UK: Tensor
    matches_UKP: Tensor
    is_done_U: Tensor
    ended: EndedHypotheses
    cross_attention_cache: CrossAttentionCache
    kv_cache: KVCache

    @property
    def utterances(self) -> int:
        """Number of utterances, U."""
        return len(self.lengths_U)

    @property
    def tokens(self) -> int:
        """Number of tokens, T, that there is room for."""
        return self.ids_UKT.shape[2]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors, whose first dimension is U."""
        own = (self.ids_UKT, self.lengths_U, self.log_probs_UK, self.matches_UKP, self.is_done_U)
        return (*own, *self.ended.tensors, *self.cross_attention_cache.tensors, *self.kv_cache.tensors)

    @property
    def bytes(self) -> int:
        """Size of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors)

    def clone(self) -> "SearchState":
        """Return a state with tensors of its own."""
        rows_U = torch.arange(self.utterances, device=self.lengths_U.device)
        return self.select(rows_U, self.tokens, self.cross_attention_cache.states)

    def ids_before(self, counts_P: Tensor) -> Tensor:
        """Return the ids some positions before the next one, (U, K, P); the first id if there are fewer."""
        positions_UP = (self.lengths_U[:, None] - counts_P).clamp(min=0)
        return self.ids_UKT.gather(2, positions_UP[:, None].expand(-1, self.ids_UKT.shape[1], -1))

    def select(self, utterances: Tensor | int, tokens: int, states: int) -> "SearchState":
        """Return the state of the given utterances, or the first ones, with room for numbers of tokens and states."""
        beam_size = self.ids_UKT.shape[1]
        return SearchState(
            resized(self.ids_UKT, utterances, 2, tokens),
            resized(self.lengths_U[:, None], utterances, 1, 1)[:, 0],
            resized(self.log_probs_UK, utterances, 1, beam_size),
            resized(self.matches_UKP, utterances, 1, beam_size),
            resized(self.is_done_U[:, None], utterances, 1, 1)[:, 0],
            self.ended.select(utterances, tokens),
            self.cross_attention_cache.select(utterances, states),
            self.kv_cache.select(utterances, cache_entries(tokens, beam_size)),
        )

    def put(self, utterances_U: Tensor, other: "SearchState") -> None:
        """Replace utterances, in place, by those of a state with as many hypotheses and no more room."""
        for mine, others in zip(self.tensors, other.tensors, strict=True):
            missing = [mine.shape[dimension] - others.shape[dimension] for dimension in range(mine.dim() - 1, 0, -1)]
            mine[utterances_U] = F.pad(others, [size for missed in missing for size in (0, missed)])


def cache_entries(tokens: int, beam_size: int) -> int:
    """Return the entries of a KV cache for hypotheses of up to `tokens` tokens, a multiple of 8.

    The tokens of the prefix have one entry each, others one for every hypothesis, and the last token has none yet.
    """
    entries = PREFIX + (tokens - PREFIX - 1) * beam_size
    return -(-entries // 8) * 8


def gather_rows(table_UKT: Tensor, rows_UM: Tensor) -> Tensor:
    """Return the chosen rows of each utterance, (U, M, T)."""
    return table_UKT.gather(1, rows_UM[:, :, None].expand(-1, -1, table_UKT.shape[2]))
