"""Measure the speed of one card: `gpu.sh` describes what, and starts this program.

Every stage is measured by itself: if one fails, its error is part of the result, and the next one runs.
"""

import argparse
import gc
import json
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from speed.build_full_size import SIZES
from speed.card_run import CardRun
from speed.gpu_rates import busy, rates, roofline
from speed.gpu_training import trainer, training, training_bfloat16_weights, training_busy, training_compiled
from speed.gpu_translation import (
    latency,
    other_sizes,
    parity_with_cpu,
    parity_with_transformers,
    transformers_translation,
    translation,
)
from speed.record import RESULTS, machine
from voxlate.hardware import choose_device, device_name

# Stages with the seconds that a GPU may need for each. What matters most comes first; a stage for which there is too
# little time is left out.
STAGES: dict[str, tuple[Callable[[CardRun], dict[str, Any]], float]] = {
    "rates": (rates, 0),
    "parity_with_cpu": (parity_with_cpu, 10),
    "parity_with_transformers": (parity_with_transformers, 10),
    "translation": (translation, 10),
    "transformers": (transformers_translation, 10),
    "roofline": (roofline, 0),
    "training": (training, 25),
    "trainer": (trainer, 30),
    "training_bfloat16_weights": (training_bfloat16_weights, 20),
    "latency": (latency, 10),
    "busy": (busy, 15),
    "training_busy": (training_busy, 30),
    "other_sizes": (other_sizes, 45),
    "training_compiled": (training_compiled, 75),
}


def card_name(device: torch.device) -> str:
    """Return the name of the card, "CPU" without one."""
    return "CPU" if device.type == "cpu" else device_name(device)


def run_stages(run: CardRun, output: Path) -> list[str]:
    """Run all stages, and write the results after each; return the names of those that failed."""
    failed = []
    chosen = run.arguments.stages or [*STAGES]
    for name in [stage for stage in STAGES if stage in chosen]:
        started = time.monotonic()
        stage, needed = STAGES[name]
        if run.seconds_left() < needed:
            run.results[name] = {"skipped": "no time left"}
        else:
            try:
                run.results[name] = stage(run)
            except Exception as error:  # the next stage may work
                failed.append(name)
                run.results[name] = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
        gc.collect()
        run.reset_peak_memory()
        run.results.setdefault("stage_seconds", {})[name] = time.monotonic() - started
        print(f"{name}: {json.dumps(run.results[name], default=str)[:1500]}", file=sys.stderr, flush=True)
        contents = {"card": card_name(run.device), "size": run.arguments.size, "quick": run.arguments.quick}
        contents |= {"machine": machine(), "seconds": time.monotonic() - run.started, **run.results}
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")
    return failed


def main() -> None:
    """Run the stages and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="measure less, in about half the time")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--size", choices=["tiny", *SIZES], help="size of the random model; default: 300m, tiny on a CPU"
    )
    parser.add_argument("--stages", nargs="+", choices=[*STAGES], help="run only these stages")
    parser.add_argument("--parity-data", type=Path, help="manifest of clips for the parity of the demo's model")
    parser.add_argument("--work", type=Path, help="folder for model and clips, which are kept and reused")
    parser.add_argument("--output", type=Path, help="JSON file; default: results/gpu-CARD.json")
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    arguments.size = arguments.size or ("tiny" if device.type == "cpu" else "300m")
    slug = re.sub(r"[^a-z0-9]+", "-", card_name(device).lower()).strip("-")
    output = arguments.output or RESULTS / f"gpu-{slug}.json"
    with tempfile.TemporaryDirectory() as temporary:
        failed = run_stages(CardRun(arguments, device, arguments.work or Path(temporary)), output)
    print(output)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}; {output} has the errors")


if __name__ == "__main__":
    main()
