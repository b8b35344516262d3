"""Published systems for a list: selected by words, with short descriptions of what is known about them."""

from collections.abc import Sequence

from voxlate_eval import EvaluationError
from voxlate_eval.published import System, provenances, splits, systems

_TITLES = {"x-en": "X→en", "en-x": "en→X"}
_COUNTS = {"x-en": 21, "en-x": 15}  # directions of CoVoST-2


def sides(system: System) -> dict[str, tuple[str, ...]]:
    """Return a system's directions: those into English as x-en, and those from English as en-x."""
    known = tuple(name for name in splits() if name in system.scores)
    found = {"x-en": tuple(n for n in known if n.endswith("-en")), "en-x": tuple(n for n in known if n[:3] == "en-")}
    return {side: names for side, names in found.items() if names or f"avg-{side}" in system.scores}


def describe_directions(system: System) -> str:
    """Return the directions of a system for a table: their number, or their names if they are few."""
    parts = []
    for side, names in sides(system).items():
        listed = " ".join(name.replace("-", "→") for name in names)
        parts.append(f"{len(names)} {_TITLES[side]}" if len(names) > 4 else listed or f"average of {_TITLES[side]}")
    return ", ".join(parts) or "averages of some"


def describe_averages(system: System) -> str:
    """Return the average BLEU into and from English, as printed or else of the directions that are known."""
    parts = []
    for side, names in sides(system).items():
        printed = system.scores.get(f"avg-{side}")
        listed = next((key for key in system.scores if key.startswith("avg") and f"-{side}(" in key), None)
        if printed is None and listed is not None and len(names) > 1:
            printed = system.scores[listed]
        mean = sum(system.scores[name] for name in names) / len(names) if printed is None and names else printed or 0.0
        is_whole = f"avg-{side}" in system.scores or len(names) == _COUNTS[side]
        parts.append(f"{mean:.1f} {_TITLES[side]}" + ("" if is_whole else f" of {len(names)}"))
    return ", ".join(parts) or "–"


def name_test_sets(system: System) -> str:
    """Return the test sets of a system's scores."""
    found = {provenances()[key].scoring for key in system.provenance.values()}
    return ", ".join(sorted({"CoVoST" if scoring.startswith("CoVoST test") else "CoVoST-2" for scoring in found}))


def select_systems(words: Sequence[str]) -> list[System]:
    """Return the systems that match all words: directions, and parts of names. Raises EvaluationError if none does."""
    found = [system for system in systems().values() if all(_matches(system, word.lower()) for word in words)]
    if not found:
        raise EvaluationError(
            f"no published system for {' '.join(map(repr, words))}; voxlate published lists all {len(systems())}"
        )
    return found


def _matches(system: System, word: str) -> bool:
    if word in ("x-en", "en-x"):
        return word in sides(system)
    return word in system.scores if word in splits() else word in system.name.lower()
