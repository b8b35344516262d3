"""The training loop. It reads downward: what stands above happens first.

An update is `batches_per_update` batches of the plan, whatever the number of processes: each takes its part of them.
All randomness of a batch (dropout, masks) follows from the seed and the batch's number, and the learning rate from the
number of the update, so that nothing random has to be saved: resumed equals uninterrupted, also with other processes.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from rich.console import Console

from voxlate.checkpoints.model_folder import Checkpoint
from voxlate.config.schema import TrainConfig
from voxlate.data.batch_sampler import BatchSampler, SamplerState
from voxlate.data.batching import Batch, BatchMaker, Request, read_batches
from voxlate.errors import VoxlateError
from voxlate.hardware import without_cudnn_attention
from voxlate.models.cpu.malloc import FreedMemory
from voxlate.training import checkpoint as checkpoints
from voxlate.training.checkpoint import Progress
from voxlate.training.console import print_forgetting, print_scores, print_setup
from voxlate.training.distributed import autocast, distribute, gathered, start_processes, whole
from voxlate.training.encoder_states import cache_states
from voxlate.training.export import export
from voxlate.training.freezing import choose_trainable
from voxlate.training.frozen import keep_frozen
from voxlate.training.interrupts import Interrupts
from voxlate.training.objective import Objective
from voxlate.training.optimizer import learning_rate, make_optimizer
from voxlate.training.run_folder import BEST, check_data, flat_settings, open_run, write_environment
from voxlate.training.run_log import Record, Window
from voxlate.training.setup import build_augmentation, build_model, build_objective, build_plan, read_data
from voxlate.training.trackers import check_trackers
from voxlate.training.validation import DirectionScore, as_numbers, mean_bleu, validate

_NOT_FINITE = 10  # updates in a row without a finite gradient after which training stops
_NOT_READ = 3  # updates in a row without a single clip


@dataclass(frozen=True)
class Run:
    """What a run consists of. Nothing here changes but weights and moments; what does is in `Progress`."""

    config: TrainConfig
    accelerator: Accelerator
    checkpoint: Checkpoint  # the model with tokenizer and targets
    objective: Objective
    wrapped: Any  # the objective as it is called in training: itself, or wrapped by DDP
    skeleton: Objective | None  # see `gathered`
    optimizer: torch.optim.Optimizer
    plan: BatchSampler
    maker: BatchMaker
    dev: BatchMaker | None
    record: Record


@without_cudnn_attention()
def train(config: TrainConfig, console: Console) -> int:
    """Train to the end or to an interruption; return the exit code: 0 done, 130 interrupted (and can be resumed)."""
    check_trackers(config.log_with)
    accelerator = start_processes(config)
    folder = open_run(config) if accelerator.is_main_process else nullcontext()
    try:
        with folder, Interrupts() as interrupts:
            return _set_up_and_train(config, console, accelerator, interrupts)
    except OSError as error:
        what = f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
        raise VoxlateError(
            f"output {config.output} cannot be written ({what}); mend that and rerun the same command to resume from "
            "the last checkpoint"
        ) from None
    except torch.OutOfMemoryError as error:
        raise VoxlateError(
            f"the device's memory is full ({str(error).splitlines()[0]}); use a smaller data.batch_seconds (now "
            f"{config.data.batch_seconds:g}) and more data.batches_per_update, or gradient_checkpointing=true, "
            "trainable.preset=lna-ed or lora, or several processes with sharded=true"
        ) from None


def _set_up_and_train(config: TrainConfig, console: Console, accelerator: Accelerator, interrupts: Interrupts) -> int:
    data = read_data(config)
    checkpoint = build_model(config, data)
    objective, characters = build_objective(config, checkpoint, data)
    choose_trainable(objective, config.trainable, masks_time=checkpoint.model.encoder.masks_time)

    output, main = config.output, accelerator.is_main_process
    if main:
        checkpoints.clean(output)
    newest, refused = checkpoints.find_newest(output, accelerator)
    notes = check_data(config, checkpoint.tokenizer.path) if main else []
    progress = Progress(frozen=checkpoints.fingerprint(objective))
    if newest is not None:
        progress = checkpoints.read_resumed(newest)
        checkpoints.load_weights(newest, objective)
        keep_frozen(output, objective, checkpoint, characters, progress.frozen, accelerator, check=True)
    wrapped, skeleton = distribute(objective, config, accelerator)
    optimizer = make_optimizer(objective, config.optimizer, fused=not config.sharded)
    if newest is not None:
        checkpoints.load_moments(newest, objective, optimizer)

    normalize = checkpoint.model.encoder.normalize_waveform
    augmentation = build_augmentation(config)
    maker = BatchMaker(
        data.train,
        checkpoint.tokenizer,
        checkpoint.targets,
        normalize,
        characters,
        augmentation,
        max_tokens=checkpoint.model.decoder.config.max_positions,
    )
    dev = BatchMaker(data.dev, checkpoint.tokenizer, checkpoint.targets, normalize) if data.dev else None
    with Record(
        output,
        console,
        update=progress.update,
        updates=config.optimizer.updates,
        active=main,
        log_with=[] if progress.finished else config.log_with,
        settings=flat_settings(config),
    ) as record:
        for line in [*(f"{one}; taking the checkpoint before it" for one in refused), *notes]:
            record.say(f"warning: {line}", style="yellow")
        if progress.finished:
            record.say(f"{output}: finished at update {progress.update}; the model is {output / BEST}")
            return 0
        if main:
            write_environment(output, {"processes": accelerator.num_processes, "model": checkpoint.name})
        if config.trainable.cache_encoder:
            maker = replace(maker, states=cache_states(config, checkpoint.model.encoder, maker, accelerator, record))
        maker = replace(maker, rounds=accelerator.device.type == "cuda")
        print_setup(record, config, data, checkpoint, objective, progress, accelerator)
        plan = build_plan(config, data, checkpoint.model.decoder.config.max_positions)
        run = Run(config, accelerator, checkpoint, objective, wrapped, skeleton, optimizer, plan, maker, dev, record)
        return _loop(run, progress, interrupts)


def _loop(run: Run, progress: Progress, interrupts: Interrupts) -> int:
    config, accelerator = run.config, run.accelerator
    if progress.update == 0 and run.dev is not None and (config.validation.at_start or config.compares_directions):
        progress.before = as_numbers(_score(run, progress, "before training"))
    freed = FreedMemory(keep=accelerator.device.type == "cpu")
    window = Window(**progress.window)
    batches = _own_batches(run, progress.place)
    empty_in_a_row = 0
    while progress.update < config.optimizer.updates and not _stops_early(config, progress):
        micro_batches = list(islice(batches, config.data.batches_per_update // accelerator.num_processes))
        totals = _sum_over_processes(run, micro_batches, interrupts)
        empty_in_a_row = 0 if totals["tokens"] else empty_in_a_row + 1
        _name_unreadable(run, progress, micro_batches, totals, empty_in_a_row)
        losses, gradient_norm = _update(run, progress.update, micro_batches, totals)
        freed.bound()

        progress.update += 1
        progress.place = micro_batches[-1].end
        progress.audio_seconds += totals["seconds"]
        window.add(losses, totals, gradient_norm)
        if window.not_finite_in_a_row >= _NOT_FINITE:
            raise VoxlateError(
                f"the loss was not finite in {_NOT_FINITE} updates in a row, up to update {progress.update}; "
                "lower optimizer.lr, or look at the data: log.jsonl has the last good numbers"
            )
        if progress.update % config.log_every == 0 or progress.update == config.optimizer.updates:
            numbers = window.numbers(_learning_rate(config, progress.update - 1))
            run.record.event("train", progress.update, {**numbers, "epoch": progress.place.epoch})
            run.record.progress(progress.update, numbers)
            window = Window(not_finite_in_a_row=window.not_finite_in_a_row)
        else:
            run.record.progress(progress.update)

        last = progress.update == config.optimizer.updates
        if run.dev is not None and (last or progress.update % config.validation_updates == 0):
            _validate(run, progress)
        stopping = last or _stops_early(config, progress)
        progress.scheduled = stopping or progress.update % config.checkpoints.every_updates == 0
        if progress.scheduled or totals["interrupts"]:
            progress.finished, progress.window = stopping, window.as_dict()
            _save(run, progress)
        if totals["interrupts"] and not stopping:
            run.record.say(f"interrupted: saved at update {progress.update}; rerun the same command to resume")
            return 130
    _conclude(run, progress)
    return 0


def _save(run: Run, progress: Progress) -> None:
    """Write a checkpoint, and with the first one what else a model needs; remove those that are not kept."""
    config, accelerator = run.config, run.accelerator
    if progress.finished and run.dev is None:
        _export(run)
    checkpoints.save(config.output, run.objective, run.optimizer, progress, accelerator)
    if progress.scheduled:
        progress.scheduled_before = progress.update
    keep_frozen(config.output, run.objective, run.checkpoint, run.maker.characters, progress.frozen, accelerator)
    if accelerator.is_main_process:
        kept = config.checkpoints
        checkpoints.prune(
            config.output,
            keep_last=kept.keep_last,
            best=progress.best_update,
            keep_around_best=kept.keep_around_best,
            every_updates=kept.every_updates,
        )


def _own_batches(run: Run, start: SamplerState) -> Iterator[Batch]:
    """Yield this process's batches from a place on, update after update, made ahead by workers."""
    data, accelerator = run.config.data, run.accelerator

    def requests() -> Iterator[Request]:
        stream = run.plan.batches(start)
        while True:
            update = list(islice(stream, data.batches_per_update))
            last = update[-1][0]
            end = SamplerState(last.epoch, last.offset + 1, last.number + 1)
            for place, indices in update[accelerator.process_index :: accelerator.num_processes]:
                yield place, end, indices

    return read_batches(run.maker, requests(), workers=data.workers, pinned=accelerator.device.type == "cuda")


