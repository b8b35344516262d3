"""Recording of measurements with the machine they were made on, as JSON files in `eval/speed/results/`."""

import argparse
import json
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from voxlate.provenance import source_commit

RESULTS = Path(__file__).resolve().parent / "results"


def machine() -> dict[str, Any]:
    """Describe the machine and software: processor, memory, device, versions and commit."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "matrix_units": [name for name in ("avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8") if name in flags],
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "commit": source_commit(),
    }


def save_result(name: str, arguments: argparse.Namespace, result: dict[str, Any]) -> None:
    """Write a result with its arguments and the machine to `results/NAME.json` if `--keep` was given."""
    if arguments.keep:
        options = {key: value.name if isinstance(value, Path) else value for key, value in vars(arguments).items()}
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps({"asked": options, "machine": machine(), **result}, indent=1) + "\n"
        (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")


def median(runs: Sequence[dict[str, Any]], key: str) -> float:
    """Return the median of one entry over runs."""
    return float(statistics.median(run[key] for run in runs))
