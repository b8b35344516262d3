"""Choose the size of batches for `data.batch_seconds: auto`: as much audio as the memory of a GPU holds."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor

from voxlate.config.schema import TrainConfig
from voxlate.config.sections import DEFAULT_BATCH_SECONDS
from voxlate.data.batch_sampler import SamplerState
from voxlate.data.batching import Batch
from voxlate.errors import VoxlateError
from voxlate.files import write_text
from voxlate.tokenizer import EOS_ID
from voxlate.training.distributed import autocast
from voxlate.training.memory_estimate import estimate_memory
from voxlate.training.objective import Objective
from voxlate.training.setup import TrainingData

BATCH_SIZE_FILE = "batch_size.json"
MAX_BATCH_SECONDS = 960.0  # more audio at a time is hardly faster, but makes updates larger
_STEP = 10.0
_MEMORY_SHARE = 0.9  # of the free memory; the rest is for fragments
_ROUNDING = 1.25  # batches are padded by up to an eighth in both dimensions
_SHARDED_SHARE = 0.5  # of the estimate without a trial: if one process ran out of memory in it, the others would wait


def with_batch_size(
    config: TrainConfig, data: TrainingData, objective: Objective, accelerator: Accelerator, *, resumes: bool
) -> tuple[TrainConfig, TrainingData, str | None]:
    """Return settings and data with the batch size in place of "auto", and a message if it was chosen now.

    A run keeps the size in its folder, so that a resumed run is the same, on any GPU. On a device whose memory is not
    known, such as a CPU, it is 120 s. Every process must call this. VoxlateError if the file of a resumed run is gone.
    """
    if config.data.batch_seconds != "auto":
        return config, data, None
    path, message = config.output_dir / BATCH_SIZE_FILE, None
    if resumes:
        [seconds] = broadcast_object_list([_read(path) if accelerator.is_main_process else 0.0])
    else:
        own = _choose(config, data, objective, accelerator)
        seconds = min(gather_object([own]))
        if accelerator.is_main_process:
            write_text(path, json.dumps({"batch_seconds": seconds, "device": str(accelerator.device)}) + "\n")
        message = f"data.batch_seconds: {seconds:g} (auto, kept in {path})"
    sampler = replace(data.batch_sampler, batch_seconds=seconds)
    settings = config.data.model_copy(update={"batch_seconds": seconds})
    return config.model_copy(update={"data": settings}), replace(data, batch_sampler=sampler), message


def largest_batch(
    estimate: Callable[[float], dict[str, float]], free_bytes: float, trial: Callable[[float], float | None]
) -> float:
    """Return the seconds of audio in a batch that fit into memory, in steps of 10 s, at most 960.

    `estimate` returns the GiB of each part for a batch of so many seconds, `trial` the bytes that one takes besides
    weights, gradients and moments, or None if memory runs out. The trial is about half as large as the estimate allows:
    what it takes by the second is an upper bound for larger batches.
    """
    parts = estimate(DEFAULT_BATCH_SECONDS)
    fixed = sum(parts[name] for name in ("weights", "gradients", "moments")) * 2**30
    room = (free_bytes * _MEMORY_SHARE - fixed) / _ROUNDING
    tried = max(_STEP, min(MAX_BATCH_SECONDS, room / (parts["activations"] * 2**30 / DEFAULT_BATCH_SECONDS)) / 2)
    while tried >= _STEP:
        taken = trial(tried)
        if taken is not None:
            return _rounded(room / (taken / tried))
        tried /= 2
    return _STEP


def free_memory(device: torch.device) -> int | None:
    """Return the bytes of a GPU that this process uses or may use; None for other devices."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device)


def peak_memory(device: torch.device, action: Callable[[], None]) -> int | None:
    """Return by how many bytes an action increases the memory in use of a GPU at its peak; None if that is too much."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    try:
        action()
    except torch.OutOfMemoryError:
        return None
    return torch.cuda.max_memory_allocated(device) - before


def trial_batch(objective: Objective, data: TrainingData, seconds: float, *, cached: bool) -> Batch:
    """Return a batch of noise that costs `seconds`, of clips of the usual length, or of cached states of such clips."""
    clip_seconds = float(np.median(data.train.seconds_N))
    tokens = int(np.median(data.train.tokens_N))
    clips = max(1, int(seconds / data.batch_sampler.cost(clip_seconds, tokens)))
    encoder, decoder = objective.translator.encoder, objective.translator.decoder
    lengths_B = torch.full((clips,), max(encoder.min_samples, round(clip_seconds * 16_000)))
    waveform_BT, states_BSD = torch.randn(clips, int(lengths_B[0])), None
    if cached:
        lengths_B = encoder.frame_lengths(lengths_B)
        waveform_BT, states_BSD = torch.zeros(clips, 0), torch.randn(clips, int(lengths_B[0]), encoder.output_dim)
    tokens_BT = torch.full((clips, min(tokens, decoder.config.max_positions)), EOS_ID)
    characters = 0 if objective.ctc is None else max(1, round(clip_seconds * 15))  # in a second of speech
    batch = Batch(
        sampler_state=SamplerState(),
        next_state=SamplerState(),
        indices=tuple(range(clips)),
        directions=("",) * clips,
        waveform_BT=waveform_BT,
        lengths_B=lengths_B,
        tokens_BT=tokens_BT,
        labels_BT=tokens_BT,
        targets_N=torch.arange(tokens_BT.numel()),
        characters_BL=torch.ones(clips, characters, dtype=torch.long),
        character_lengths_B=torch.full((clips,), characters),
        states_BSD=states_BSD,
    )
    return batch.with_rounded_sizes()


def _choose(config: TrainConfig, data: TrainingData, objective: Objective, accelerator: Accelerator) -> float:
    """Return the batch size for this process's device."""
    device = accelerator.device
    free_bytes = free_memory(device)
    if free_bytes is None:
        return DEFAULT_BATCH_SECONDS

    def estimate(seconds: float) -> dict[str, float]:
        return estimate_memory(config, objective, accelerator.num_processes, seconds)

    def backward(seconds: float) -> None:
        batch = trial_batch(objective, data, seconds, cached=config.trainable.cache_encoder)
        with nullcontext() if config.has_working_copy else autocast(config, device):
            losses: Tensor = objective(batch.to(device))
        losses.sum().backward()  # type: ignore[no-untyped-call]

    def trial(seconds: float) -> float | None:
        taken = peak_memory(device, lambda: backward(seconds))
        gradients = sum(part.grad.nbytes for part in objective.parameters() if part.grad is not None)
        objective.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        return None if taken is None else max(1.0, taken - gradients)

    if config.sharded:
        return _rounded(_SHARDED_SHARE * largest_batch(estimate, free_bytes, _estimated(estimate)))
    return largest_batch(estimate, free_bytes, trial)


def _estimated(estimate: Callable[[float], dict[str, float]]) -> Callable[[float], float]:
    return lambda seconds: estimate(seconds)["activations"] * 2**30


def _rounded(seconds: float) -> float:
    """Round down to the steps that batch sizes have, within their limits."""
    return min(MAX_BATCH_SECONDS, max(_STEP, seconds // _STEP * _STEP))


def _read(path: Path) -> float:
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["batch_seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        raise VoxlateError(
            f"{path}: missing or damaged; it holds the batch size of this run, chosen for data.batch_seconds=auto: "
            'restore it as {"batch_seconds": N}, with the number that was printed when the run started'
        ) from None
