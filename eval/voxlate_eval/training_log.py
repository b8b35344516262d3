"""Read the log of a training run, `log.jsonl`, for its page."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxlate_eval.strict_json import is_number, one_line

# The numbers of the lines "train", in the order of the page.
NUMBERS = ("loss", "ctc", "lr", "gradient_norm", "audio_s/s", "epoch")
_DIRECTION_NUMBERS = ("bleu", "loss", "utterances", "failed")


@dataclass(frozen=True)
class TrainingLine:
    """The numbers of a line, by name: means over the updates since the line before. `skipped` counts updates."""

    update: int
    numbers: dict[str, float]
    skipped: int = 0


@dataclass(frozen=True)
class Validation:
    """The scores of the dev sets at an update: numbers by direction, such as bleu and loss."""

    update: int
    directions: dict[str, dict[str, float]]

    @property
    def mean_bleu(self) -> float:
        """The unweighted mean of BLEU over the directions."""
        return mean([found["bleu"] for found in self.directions.values()])

    @property
    def mean_loss(self) -> float | None:
        """The unweighted mean of the loss over the directions, None if one has no finite loss."""
        losses = [found["loss"] for found in self.directions.values() if "loss" in found]
        return mean(losses) if len(losses) == len(self.directions) else None


@dataclass
class TrainingLog:
    """The lines of a log in the order of their updates."""

    lines: list[TrainingLine] = field(default_factory=list)
    validations: list[Validation] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)  # why clips were left out
    invalid: int = 0  # lines that are none of these

    @property
    def update(self) -> int:
        """The last update that the log knows."""
        return max([line.update for line in self.lines] + [found.update for found in self.validations], default=0)

    @property
    def directions(self) -> list[str]:
        """All directions of the validations."""
        return sorted({direction for found in self.validations for direction in found.directions})

    def curve(self, name: str) -> list[tuple[float, float]]:
        """Return the updates and values of a number of the training lines."""
        return [(line.update, line.numbers[name]) for line in self.lines if name in line.numbers]


def read_training_log(path: Path) -> TrainingLog:
    """Read a log. A line that is incomplete, damaged or unknown is counted: it never ends a training run."""
    log = TrainingLog()
    for text in path.read_bytes().split(b"\n") if path.is_file() else []:
        if text.strip():
            log.invalid += not _add(log, text)
    log.lines.sort(key=lambda line: line.update)
    log.validations.sort(key=lambda found: found.update)
    return log


def mean(values: Sequence[float]) -> float:
    """Return the mean of at least one value."""
    return sum(values) / len(values)


def _add(log: TrainingLog, text: bytes) -> bool:
    """Add a line to a log; return whether it is valid. Numbers that are not finite are left out."""
    try:
        line = json.loads(text)
        event, update = line["event"], line["update"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    if type(update) is not int or update < 0:
        return False
    match event, line:
        case "train", _:
            numbers = {name: float(line[name]) for name in NUMBERS if is_number(line.get(name))}
            skipped = line.get("skipped", 0)
            log.lines.append(TrainingLine(update, numbers, int(skipped) if is_number(skipped) else 0))
        case "dev", {"directions": dict(directions)}:
            known = {one_line(name): _numbers(found) for name, found in directions.items()}
            scored = {name: found for name, found in known.items() if "bleu" in found}
            if not scored:
                return False
            log.validations.append(Validation(update, scored))
        case "unreadable", {"reason": str(reason)}:
            log.unreadable.append(one_line(reason))
        case _:
            return False
    return True


def _numbers(found: Any) -> dict[str, float]:
    values = found if isinstance(found, dict) else {}
    return {name: float(values[name]) for name in _DIRECTION_NUMBERS if is_number(values.get(name))}
