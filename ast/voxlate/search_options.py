"""Options of beam search, checked without loading torch."""

import numbers
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

from voxlate.deprecation import renamed_keywords
from voxlate.errors import OptionError

EarlyStopping: TypeAlias = bool | Literal["never"]


@dataclass(frozen=True)
class SearchOptions:
    """The user's search options. None means the value in the model's generation_config.json (see `resolve`).

    - `beam_size`: hypotheses kept per step; 1 is greedy search.
    - `length_penalty`: scores are divided by the length to this power.
    - `max_length`: maximum number of tokens, with the start token, the language tag and ``</s>``.
    - `early_stopping`: True ends a search as soon as `beam_size` hypotheses have ended, False when no running one is
      likely to be better, "never" when none can be.
    - `n_best`: hypotheses to return.
    - `max_repeats`: how many times in a row a phrase of up to 12 tokens may occur (None: no limit, as in benchmarks).
    - `mbr`: rerank the beam by minimum Bayes risk (see `voxlate.decoding.mbr`).

    OptionError names every value out of its range. `beam`, the former name of `beam_size`, is deprecated.
    """

    beam_size: int | None = None
    length_penalty: float | None = None
    max_length: int | None = None
    early_stopping: EarlyStopping | None = None
    n_best: int = 1
    max_repeats: int | None = 4
    mbr: bool = False

    def __post_init__(self) -> None:
        problems = {
            name: f"is {value!r}, expected a whole number"
            for name in ("beam_size", "max_length", "n_best", "max_repeats")
            if not isinstance(value := getattr(self, name), numbers.Integral | None)
        }
        if not isinstance(self.length_penalty, numbers.Real | None):
            problems["length_penalty"] = f"is {self.length_penalty!r}, expected a number"
        if problems:
            raise OptionError(problems)
        if self.beam_size is not None and not 1 <= self.beam_size <= 1000:
            problems["beam_size"] = f"is {self.beam_size}, expected 1 (greedy) to 1000"
        if self.n_best < 1 or (self.beam_size is not None and self.n_best > max(self.beam_size, 1)):
            expected = "1 or more" if self.beam_size is None else f"1 to the beam size, {self.beam_size}"
            problems["n_best"] = f"is {self.n_best}, expected {expected}"
        if self.max_length is not None and self.max_length < 3:
            problems["max_length"] = f"is {self.max_length}, expected 3 tokens or more (start, tag, end)"
        if self.length_penalty is not None and not abs(self.length_penalty) <= 10:  # false for NaN, too
            problems["length_penalty"] = f"is {self.length_penalty}, expected a number between -10 and 10"
        if self.max_repeats is not None and self.max_repeats < 1:
            problems["max_repeats"] = f"is {self.max_repeats}, expected 1 or more, or None"
        if problems:
            raise OptionError(problems)

    def resolve(self, model_defaults: Mapping[str, Any] | None = None) -> "SearchSettings":
        """Return complete settings: the user's options, else the model's defaults, else the published settings.

        `model_defaults` are those of `voxlate.checkpoints.generation_config.read_search_defaults`.
        """
        chosen = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("beam_size", "length_penalty", "max_length", "early_stopping"):
            if chosen[name] is None:
                del chosen[name]
                if model_defaults and name in model_defaults:
                    chosen[name] = model_defaults[name]
        return SearchSettings(**chosen)

    @property
    def beam(self) -> int | None:
        """The former name of `beam_size`."""
        warnings.warn("beam is now called beam_size", DeprecationWarning, stacklevel=2)
        return self.beam_size


SearchOptions.__init__ = renamed_keywords(beam="beam_size")(SearchOptions.__init__)  # type: ignore[method-assign]


@dataclass(frozen=True)
class SearchSettings(SearchOptions):
    """Complete search settings. The defaults are those of the published results."""

    beam_size: int = 5
    length_penalty: float = 1.0
    max_length: int = 200
    early_stopping: EarlyStopping = True

    def before_reranking(self) -> "SearchSettings":
        """Return the settings of the search itself, which must return all hypotheses that are reranked."""
        return replace(self, n_best=self.beam_size) if self.mbr else self

    def recorded(self) -> dict[str, object]:
        """Return the settings under the names of result files and journals, where the beam size is called beam."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"beam": values.pop("beam_size"), **values}
