"""The recipes of runs for a report: what all have in common once, and the rest by run and direction."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from voxlate_eval.tables import EvaluatedRun

_OMITTED = ("direction", "target_language")  # in the tables already
Entries = list[tuple[str, str]]


def recipe_tables(runs: Sequence[EvaluatedRun]) -> list[tuple[str, Entries]]:
    """Return sections of entries with titles: those of all runs first, then those in which they differ."""
    flat = {run.name: {d: _flatten(found["recipe"]) for d, found in run.scores.items()} for run in runs}
    everything = [recipe for recipes in flat.values() for recipe in recipes.values()]
    shared = _common(everything)
    sections = [("" if len(runs) == 1 else "All runs", list(shared.items()))]
    for name, recipes in flat.items():
        own = {key: value for key, value in _common([*recipes.values()]).items() if key not in shared}
        others = dict.fromkeys(key for recipe in recipes.values() for key in recipe if key not in {**shared, **own})
        differing = {key: _by_direction({d: recipe.get(key, "–") for d, recipe in recipes.items()}) for key in others}
        if own or differing:
            sections.append((name, [*own.items(), *differing.items()]))
    return [(title, entries) for title, entries in sections if entries]


def _common(recipes: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the entries that all recipes share."""
    first = recipes[0] if recipes else {}
    return {key: value for key, value in first.items() if all(recipe.get(key) == value for recipe in recipes)}


def _by_direction(values: Mapping[str, str]) -> str:
    """Return the values of directions in one text, with directions of the same value together."""
    grouped: dict[str, list[str]] = {}
    for direction, value in values.items():
        grouped.setdefault(value, []).append(direction.replace("-", "→"))
    return "; ".join(f"{', '.join(directions)}: {value}" for value, directions in grouped.items())


def _flatten(recipe: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the entries of a recipe as text, those of inner objects with a dotted name; empty ones are left out."""
    entries: dict[str, str] = {}
    for key, value in recipe.items():
        if isinstance(value, dict):
            entries |= _flatten(value, f"{prefix}{key}.")
        elif value is not None and not (key in _OMITTED and not prefix):
            entries[f"{prefix}{key}"] = _as_text(value)
    return entries


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
