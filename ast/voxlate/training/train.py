"""The training loop, written to be read from top to bottom.

An update consists of `batches_per_update` batches, divided among the processes.
The randomness of a batch (dropout, masking) depends only on the seed and the number of the batch, and the learning rate
only on the number of the update. So no random state has to be saved, and a resumed run equals an uninterrupted one,
even with another number of processes.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from rich.console import Console
from torch import Tensor

from voxlate.config.schema import TrainConfig
from voxlate.data.batch_sampler import SamplerState
from voxlate.data.batching import Batch, BatchRequest, CachedStatesBatchMaker, read_batches
from voxlate.errors import VoxlateError
from voxlate.hardware import without_cudnn_attention
from voxlate.models.cpu.malloc import FreedMemory
from voxlate.training.batch_size import with_batch_size
from voxlate.training.checkpoint import (
    find_newest_intact,
    frozen_fingerprint,
    load_optimizer_state,
    load_state,
    load_weights,
    write_checkpoint,
)
from voxlate.training.distributed import (
    autocast,
    data_workers,
    distribute,
    gathered_objective,
    make_accelerator,
    make_host_group,
)
from voxlate.training.encoder_states import compute_encoder_states
from voxlate.training.export import export_model
from voxlate.training.freezing import choose_trainable
from voxlate.training.frozen_weights import write_frozen_weights
from voxlate.training.interrupts import InterruptCounter
from voxlate.training.optimizer import learning_rate, make_optimizer
from voxlate.training.retention import prune, remove_partial_checkpoints
from voxlate.training.run_folder import BEST, check_data, flat_settings, open_run, write_environment
from voxlate.training.run_log import LogSums, RunLog
from voxlate.training.run_summary import print_before_after, print_scores, print_setup
from voxlate.training.setup import build_batch_makers, build_batch_sampler, build_model, build_objective, read_data
from voxlate.training.trackers import check_trackers
from voxlate.training.training_run import TrainingRun
from voxlate.training.training_state import TrainingState
from voxlate.training.update import read_updates, sum_over_processes, train_update
from voxlate.training.validation import DirectionScore, mean_bleu, scores_as_dicts, validate

_MAX_SKIPPED = 10  # consecutive updates without a finite gradient after which training stops
_MAX_EMPTY = 3  # consecutive updates without a readable clip after which training stops


@without_cudnn_attention()
def train(config: TrainConfig, console: Console, *, keep_freed_memory: bool = False) -> int:
    """Train to the end or to an interruption; return the exit code: 0 done, 130 interrupted (and can be resumed).

    `keep_freed_memory` makes training on a CPU faster, but changes the process's malloc settings permanently.
    The random state of torch is restored at the end. VoxlateError if the settings, data or output folder are invalid,
    or memory runs out.
    """
    check_trackers(config.log_with)
    accelerator = make_accelerator(config)
    lock = open_run(config) if accelerator.is_main_process else nullcontext()
    kind = accelerator.device.type if accelerator.device.type in ("cuda", "xpu") else "cuda"
    gpus = [accelerator.device] if accelerator.device.type == kind else []
    try:
        with lock, InterruptCounter() as interrupts, torch.random.fork_rng(gpus, device_type=kind):
            return _set_up_and_train(config, console, accelerator, interrupts, keep_freed_memory=keep_freed_memory)
    except OSError as error:
        reason = f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
        raise VoxlateError(
            f"output_dir {config.output_dir} cannot be written ({reason}); fix that and rerun the same command to "
            "resume from the last checkpoint"
        ) from None
    except torch.OutOfMemoryError as error:
        raise VoxlateError(
            f"the device is out of memory ({str(error).splitlines()[0]}); use a smaller data.batch_seconds (now "
            f"{config.data.shown_batch_seconds}) and more data.batches_per_update, or gradient_checkpointing=true, "
            "trainable.preset=lna-ed or lora, or several processes with sharded=true"
        ) from None


def _set_up_and_train(
    config: TrainConfig,
    console: Console,
    accelerator: Accelerator,
    interrupts: InterruptCounter,
    *,
    keep_freed_memory: bool,
) -> int:
    """Build the run, resume it from the newest checkpoint, and train; return the exit code."""
    data = read_data(config)
    checkpoint = build_model(config, data)
    objective, characters = build_objective(config, checkpoint, data)
    choose_trainable(objective, config.trainable, masks_time=checkpoint.model.encoder.masks_time)

    output_dir, is_main = config.output_dir, accelerator.is_main_process
    if is_main:
        remove_partial_checkpoints(output_dir)
    newest, damaged = find_newest_intact(output_dir, accelerator)
    data_warnings = check_data(config, checkpoint.tokenizer.path) if is_main else []
    state = TrainingState(frozen_fingerprint=frozen_fingerprint(objective))
    if newest is not None:
        state = load_state(newest)
        load_weights(newest, objective)
        write_frozen_weights(
            output_dir, objective, checkpoint, characters, state.frozen_fingerprint, accelerator, verify=True
        )
    wrapped, skeleton, working_copy = distribute(objective, config, accelerator)
    computing = objective if working_copy is None else working_copy.objective
    config, data, batch_size = with_batch_size(config, data, computing, accelerator, resumes=newest is not None)
    optimizer = make_optimizer(objective, config.optimizer)
    if newest is not None:
        load_optimizer_state(newest, objective, optimizer)

    batch_maker, dev_batch_maker = build_batch_makers(config, data, checkpoint, characters)
    with RunLog(
        output_dir,
        console,
        update=state.update,
        max_updates=config.optimizer.max_updates,
        active=is_main,
        log_with=[] if state.finished else config.log_with,
        settings=flat_settings(config),
    ) as log:
        for warning in [*(f"{damage}; using the checkpoint before it" for damage in damaged), *data_warnings]:
            log.warning(warning)
        if state.finished:
            log.message(f"{output_dir}: finished at update {state.update}; the model is {output_dir / BEST}")
            return 0
        if is_main:
            write_environment(output_dir, {"processes": accelerator.num_processes, "model": checkpoint.name})
        if config.trainable.cache_encoder:
            states = compute_encoder_states(
                config, checkpoint.model.encoder, batch_maker, accelerator, log, keep_freed_memory=keep_freed_memory
            )
            batch_maker = CachedStatesBatchMaker(**vars(batch_maker), states=states)
        batch_maker = replace(batch_maker, round_sizes=accelerator.device.type == "cuda")
        if batch_size is not None:
            log.message(batch_size)
        print_setup(log, config, data, checkpoint, objective, state, accelerator)
        run = TrainingRun(
            config,
            accelerator,
            checkpoint,
            objective,
            wrapped,
            skeleton,
            working_copy,
            optimizer,
            build_batch_sampler(config, data, checkpoint.model.decoder.config.max_positions),
            batch_maker,
            dev_batch_maker,
            log,
            make_host_group(accelerator),
        )
        return _train_loop(
            run, state, interrupts, FreedMemory(keep=keep_freed_memory and accelerator.device.type == "cpu")
        )


def _train_loop(run: TrainingRun, state: TrainingState, interrupts: InterruptCounter, freed: FreedMemory) -> int:
    config, max_updates = run.config, run.config.optimizer.max_updates
    batches_per_process = config.data.batches_per_update // run.accelerator.num_processes
    scores_initially = config.validation.at_start or config.compares_directions
    if state.update == 0 and run.dev_batch_maker is not None and scores_initially:
        state.initial_scores = scores_as_dicts(_score(run, state, "before training"))
    log_sums = LogSums.from_dict(state.log_sums)
    pending: list[tuple[Tensor, dict[str, float]]] = []  # updates whose results the host has not read
    all_batches = _process_batches(run, state.sampler_state)
    consecutive_empty = 0
    while state.update < max_updates and not _stops_early(config, state):
        # Update.
        batches = list(islice(all_batches, batches_per_process))
        totals = sum_over_processes(run, batches, interrupts.count)
        consecutive_empty = 0 if totals["tokens"] else consecutive_empty + 1
        if totals["skipped"]:
            _report_skipped(run, state, batches, consecutive_empty)
        lr = learning_rate(state.update, config.optimizer, second_warmup=config.loss.ctc_only_updates)
        pending.append((train_update(run, state.update, batches, totals, lr), totals))
        freed.bound()
        state.update += 1
        state.sampler_state = batches[-1].next_state
        state.audio_seconds += totals["seconds"]
        last = state.update == max_updates

        # Log. The results are read when they are needed, and at the first update that training might have to stop at.
        logs = state.update % config.log_every == 0 or last
        if logs or len(pending) >= _MAX_SKIPPED - log_sums.consecutive_skipped:
            read_updates(run, pending, log_sums)
        if log_sums.consecutive_skipped >= _MAX_SKIPPED:
            raise VoxlateError(
                f"the loss was not finite in {_MAX_SKIPPED} consecutive updates, up to update {state.update}; lower "
                "optimizer.lr, or check the data: log.jsonl has the last finite losses"
            )
        if logs:
            means = log_sums.means(lr)
            run.log.event("train", state.update, {**means, "epoch": state.sampler_state.epoch})
            run.log.progress(state.update, means)
            log_sums = LogSums(consecutive_skipped=log_sums.consecutive_skipped)
        else:
            run.log.progress(state.update)

        # Validate.
        if run.dev_batch_maker is not None and (last or state.update % config.validation_updates == 0):
            _validate(run, state)

        # Save.
        finished = last or _stops_early(config, state)
        state.scheduled = finished or state.update % config.checkpoints.every_updates == 0
        if state.scheduled or totals["interrupts"]:
            read_updates(run, pending, log_sums)
            state.finished, state.log_sums = finished, log_sums.as_dict()
            _save(run, state)
        if totals["interrupts"] and not finished:
            run.log.message(f"interrupted: saved at update {state.update}; rerun the same command to resume")
            return 130
    _report_result(run, state)
    return 0


def _process_batches(run: TrainingRun, start: SamplerState) -> Iterator[Batch]:
    """Yield this process's batches from a sampler state, update after update, prepared ahead by workers."""
    data, accelerator = run.config.data, run.accelerator

    def requests() -> Iterator[BatchRequest]:
        stream = run.batch_sampler.batches(start)
        while True:
            update = list(islice(stream, data.batches_per_update))
            last, _ = update[-1]
            next_state = SamplerState(last.epoch, last.offset + 1, last.number + 1)
            for sampler_state, indices in update[accelerator.process_index :: accelerator.num_processes]:
                yield BatchRequest(sampler_state, next_state, indices)

    pin_memory = accelerator.device.type == "cuda"
    return read_batches(
        run.batch_maker, requests(), workers=data_workers(run.config, accelerator), pin_memory=pin_memory
    )


