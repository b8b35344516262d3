"""Published scores and split sizes of CoVoST-2, with their provenance (see README.md)."""

import csv
import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from voxlate_eval import EvaluationError

_FOLDER = Path(__file__).parent
GROUPS = {"high": "X→en, high-resource", "mid": "X→en, mid-resource", "low": "X→en, low-resource", "en-x": "en→X"}


@dataclass(frozen=True)
class Split:
    """A direction of CoVoST-2: its group in the XLS-R tables, the rows of its splits, and hours of training data."""

    direction: str
    group: str
    train: int
    dev: int
    test: int
    train_hours: float


@dataclass(frozen=True)
class System:
    """A published system: its BLEU per direction and average, each with the key of its provenance."""

    name: str
    parameters: str
    scores: dict[str, float]
    provenance: dict[str, str]


@dataclass(frozen=True)
class Provenance:
    """How a score was computed, as far as known, and its source; README.md lists the conventions."""

    convention: str
    scoring: str
    source: str


@lru_cache(1)
def splits() -> dict[str, Split]:
    """Return the directions of CoVoST-2 in the order of the XLS-R tables."""
    return {
        row["direction"]: Split(
            row["direction"],
            row["group"],
            int(row["train"]),
            int(row["dev"]),
            int(row["test"]),
            float(row["train_hours"]),
        )
        for row in _rows("splits.csv")
    }


def split_rows(direction: str | None, split: str | None) -> int | None:
    """Return the number of rows of a split of CoVoST-2, or None if there is no such split."""
    found = splits().get(direction or "")
    return getattr(found, split, None) if found and split in ("train", "dev", "test") else None


@lru_cache(1)
def systems() -> dict[str, System]:
    """Return all published systems by name."""
    found: dict[str, System] = {}
    for row in _rows("scores.csv"):
        system = found.setdefault(row["system"], System(row["system"], row["parameters"], {}, {}))
        system.scores[row["direction"]] = float(row["bleu"])
        system.provenance[row["direction"]] = row["provenance"]
    return found


@lru_cache(1)
def provenances() -> dict[str, Provenance]:
    """Return the provenance of scores by key, as used in `System.provenance`."""
    return {
        row["provenance"]: Provenance(row["convention"], row["scoring"], row["source"])
        for row in _rows("provenance.csv")
    }


def find_systems(pattern: str) -> list[System]:
    """Return the systems whose names match a pattern such as "XLS-R (*B)", or the one with exactly this name.

    Raises EvaluationError with suggestions if there is none.
    """
    by_name = {known.lower(): system for known, system in systems().items()}
    if pattern.lower() not in by_name and "*" in pattern:
        expression = re.compile(".*".join(map(re.escape, pattern.lower().split("*"))))
        found = [system for name, system in by_name.items() if expression.fullmatch(name)]
        if found:
            return found
    return [find_system(pattern)]


def find_system(name: str) -> System:
    """Return a published system. Raises EvaluationError with suggestions if the name is unknown."""
    by_name = {known.lower(): system for known, system in systems().items()}
    if name.lower() not in by_name:
        close = get_close_matches(name.lower(), by_name, 3, 0.4)
        if close:
            hint = f"did you mean {', '.join(repr(by_name[known].name) for known in close)}?"
        else:
            hint = f"there are {len(by_name)}, such as 'XLS-R (0.3B)' and 'Whisper large-v2'"
        raise EvaluationError(f"no published system {name!r}; {hint}; voxlate published lists all of them")
    return by_name[name.lower()]


def _rows(name: str) -> list[dict[str, str]]:
    with (_FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
