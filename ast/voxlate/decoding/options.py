"""How to search: what is told about it without loading torch."""

from dataclasses import dataclass

from voxlate.errors import VoxlateError


@dataclass(frozen=True)
class SearchOptions:
    """How to search. The defaults are the published setting: beam 5, length penalty 1, 200 tokens.

    `max_length` counts every token of the hypothesis: ``</s>`` at the start, tag, pieces, ``</s>``. `max_repeats`
    forbids a phrase of up to 12 tokens to follow itself more often than that (None: no guard, as in benchmarks).
    `mbr` orders the beam's hypotheses by their agreement (see `voxlate.decoding.mbr`), where they become text.
    """

    beam: int = 5
    length_penalty: float = 1.0
    max_length: int = 200
    early_stopping: bool = True
    n_best: int = 1
    max_repeats: int | None = None
    mbr: bool = False

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
