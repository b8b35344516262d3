"""The folder of a run: its settings, its environment, and that only one process group writes into it."""

import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

import voxlate
from voxlate.config import TrainConfig, dump_config, read_config
from voxlate.data.audio import decoder_fingerprint
from voxlate.errors import VoxlateError
from voxlate.files import write_text
from voxlate.training.checkpoint import checkpoints

CONFIG, ENVIRONMENT = "config.yaml", "environment.json"
BEST = "best"
_PACKAGES = ("accelerate", "av", "datasets", "numpy", "peft", "sacrebleu", "safetensors", "tokenizers", "transformers")

# What may differ when a run goes on: it changes no weight, or only what comes later.
_FREE = ("output", "log_every", "device", "data.workers", "data.dev", "validation", "checkpoints", "sharded")


def open_run(config: TrainConfig) -> FileLock:
    """Make or open the folder, lock it, write the settings; releasing what is returned unlocks it.

    VoxlateError if it cannot be written, is in use, or belongs to a run with other settings.
    """
    run = config.output
    lock = FileLock(run / ".lock")
    try:
        run.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        if checkpoints(run) and (run / CONFIG).is_file():
            _check_same(run / CONFIG, config)
        write_text(run / CONFIG, dump_config(config))
    except Timeout:
        raise VoxlateError(f"output {run}: another run trains into it; wait for it, or use another output") from None
    except OSError as error:
        raise VoxlateError(f"output {run}: cannot be written ({error.strerror}); use another output") from None
    return lock


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


def _check_same(path: Path, config: TrainConfig) -> None:
    stored = _flat(read_config(path).model_dump(mode="json"))
    wanted = _flat(config.model_dump(mode="json"))
    differing = [
        f"{key} was {stored.get(key)!r}, is {wanted.get(key)!r}"
        for key in sorted(stored.keys() | wanted.keys())
        if stored.get(key) != wanted.get(key) and not any(key == free or key.startswith(f"{free}.") for free in _FREE)
    ]
    if differing:
        raise VoxlateError(
            f"output {path.parent} holds a run with other settings: {'; '.join(differing)}; "
            "take those back, or use another output"
        )


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