def _report_skipped(run: TrainingRun, state: TrainingState, batches: Sequence[Batch], consecutive_empty: int) -> None:
    """Report each utterance that was left out once. VoxlateError if several consecutive updates had no others."""
    skipped = [(run.batch_maker.corpus[index].id, reason) for batch in batches for index, reason in batch.skipped]
    for name, reason in sorted(gather_object(skipped)):
        if name not in state.unreadable:
            state.unreadable[name] = reason
            run.log.warning(f"left out: {reason}")
            run.log.event("unreadable", state.update + 1, {"id": name, "reason": reason})
    if consecutive_empty == _MAX_EMPTY:
        raise VoxlateError(
            f"no clip could be read in {_MAX_EMPTY} consecutive updates, up to update {state.update + 1}, for example: "
            f"{next(iter(state.unreadable.values()))}; check that the audio is where the manifest says"
        )


def _score(run: TrainingRun, state: TrainingState, title: str) -> dict[str, DirectionScore]:
    """Return the scores of the dev sets; log and print them."""
    assert run.dev_batch_maker is not None
    config, accelerator = run.config, run.accelerator
    with gathered_objective(run.objective, run.skeleton) as objective, autocast(config, accelerator.device):
        scores = validate(
            objective,
            run.dev_batch_maker,
            config.validation,
            accelerator,
            workers=data_workers(config, accelerator),
            output=config.output_dir / "dev" / f"update-{state.update:08}.jsonl",
        )
    values = {"mean_bleu": mean_bleu(scores), "directions": scores_as_dicts(scores)}
    run.log.event("dev", state.update, values)
    print_scores(run.log, f"dev {title}", scores)
    return scores


