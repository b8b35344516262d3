"""Print tables and warnings before training, after validation, and at the end."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from accelerate import Accelerator

from voxlate.checkpoints.model_folder import Checkpoint, listed_directions
from voxlate.config.schema import TrainConfig
from voxlate.data.corpus import Corpus
from voxlate.files import write_text
from voxlate.hardware import has_bfloat16_products
from voxlate.tokenizer import UNK_ID, Tokenizer
from voxlate.training.memory_estimate import count_parameters, estimate_memory
from voxlate.training.objective import Objective
from voxlate.training.run_log import RunLog
from voxlate.training.setup import TrainingData
from voxlate.training.training_state import TrainingState
from voxlate.training.validation import DirectionScore, mean_bleu

BEFORE_AFTER_FILE = "before_after.json"


def print_setup(
    log: RunLog,
    config: TrainConfig,
    data: TrainingData,
    checkpoint: Checkpoint,
    objective: Objective,
    state: TrainingState,
    accelerator: Accelerator,
) -> None:
    """Print the directions with their shares, dropped utterances, parameters, memory, and where training starts."""
    _print_data(log, config, data, checkpoint)
    parameters = [
        (part, f"{total / 1e6:.2f}M", f"{trained / 1e6:.2f}M", f"{trained / total:.1%}")
        for part, total, trained in count_parameters(objective)
    ]
    log.table(f"parameters (preset {config.trainable.preset})", ("part", "all", "trained", "share"), parameters)
    processes = accelerator.num_processes
    estimate = estimate_memory(config, objective, processes, config.data.known_batch_seconds)
    parts = ", ".join(f"{name} {gibibytes:.2f}" for name, gibibytes in estimate.items())
    log.message(f"estimated memory per process: {sum(estimate.values()):.2f} GiB ({parts})")
    if config.precision.startswith("bfloat16") and accelerator.device.type == "cpu" and not has_bfloat16_products():
        log.warning(
            "this processor has no bfloat16 instructions and emulates them, many times slower than precision=float32"
        )
    if data.dev is not None and config.validation_updates != config.validation.every_updates:
        log.message(
            f"validating every {config.validation_updates} updates: the run is shorter than validation.every_updates "
            f"({config.validation.every_updates})"
        )
    shared = f"{processes} processes{', sharded' if config.sharded else ''}" if processes > 1 else "1 process"
    start = f"resuming from update {state.update}" if state.update else "starting"
    log.message(f"{start}: {config.optimizer.max_updates} updates on {shared}, into {config.output_dir}")


def _print_data(log: RunLog, config: TrainConfig, data: TrainingData, checkpoint: Checkpoint) -> None:
    sampling = [
        (name, f"{count:,}", f"{hours:.2f}", f"{share:.1%}", f"{times:.2f}")
        for name, count, hours, share, times in data.sampling.table()
    ]
    log.table("training data", ("direction", "utterances", "hours", "share", "draws per epoch"), sampling)
    for reason, count in sorted(data.train.drops.items()):
        log.message(f"left out of training: {count:,} {reason}")
    splits = Counter(data.train.texts("split"))
    for split in ("dev", "test"):
        if splits[split]:
            log.warning(f"{splits[split]:,} utterances of data.train are marked {split}")
    forgetting = forgetting_warning(config, checkpoint, data)
    if forgetting is not None:
        log.warning(forgetting)
    unknown, count = unknown_characters(data.train, checkpoint.tokenizer)
    if unknown:
        listed = f"{' '.join(unknown[:20])}{' …' if len(unknown) > 20 else ''}"
        log.warning(
            f"the vocabulary lacks {len(unknown):,} characters that occur in {count:,} of the translations ({listed}): "
            "the model cannot write them; use a model with another vocabulary if they matter"
        )
    if data.dev is not None:
        log.message(f"dev: {len(data.dev):,} utterances of {', '.join(sorted(data.dev.directions))}")


def forgetting_warning(config: TrainConfig, checkpoint: Checkpoint, data: TrainingData) -> str | None:
    """Return a warning about directions that fine-tuning will make the model forget, or None if there are none."""
    if config.model.init_from is None:
        return None
    trained = {*data.train.directions}
    model_directions = {*listed_directions(checkpoint.folder)}
    forgotten = (
        ", ".join(sorted(model_directions - trained)) if model_directions else "any other direction that it supports"
    )
    if not forgotten or (config.data.replay and not model_directions):
        return None
    return (
        f"training {config.model.init_from} on {', '.join(sorted(trained))} alone will make it forget {forgotten}; add "
        "data of the directions to keep to data.replay"
    )


def unknown_characters(corpus: Corpus, tokenizer: Tokenizer) -> tuple[str, int]:
    """Return the characters of the training targets that the vocabulary lacks, and the number of texts with any."""
    texts = [*(corpus.teacher.values() or corpus.texts("target_text"))]
    unknown = {character for character in set().union(*texts) if UNK_ID in tokenizer.encode(character)}
    return "".join(sorted(unknown)), sum(not unknown.isdisjoint(text) for text in texts) if unknown else 0


def print_scores(log: RunLog, title: str, scores: Mapping[str, DirectionScore]) -> None:
    """Print the scores of each direction and their mean."""
    rows = [
        (direction, f"{score.bleu:.1f}", f"{score.loss:.3f}", f"{score.utterances:,}", f"{score.failed or ''}")
        for direction, score in scores.items()
    ]
    if len(rows) > 1:
        rows.append(("mean", f"{mean_bleu(scores):.1f}", "", "", ""))
    log.table(title, ("direction", "BLEU", "loss", "utterances", "no audio"), rows)


def print_before_after(log: RunLog, output_dir: Path, state: TrainingState) -> None:
    """Print and write the dev BLEU of each direction before and after training."""
    compared = [
        (direction, float(state.initial_scores[direction]["bleu"]), float(after["bleu"]))
        for direction, after in sorted(state.latest_scores.items())
        if direction in state.initial_scores  # the dev sets may have changed when the run was resumed
    ]
    cells = [(name, f"{old:.1f}", f"{new:.1f}", f"{new - old:+.1f}") for name, old, new in compared]
    log.table("dev BLEU before and after", ("direction", "before", "after", "change"), cells)
    rows = [{"direction": name, "before": old, "after": new, "change": new - old} for name, old, new in compared]
    write_text(output_dir / BEFORE_AFTER_FILE, json.dumps(rows, indent=2) + "\n")
