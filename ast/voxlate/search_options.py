"""How to search: options that are checked without loading torch."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

from voxlate.errors import VoxlateError

EarlyStopping: TypeAlias = bool | Literal["never"]


@dataclass(frozen=True)
class SearchOptions:
    """What the user says about the search; None leaves it to the model's generation_config.json (see `settled`).

    `beam` 1 is greedy. `max_length` counts every token of the hypothesis: ``</s>`` at the start, tag, pieces, ``</s>``.
    `max_repeats` is how many times in a row a phrase of up to 12 tokens may occur at most (None: no limit, as in
    benchmarks). `mbr` orders the beam's hypotheses by their agreement (see `voxlate.decoding.mbr`), where they become
    text. VoxlateError names every value out of its range.
    """

    beam: int | None = None
    length_penalty: float | None = None
    max_length: int | None = None
    early_stopping: EarlyStopping | None = None
    n_best: int = 1
    max_repeats: int | None = 4
    mbr: bool = False

    def __post_init__(self) -> None:
        problems = []
        if self.beam is not None and not 1 <= self.beam <= 1000:
            problems.append(f"beam is {self.beam}, expected 1 (greedy) to 1000")
        if self.n_best < 1 or (self.beam is not None and self.n_best > max(self.beam, 1)):
            most = "more" if self.beam is None else f"the beam, {self.beam}"
            problems.append(f"n_best is {self.n_best}, expected 1 {'or' if self.beam is None else 'to'} {most}")
        if self.max_length is not None and self.max_length < 3:
            problems.append(f"max_length is {self.max_length}, expected 3 tokens or more (start, tag, end)")
        if self.length_penalty is not None and not abs(self.length_penalty) <= 10:  # a NaN is not either
            problems.append(f"length_penalty is {self.length_penalty}, expected a number between -10 and 10")
        if self.max_repeats is not None and self.max_repeats < 1:
            problems.append(f"max_repeats is {self.max_repeats}, expected 1 or more, or None")
        if problems:
            raise VoxlateError("; ".join(problems))

    def settled(self, stated: Mapping[str, Any] | None = None) -> "SearchSettings":
        """Return all settings: what is said here, else what a model states, else the published setting."""
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        missing = [name for name in ("beam", "length_penalty", "max_length", "early_stopping") if said[name] is None]
        for name in missing:
            del said[name]
        return SearchSettings(**{name: value for name, value in (stated or {}).items() if name in missing}, **said)


@dataclass(frozen=True)
class SearchSettings(SearchOptions):
    """How to search, nothing left open. The defaults are the published setting: beam 5, length penalty 1, 200 tokens.

    With early stopping a search ends as soon as `beam` hypotheses have ended; without, when none that still runs is
    likely to enter them; with "never", when none can.
    """

    beam: int = 5
    length_penalty: float = 1.0
    max_length: int = 200
    early_stopping: EarlyStopping = True
