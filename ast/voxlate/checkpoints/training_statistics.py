"""The lengths of the clips that a model was trained on, in the file training.json of its folder."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxlate.errors import VoxlateError
from voxlate.files import write_text
from voxlate.json_files import entry_exists, read_json, shown

TRAINING_FILE = "training.json"
_SECTIONS = {"clip_seconds": ("median", "q95", "max"), "tokens_per_second": ("q05", "median", "q95")}


@dataclass(frozen=True)
class TrainingStatistics:
    """Seconds of the training clips, and tokens of their translations (with ``</s>``, without tag) per second.

    q05 and q95 are the 5 % and 95 % quantiles.
    """

    median_seconds: float
    q95_seconds: float
    max_seconds: float
    q05_tokens_per_second: float
    median_tokens_per_second: float
    q95_tokens_per_second: float


# For models that do not say what they were trained on, such as those published for CoVoST-2, whose texts come without
# lengths. Its clips, those of Common Voice 4, last 5.3 s on average, 2.9 to 6.1 s in its languages (Wang et al. 2020,
# table 1). That site asks for at most 14 words and stops recording after 10 s, but some older clips are longer. In
# mBART-50's vocabulary, the English translations of the 13,509 German test clips have 7, 14 and 24 tokens at the 5 %,
# 50 % and 95 % quantiles. The range of rates is wider, since some of the target languages need more tokens.
COVOST2_STATISTICS = TrainingStatistics(4.8, 8.2, 15.0, 1.3, 2.9, 6.0)


def read_training_statistics(folder: Path) -> TrainingStatistics:
    """Return the statistics in a model folder, or those of CoVoST-2 if it has none. VoxlateError if they are wrong."""
    return stored_training_statistics(folder) or COVOST2_STATISTICS


def stored_training_statistics(folder: Path) -> TrainingStatistics | None:
    """Return the statistics in a model folder, or None if it has none. VoxlateError if they are wrong."""
    path = folder / TRAINING_FILE
    if not entry_exists(path):
        return None
    raw = read_json(path, "")
    values = [_number(raw, section, name, path) for section, names in _SECTIONS.items() for name in names]
    for section, ordered in zip(_SECTIONS, (values[:3], values[3:]), strict=True):
        if ordered != sorted(ordered):
            raise VoxlateError(f"{path}: {section} is {shown(raw[section])}; expected increasing numbers")
    return TrainingStatistics(*values)


def write_training_statistics(folder: Path, statistics: TrainingStatistics) -> None:
    """Write the statistics into a model folder."""
    fields = statistics
    sections = {
        "clip_seconds": {"median": fields.median_seconds, "q95": fields.q95_seconds, "max": fields.max_seconds},
        "tokens_per_second": {
            "q05": fields.q05_tokens_per_second,
            "median": fields.median_tokens_per_second,
            "q95": fields.q95_tokens_per_second,
        },
    }
    rounded = {
        section: {name: round(value, 3) for name, value in numbers.items()} for section, numbers in sections.items()
    }
    write_text(folder / TRAINING_FILE, json.dumps(rounded, indent=2) + "\n")


def _number(raw: Mapping[str, Any], section: str, name: str, path: Path) -> float:
    numbers = raw.get(section)
    value = numbers.get(name) if isinstance(numbers, dict) else None
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value <= 0:
        raise VoxlateError(f"{path}: {name} of {section} is {shown(value)}; expected a number above 0")
    return float(value)