def _validate(run: TrainingRun, state: TrainingState) -> None:
    """Score the dev sets, and export the model if it is the best so far."""
    scores = _score(run, state, f"at update {state.update}")
    state.latest_scores = scores_as_dicts(scores)
    bleu = mean_bleu(scores)
    loss = sum(score.loss for score in scores.values())  # breaks ties of BLEU, which is often 0 at the beginning
    if state.best_score is None or (bleu, -loss) > state.best_score:
        state.best_score, state.best_update, state.validations_since_best = (bleu, -loss), state.update, 0
        _export_best(run)
        run.log.message(f"best so far: {run.config.output_dir / BEST}")
    else:
        state.validations_since_best += 1
        run.log.message(f"best: {state.best_score[0]:.1f} at update {state.best_update}")
    run.log.write_page(state.best_update, finished=False)


def _stops_early(config: TrainConfig, state: TrainingState) -> bool:
    """Return whether BLEU has not improved for `validation.patience` validations."""
    patience = config.validation.patience
    return patience is not None and state.validations_since_best >= patience


def _save(run: TrainingRun, state: TrainingState) -> None:
    """Write a checkpoint, and with the first one the frozen weights; remove old checkpoints."""
    config, accelerator = run.config, run.accelerator
    if state.finished and run.dev_batch_maker is None:
        _export_best(run)
    write_checkpoint(config.output_dir, run.objective, run.optimizer, state, accelerator)
    run.log.write_page(state.best_update, finished=state.finished)
    if state.scheduled:
        state.previous_scheduled = state.update
    characters = run.batch_maker.characters
    write_frozen_weights(
        config.output_dir, run.objective, run.checkpoint, characters, state.frozen_fingerprint, accelerator
    )
    if accelerator.is_main_process:
        prune(
            config.output_dir,
            keep_last=config.checkpoints.keep_last,
            best=state.best_update,
            keep_around_best=config.checkpoints.keep_around_best,
            every_updates=config.checkpoints.every_updates,
        )


def _export_best(run: TrainingRun) -> None:
    """Write the current model to RUN/best."""
    folder, characters = run.config.output_dir / BEST, run.batch_maker.characters
    export_model(folder, run.objective, run.checkpoint, characters, run.config, run.accelerator)


def _report_result(run: TrainingRun, state: TrainingState) -> None:
    """Print where the model is, its best score, and the scores before and after training if they were compared."""
    if state.initial_scores:
        print_before_after(run.log, run.config.output_dir, state)
    best = f" (mean dev BLEU {state.best_score[0]:.1f} at update {state.best_update})" if state.best_score else ""
    early = f", stopped early after {state.update} updates" if _stops_early(run.config, state) else ""
    run.log.message(f"done{early}: the model is {run.config.output_dir / BEST}{best}")