def _sum_over_processes(run: Run, micro_batches: list[Batch], interrupts: Interrupts) -> dict[str, float]:
    """Return what an update holds in all processes together: by these counts its sums are divided, once."""
    own = {
        "tokens": sum(batch.target_tokens for batch in micro_batches),
        "characters": sum(batch.characters for batch in micro_batches),
        "seconds": sum(batch.seconds for batch in micro_batches),
        "unreadable": sum(len(batch.unreadable) for batch in micro_batches),
        "interrupts": interrupts.count,
    }
    summed = run.accelerator.reduce(
        torch.tensor(list(own.values()), dtype=torch.float64, device=run.accelerator.device)
    )
    return dict(zip(own, summed.tolist(), strict=True))


def _update(
    run: Run, update: int, micro_batches: list[Batch], totals: dict[str, float]
) -> tuple[dict[str, float], float]:
    """Make one optimiser step; return the sums of the losses over all processes and the norm of the gradient."""
    config, accelerator = run.config, run.accelerator
    # Processes' gradients are averaged, so that each must be larger by their number to make a sum.
    scale = torch.tensor(
        [
            accelerator.num_processes / max(1.0, totals["tokens"]),
            accelerator.num_processes * config.loss.ctc_weight / max(1.0, totals["characters"]),
        ],
        device=accelerator.device,
    )
    frozen = update < config.trainable.freeze_encoder_updates
    translates = update >= config.loss.ctc_only_updates
    sums = torch.zeros(2, device=accelerator.device)
    for number, batch in enumerate(micro_batches, start=1):
        torch.manual_seed(_seed(config.seed, batch.place.number))
        with nullcontext() if number == len(micro_batches) else accelerator.no_sync(run.wrapped):
            with autocast(config, accelerator.device):
                losses = run.wrapped(batch.to(accelerator.device), encoder_frozen=frozen, translates=translates)
            accelerator.backward((losses * scale).sum())
        sums += losses.detach()
    parameters = [parameter for parameter in run.objective.parameters() if parameter.requires_grad]
    norm = float(whole(torch.nn.utils.clip_grad_norm_(parameters, config.optimizer.clip_norm)))
    if np.isfinite(norm):
        for group in run.optimizer.param_groups:
            group["lr"] = _learning_rate(config, update)
        run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    translation, spelling = accelerator.reduce(sums.double()).tolist()
    return {"translation": translation, "ctc": spelling}, norm


