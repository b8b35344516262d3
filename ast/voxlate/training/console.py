"""Tables on the console: what will be trained on what, and what came of it."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from accelerate import Accelerator

from voxlate.checkpoints.model_folder import Checkpoint
from voxlate.config.schema import TrainConfig
from voxlate.files import write_text
from voxlate.hardware import has_bfloat16_products
from voxlate.training.checkpoint import Progress
from voxlate.training.objective import Objective
from voxlate.training.run_log import Record
from voxlate.training.setup import Data, forgets, memory_estimate, parameter_table, unknown_characters
from voxlate.training.validation import DirectionScore, mean_bleu

BEFORE_AFTER = "before_after.json"


def print_setup(
    record: Record,
    config: TrainConfig,
    data: Data,
    checkpoint: Checkpoint,
    objective: Objective,
    progress: Progress,
    accelerator: Accelerator,
) -> None:
    """Print directions with their shares, what was left out, parameters, memory, and where the run stands."""
    sampling = [
        (name, f"{count:,}", f"{hours:.2f}", f"{share:.1%}", f"{times:.2f}")
        for name, count, hours, share, times in data.sampling.table()
    ]
    record.table("training data", ("direction", "utterances", "hours", "share", "times an epoch"), sampling)
    for reason, count in sorted(data.train.drops.items()):
        record.say(f"left out of training: {count:,} {reason}")
    marked = Counter(data.train.texts("split"))
    for split in ("dev", "test"):
        if marked[split]:
            record.say(f"warning: {marked[split]:,} utterances of data.train are marked {split}", style="yellow")
    if (forgotten := forgets(config, checkpoint, data)) is not None:
        record.say(f"warning: {forgotten}", style="yellow")
    unknown, count = unknown_characters(data.train, checkpoint.tokenizer)
    if unknown:
        shown = f"{' '.join(unknown[:20])}{' …' if len(unknown) > 20 else ''}"
        record.say(
            f"warning: the vocabulary lacks {len(unknown):,} characters of the translations ({shown}), which {count:,} "
            "of them have: the model will not write them; one with another vocabulary could",
            style="yellow",
        )
    if data.dev is not None:
        record.say(f"dev: {len(data.dev):,} utterances of {', '.join(sorted(data.dev.directions))}")
    parameters = [
        (part, f"{total / 1e6:.2f}M", f"{learning / 1e6:.2f}M", f"{learning / total:.1%}")
        for part, total, learning in parameter_table(objective)
    ]
    record.table(f"parameters (preset {config.trainable.preset})", ("part", "all", "trained", "share"), parameters)
    processes = accelerator.num_processes
    estimate = memory_estimate(config, objective, processes)
    listed = ", ".join(f"{name} {gibibytes:.2f}" for name, gibibytes in estimate.items())
    record.say(f"memory of each process, estimated: {sum(estimate.values()):.2f} GiB ({listed})")
    if config.precision == "bfloat16" and accelerator.device.type == "cpu" and not has_bfloat16_products():
        record.say(
            "warning: this processor has no products in bfloat16 and imitates them, many times slower than with "
            "precision=float32",
            style="yellow",
        )
    if data.dev is not None and config.validation_updates != config.validation.every_updates:
        record.say(
            f"validating every {config.validation_updates} updates: the run is shorter than validation.every_updates "
            f"({config.validation.every_updates})"
        )
    shared = f"{processes} processes{', sharded' if config.sharded else ''}" if processes > 1 else "1 process"
    start = f"going on from update {progress.update}" if progress.update else "starting"
    record.say(f"{start}: {config.optimizer.updates} updates on {shared}, into {config.output}")


def print_scores(record: Record, title: str, scores: Mapping[str, DirectionScore]) -> None:
    """Print the scores of each direction and their mean."""
    rows = [
        (direction, f"{score.bleu:.1f}", f"{score.loss:.3f}", f"{score.utterances:,}", f"{score.failed or ''}")
        for direction, score in scores.items()
    ]
    if len(rows) > 1:
        rows.append(("mean", f"{mean_bleu(scores):.1f}", "", "", ""))
    record.table(title, ("direction", "BLEU", "loss", "utterances", "no audio"), rows)


def print_forgetting(record: Record, output: Path, progress: Progress) -> None:
    """Print and write each direction's dev BLEU before and after training."""
    compared = [
        (direction, float(progress.before[direction]["bleu"]), float(after["bleu"]))
        for direction, after in sorted(progress.scores.items())
        if direction in progress.before  # dev sets may have changed on the way
    ]
    cells = [(name, f"{old:.1f}", f"{new:.1f}", f"{new - old:+.1f}") for name, old, new in compared]
    record.table("dev BLEU before and after", ("direction", "before", "after", "change"), cells)
    rows = [{"direction": name, "before": old, "after": new, "change": new - old} for name, old, new in compared]
    write_text(output / BEFORE_AFTER, json.dumps(rows, indent=2) + "\n")
