"""The folder of a run: its settings, its environment, and that only one process group writes into it."""

import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from filelock import Timeout

import voxlate
from voxlate.audio.decoder_check import decoder_fingerprint
from voxlate.config.schema import TrainConfig, dump_config, read_config
from voxlate.config.yaml_settings import shown
from voxlate.errors import VoxlateError
from voxlate.files import file_sha256, locked, write_text
from voxlate.training.checkpoint import checkpoints

CONFIG, ENVIRONMENT, DATA = "config.yaml", "environment.json", "data.json"
BEST = "best"
_PACKAGES = ("accelerate", "av", "datasets", "numpy", "peft", "sacrebleu", "safetensors", "tokenizers", "transformers")

# What may differ when a run is resumed: it changes no weight, or only what comes later.
_FREE = (
    "output",
    "log_every",
    "log_with",
    "device",
    "data.workers",
    "data.dev",
    "validation",
    "checkpoints",
    "sharded",
)
# Files that are the same by what they hold, wherever they lie: DATA has their hashes.
_BY_CONTENT = ("data.train", "data.replay", "data.teacher", "model.scratch.vocabulary")


@contextmanager
def open_run(config: TrainConfig) -> Iterator[None]:
    """Make or open the folder, keep it to this run in a block, and write the settings.

    VoxlateError if it cannot be written, is in use, or belongs to a run with other settings.
    """
    run = config.output
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(run))
            if checkpoints(run) and (run / CONFIG).is_file():
                _check_same(run / CONFIG, config)
            write_text(run / CONFIG, dump_config(config))
        except Timeout:
            raise VoxlateError(
                f"output {run}: another run trains into it; wait for it, or use another output"
            ) from None
        except OSError as error:
            raise VoxlateError(f"output {run}: cannot be written ({error.strerror}); use another output") from None
        yield


def write_environment(run: Path, facts: dict[str, Any]) -> None:
    """Write what the run's numbers depend on besides its settings; `facts` join what this machine is."""
    environment = {
        "voxlate": voxlate.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "packages": {name: _version(name) for name in _PACKAGES},
        "audio_decoder": decoder_fingerprint(),
        "devices": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())] or ["cpu"],
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        **facts,
    }
    write_text(run / ENVIRONMENT, json.dumps(environment, indent=2, ensure_ascii=False) + "\n")


def read_run_config(run: Path) -> TrainConfig:
    """Return the settings of a run. VoxlateError says what to do where they are missing or damaged."""
    path = run / CONFIG
    if not path.is_file():
        raise VoxlateError(f"{path}: missing; expected a run folder written by voxlate train")
    try:
        return read_config(path)
    except VoxlateError as error:
        raise VoxlateError(
            f"the settings of the run are damaged or another version's: {error}\n  remove {path}, and the voxlate "
            "train command of this run writes it again"
        ) from None


def check_data(config: TrainConfig, vocabulary: Path) -> list[str]:
    """Note the hashes of what is learnt from; return warnings of what has changed and matters little.

    VoxlateError if a run that has checkpoints was trained on other data, or with another vocabulary.
    """
    path = config.output / DATA
    data = config.data
    files = {"data.train": data.train, "data.replay": data.replay, "data.teacher": data.teacher, "data.dev": data.dev}
    files["vocabulary"] = [vocabulary]
    now = {name: [file_sha256(file) for file in paths] for name, paths in files.items()}
    before = _read_data(path) if path.exists() and checkpoints(config.output) else now
    changed = [
        f"{name}: {_change(files[name], before[name], hashes)}"
        for name, hashes in now.items()
        if before[name] != hashes
    ]
    warnings = [line for line in changed if line.startswith("data.dev:")]
    if len(changed) > len(warnings):
        raise VoxlateError(
            f"output {config.output} holds a run on other data: {'; '.join(changed)}; put back what it was, or use "
            "another output"
        )
    write_text(path, json.dumps(now, indent=2) + "\n")
    return [f"{line}; the best score so far is of the old data" for line in warnings]


def _change(files: Sequence[Path], before: Sequence[str], now: Sequence[str]) -> str:
    if len(before) != len(now):
        return f"had {len(before)} files, has {len(now)}"
    return ", ".join(
        f"{file} has changed (SHA-256 was {old[:12]}…, is {new[:12]}…)"
        for file, old, new in zip(files, before, now, strict=True)
        if old != new
    )


def _read_data(path: Path) -> dict[str, list[str]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        names = ("data.train", "data.replay", "data.teacher", "data.dev", "vocabulary")
        return {name: [str(digest) for digest in found[name]] for name in names}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise VoxlateError(
            f"{path}: damaged; it tells whether the data has changed: remove it to resume without knowing"
        ) from None


def _check_same(path: Path, config: TrainConfig) -> None:
    free = (*_FREE, *_BY_CONTENT) if (path.parent / DATA).is_file() else _FREE
    stored, wanted = flat_settings(read_run_config(path.parent)), flat_settings(config)
    differing = [
        f"{key} was {shown(stored.get(key))}, is {shown(wanted.get(key))}"
        for key in sorted(stored.keys() | wanted.keys())
        if stored.get(key) != wanted.get(key) and not any(key == one or key.startswith(f"{one}.") for one in free)
    ]
    if differing:
        raise VoxlateError(
            f"output {path.parent} holds a run with other settings: {'; '.join(differing)}; "
            "take those back, or use another output"
        )


def flat_settings(config: TrainConfig) -> dict[str, Any]:
    """Return every setting by its name with dots, such as optimizer.lr."""
    return _flat(config.model_dump(mode="json"))


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
