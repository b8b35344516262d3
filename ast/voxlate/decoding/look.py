"""A look of the host at a search: which utterances are finished, and their hypotheses."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from voxlate.decoding.search_state import SearchState


@dataclass(frozen=True)
class Look:
    """A copy of the results of a search at one step, which a GPU makes when it gets there.

    `keys` are the caller's ids of the utterances, by row. `tables` are `is_done_U`, and the ended hypotheses.
    """

    keys: Mapping[int, int]
    tables: tuple[Tensor, ...]
    event: torch.cuda.Event | None

    @classmethod
    def at(cls, state: SearchState, keys: Mapping[int, int]) -> "Look":
        """Look at a state, without waiting for it."""
        tables = (state.is_done_U, *state.ended.tensors)
        copies = tuple(table.to("cpu", non_blocking=True, copy=True) for table in tables)  # in pinned memory
        if not state.is_done_U.is_cuda:
            return cls(keys, copies, None)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        return cls(keys, copies, event)

    def finished(self) -> Iterator[tuple[int, list[tuple[list[int], float]]]]:
        """Yield the keys of the finished utterances, and the ids and log-probabilities of their ended hypotheses."""
        if self.event is not None:
            self.event.synchronize()
        is_done_U, ids_UKT, lengths_UK, log_probs_UK, scores_UK = self.tables
        for row, is_done in enumerate(is_done_U.tolist()):
            if is_done and row in self.keys:
                ended = int(scores_UK[row].isfinite().sum())
                rows = zip(
                    ids_UKT[row, :ended].tolist(),
                    lengths_UK[row, :ended].tolist(),
                    log_probs_UK[row, :ended].tolist(),
                    strict=True,
                )
                yield self.keys[row], [(ids[:length], log_prob) for ids, length, log_prob in rows]