def _learning_rate(config: TrainConfig, update: int) -> float:
    return learning_rate(update, config.optimizer, begins_again=config.loss.ctc_only_updates)


def _seed(seed: int, number: int) -> int:
    """Return the seed of a batch: of a hash, so that neighbours have nothing in common."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> 1)


def _name_unreadable(
    run: Run, progress: Progress, micro_batches: list[Batch], totals: dict[str, float], empty_in_a_row: int
) -> None:
    """Count and name clips that could not be read, each once. VoxlateError where several updates have no other."""
    if not totals["unreadable"]:
        return
    own = [(run.maker.corpus[index].id, reason) for batch in micro_batches for index, reason in batch.unreadable]
    for name, reason in sorted(gather_object(own)):
        if name not in progress.unreadable:
            progress.unreadable[name] = reason
            run.record.say(f"warning: left out: {reason}", style="yellow")
            run.record.event("unreadable", progress.update + 1, {"id": name, "reason": reason})
    if empty_in_a_row == _NOT_READ:
        raise VoxlateError(
            f"no clip of {_NOT_READ} updates in a row, up to update {progress.update + 1}, can be read, such as: "
            f"{next(iter(progress.unreadable.values()))}; is the audio still where the manifest says?"
        )


def _score(run: Run, progress: Progress, title: str) -> dict[str, DirectionScore]:
    assert run.dev is not None
    output = run.config.output / "dev" / f"update-{progress.update:08}.jsonl"
    workers = run.config.data.workers
    with gathered(run.objective, run.skeleton) as objective, autocast(run.config, run.accelerator.device):
        scores = validate(objective, run.dev, run.config.validation, run.accelerator, workers=workers, output=output)
    values = {"mean_bleu": mean_bleu(scores), "directions": as_numbers(scores)}
    run.record.event("dev", progress.update, values)
    print_scores(run.record, f"dev {title}", scores)
    return scores


def _validate(run: Run, progress: Progress) -> None:
    """Score the dev sets, keep the model if it is the best so far."""
    scores = _score(run, progress, f"at update {progress.update}")
    progress.scores = as_numbers(scores)
    bleu = mean_bleu(scores)
    loss = sum(score.loss for score in scores.values())  # of equal BLEU, as at the beginning, the lower loss is better
    if progress.best is None or (bleu, -loss) > progress.best:
        progress.best, progress.best_update, progress.worse_in_a_row = (bleu, -loss), progress.update, 0
        _export(run)
        run.record.say(f"best so far: {run.config.output / BEST}")
    else:
        progress.worse_in_a_row += 1
        run.record.say(f"best: {progress.best[0]:.1f} at update {progress.best_update}")


def _stops_early(config: TrainConfig, progress: Progress) -> bool:
    patience = config.validation.patience
    return patience is not None and progress.worse_in_a_row >= patience


def _export(run: Run) -> None:
    export(run.config.output / BEST, run.objective, run.checkpoint, run.maker.characters, run.config, run.accelerator)


def _conclude(run: Run, progress: Progress) -> None:
    """Say what came of it: the model, the best score, and what other directions lost or won."""
    if progress.before:
        print_forgetting(run.record, run.config.output, progress)
    best = f" (mean dev BLEU {progress.best[0]:.1f} at update {progress.best_update})" if progress.best else ""
    early = f", stopped early after {progress.update} updates" if _stops_early(run.config, progress) else ""
    run.record.say(f"done{early}: the model is {run.config.output / BEST}{best}")
