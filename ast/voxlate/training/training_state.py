"""The state of a run besides weights and optimizer: position in the data, best score, and so on, stored as JSON."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from voxlate.data.batch_sampler import SamplerState
from voxlate.errors import VoxlateError

STATE_FILE = "state.json"
# Names that fields had in older checkpoints.
_RENAMED_FIELDS = {
    "place": "sampler_state",
    "best": "best_score",
    "worse_in_a_row": "validations_since_best",
    "frozen": "frozen_fingerprint",
    "before": "initial_scores",
    "scores": "latest_scores",
    "window": "log_sums",
    "scheduled_before": "previous_scheduled",
}


@dataclass
class TrainingState:
    """All state of training except weights and optimizer state."""

    update: int = 0
    sampler_state: SamplerState = field(default_factory=SamplerState)
    audio_seconds: float = 0.0
    best_score: tuple[float, float] | None = None  # mean BLEU, and the negative sum of the losses
    best_update: int | None = None
    validations_since_best: int = 0
    finished: bool = False
    frozen_fingerprint: str = ""  # of the weights that are not trained, which checkpoints do not contain
    unreadable: dict[str, str] = field(default_factory=dict)  # utterance id to reason
    initial_scores: dict[str, dict[str, Any]] = field(default_factory=dict)  # by direction, before the first update
    latest_scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    log_sums: dict[str, Any] = field(default_factory=dict)  # since the last line of the log
    scheduled: bool | None = None  # whether this checkpoint was due rather than written by an interruption
    previous_scheduled: int | None = None  # update of the scheduled checkpoint before this one


def write_training_state(folder: Path, state: TrainingState, files: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write the state and the checksums of a checkpoint's other files; return the path of the JSON file."""
    contents: dict[str, Any] = {"progress": asdict(state), "files": dict(files)}
    contents["sha256"] = _checksum(contents)
    path = folder / STATE_FILE
    path.write_text(json.dumps(contents, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_training_state(folder: Path) -> TrainingState:
    """Return the state stored in a checkpoint of this or an older version. VoxlateError if it is damaged."""
    contents = _read_contents(folder)
    try:
        stored = contents["progress"]
        fields = {_RENAMED_FIELDS.get(name, name): value for name, value in stored.items()}
        best = fields["best_score"] and tuple(fields["best_score"])
        return TrainingState(**{**fields, "sampler_state": SamplerState(**fields["sampler_state"]), "best_score": best})
    except (KeyError, TypeError, AttributeError):
        raise VoxlateError(f"{folder / STATE_FILE}: not the state of a checkpoint") from None


def read_checksums(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the size and SHA-256 of each of a checkpoint's other files. VoxlateError if the JSON file is damaged."""
    checksums = _read_contents(folder).get("files")
    if not isinstance(checksums, dict):
        raise VoxlateError(f"{folder / STATE_FILE}: not the state of a checkpoint")
    return checksums


def _read_contents(folder: Path) -> dict[str, Any]:
    path = folder / STATE_FILE
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise VoxlateError(f"{path}: cannot be read ({type(error).__name__})") from None
    if not isinstance(contents, dict):
        raise VoxlateError(f"{path}: not the state of a checkpoint")
    if contents.get("sha256", _checksum(contents)) != _checksum(contents):  # older versions wrote none
        raise VoxlateError(f"{path}: does not match the SHA-256 that it contains; it was altered")
    return contents


def _checksum(contents: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the contents without their checksum."""
    unsigned = {name: value for name, value in contents.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(unsigned, sort_keys=True).encode()).hexdigest()
