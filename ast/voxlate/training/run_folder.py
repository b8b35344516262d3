"""Read, check and write a run folder: settings, environment, hashes of the data, and a lock."""

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
from voxlate.config.yaml_settings import format_value
from voxlate.errors import VoxlateError
from voxlate.files import file_sha256, locked, write_text
from voxlate.training.retention import list_checkpoints

CONFIG_FILE, ENVIRONMENT_FILE, DATA_FILE = "config.yaml", "environment.json", "data.json"
BEST = "best"
_PACKAGES = ("accelerate", "av", "datasets", "numpy", "peft", "sacrebleu", "safetensors", "tokenizers", "transformers")

# Settings that may differ when a run is resumed: they affect no weights, or only those of later updates.
_CHANGEABLE = (
    "output_dir",
    "log_every",
    "log_with",
    "device",
    "data.num_workers",
    "data.dev",
    "validation",
    "checkpoints",
    "sharded",
)
# Files that are compared by the hashes in DATA_FILE rather than by path.
_COMPARED_BY_CONTENT = ("data.train", "data.replay", "data.teacher", "model.scratch.vocabulary")


@contextmanager
def open_run(config: TrainConfig) -> Iterator[None]:
    """Create or open the run folder, lock it within a ``with`` block, and write the settings.

    VoxlateError if it cannot be written, is in use, or belongs to a run with other settings.
    """
    run = config.output_dir
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(run))
            if list_checkpoints(run) and (run / CONFIG_FILE).is_file():
                _check_settings(run, config)
            write_text(run / CONFIG_FILE, dump_config(config))
        except Timeout:
            raise VoxlateError(
                f"output_dir {run}: in use by another run; wait for it to end, or use another output_dir"
            ) from None
        except OSError as error:
            raise VoxlateError(
                f"output_dir {run}: cannot be written ({error.strerror}); use another output_dir"
            ) from None
        yield


def write_environment(run: Path, details: dict[str, Any]) -> None:
    """Write versions, hardware and command of a run, together with further `details`."""
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
        **details,
    }
    write_text(run / ENVIRONMENT_FILE, json.dumps(environment, indent=2, ensure_ascii=False) + "\n")


def read_run_config(run: Path) -> TrainConfig:
    """Return the settings of a run. VoxlateError if they are missing or damaged."""
    path = run / CONFIG_FILE
    if not path.is_file():
        raise VoxlateError(f"{path}: missing; expected a run folder written by voxlate train")
    try:
        return read_config(path, warn=False)
    except VoxlateError as error:
        raise VoxlateError(
            f"the settings of the run are damaged or of another version: {error}\n  remove {path} and rerun the "
            "voxlate train command of this run to restore it"
        ) from None


def check_data(config: TrainConfig, vocabulary: Path) -> list[str]:
    """Write the hashes of the data; return warnings about changes to the dev data.

    VoxlateError if a run that has checkpoints was trained on other data, or with another vocabulary.
    """
    path = config.output_dir / DATA_FILE
    data = config.data
    files = {"data.train": data.train, "data.replay": data.replay, "data.teacher": data.teacher, "data.dev": data.dev}
    files["vocabulary"] = [vocabulary]
    now = {name: [file_sha256(file) for file in paths] for name, paths in files.items()}
    before = _read_data(path) if path.exists() and list_checkpoints(config.output_dir) else now
    changed = [
        f"{name}: {_describe_change(files[name], before[name], hashes)}"
        for name, hashes in now.items()
        if before[name] != hashes
    ]
    dev_changes = [line for line in changed if line.startswith("data.dev:")]
    if len(changed) > len(dev_changes):
        raise VoxlateError(
            f"output_dir {config.output_dir} holds a run on other data: {'; '.join(changed)}; restore it, or use "
            "another output_dir"
        )
    write_text(path, json.dumps(now, indent=2) + "\n")
    return [f"{line}; the best score so far is that of the old data" for line in dev_changes]


def _describe_change(files: Sequence[Path], before: Sequence[str], now: Sequence[str]) -> str:
    """Return which files have other SHA-256 hashes than before."""
    if len(before) != len(now):
        return f"had {len(before)} files, has {len(now)}"
    return ", ".join(
        f"{file} has changed (SHA-256 was {old[:12]}…, is {new[:12]}…)"
        for file, old, new in zip(files, before, now, strict=True)
        if old != new
    )


def _read_data(path: Path) -> dict[str, list[str]]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        names = ("data.train", "data.replay", "data.teacher", "data.dev", "vocabulary")
        return {name: [str(digest) for digest in stored[name]] for name in names}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise VoxlateError(
            f"{path}: damaged; it holds the hashes of the data: remove it to resume without checking for changes"
        ) from None


def _check_settings(run: Path, config: TrainConfig) -> None:
    """Raise VoxlateError if a run was started with settings other than `config` that affect its weights."""
    changeable = (*_CHANGEABLE, *_COMPARED_BY_CONTENT) if (run / DATA_FILE).is_file() else _CHANGEABLE
    stored, current = flat_settings(read_run_config(run)), flat_settings(config)
    changed = [
        f"{key} was {format_value(stored.get(key))}, is {format_value(current.get(key))}"
        for key in sorted(stored.keys() | current.keys())
        if stored.get(key) != current.get(key)
        and not any(key == name or key.startswith(f"{name}.") for name in changeable)
    ]
    if changed:
        raise VoxlateError(
            f"output_dir {run} holds a run with other settings: {'; '.join(changed)}; restore them, or use another "
            "output_dir"
        )


def flat_settings(config: TrainConfig) -> dict[str, Any]:
    """Return every setting by its dotted name, such as optimizer.lr."""
    return _flatten(config.model_dump(mode="json"))


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
