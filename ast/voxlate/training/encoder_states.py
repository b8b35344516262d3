"""The states of an encoder that does not learn, computed once: what stands on it then trains several times faster.

Shape letters: N utterances, B of a batch, S encoder frames, D width.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor

from voxlate.audio.loading import SAMPLE_RATE_HZ
from voxlate.config.schema import TrainConfig
from voxlate.data.batching import BatchMaker, Request, in_order, read_batches
from voxlate.data.corpus import Corpus
from voxlate.errors import AudioError, VoxlateError
from voxlate.files import file_sha256, write_text
from voxlate.models.cpu.malloc import FreedMemory
from voxlate.progress import progress_bar
from voxlate.training.distributed import autocast
from voxlate.training.run_log import Record

STATES = "states"
_INDEX = "index.json"
_CPU_SECONDS = 24.0  # of sound at once, without padding: what the encoder goes over again is still in the cache


@dataclass(frozen=True)
class States:
    """States by number of an utterance, from files of float16 rows: `states(index)` is (S, D), float32."""

    folder: Path
    width: int
    places: dict[int, tuple[str, int, int]]  # file, first row, rows
    unreadable: dict[int, str] = field(default_factory=dict)

    def __call__(self, index: int) -> Tensor:
        """Return the states of an utterance. AudioError where its audio could not be read."""
        if index in self.unreadable:
            raise AudioError(self.unreadable[index])
        name, first, rows = self.places[index]
        return torch.from_numpy(_rows(self.folder / name, self.width)[first : first + rows].astype(np.float32))


@lru_cache(64)
def _rows(path: Path, width: int) -> Any:
    return np.memmap(path, dtype=np.float16, mode="r").reshape(-1, width)


def cache_states(
    config: TrainConfig, encoder: Any, maker: BatchMaker, accelerator: Accelerator, record: Record
) -> States:
    """Return the states of a corpus, computed now unless the run folder has them; every process must call it.

    The encoder runs without dropout, each clip once however many utterances share it. VoxlateError if they would not
    fit on the disk.
    """
    folder = config.output / STATES
    shared = _clips(maker.corpus)
    mark = _mark(encoder, maker.corpus, sorted({*shared.values()})) if accelerator.is_main_process else ""
    known = _read(folder, mark, encoder.output_dim) if accelerator.is_main_process else None
    [known] = broadcast_object_list([known])
    if known is None:
        if accelerator.is_main_process:
            _announce(encoder, maker.corpus, sorted({*shared.values()}), folder, record)
        accelerator.wait_for_everyone()
        own = _compute(config, encoder, maker, sorted({*shared.values()}), folder, accelerator)
        parts = gather_object([own])
        known = {key: {k: v for part in parts for k, v in part[key].items()} for key in ("places", "unreadable")}
        if accelerator.is_main_process:
            write_text(folder / _INDEX, json.dumps({"mark": mark, **known}, ensure_ascii=False))
            record.say(f"encoder states: {len(known['places']):,} clips in {folder}")
    places = {index: known["places"].get(str(clip)) for index, clip in shared.items()}
    return States(
        folder,
        encoder.output_dim,
        {index: tuple(place) for index, place in places.items() if place is not None},
        {index: known["unreadable"][str(clip)] for index, clip in shared.items() if places[index] is None},
    )


def _clips(corpus: Corpus) -> dict[int, int]:
    """Return for each utterance the first one with the same clip."""
    first: dict[str, int] = {}
    clips = {}
    for index in range(len(corpus)):
        utterance = corpus[index]
        name = str(utterance.audio) if isinstance(utterance.audio, Path) else utterance.id
        clips[index] = first.setdefault(name, index)
    return clips


def _compute(
    config: TrainConfig,
    encoder: Any,
    maker: BatchMaker,
    clips: list[int],
    folder: Path,
    accelerator: Accelerator,
) -> dict[str, Any]:
    """Write the states of this process's part of the clips; return where they lie, and what could not be read."""
    chosen = np.zeros(len(maker.corpus), dtype=bool)
    chosen[clips] = True
    on_cpu = accelerator.device.type == "cpu"
    seconds = min(config.data.batch_seconds, _CPU_SECONDS) if on_cpu else config.data.batch_seconds
    requests: list[Request] = [
        (place, end, indices[chosen[indices]])
        for place, end, indices in in_order(maker.corpus, seconds)
        if chosen[indices].any()
    ]
    own = requests[accelerator.process_index :: accelerator.num_processes]
    name, row = f"{accelerator.process_index:05}.float16", 0
    places: dict[str, tuple[str, int, int]] = {}
    unreadable: dict[str, str] = {}
    was_training = encoder.training
    encoder.eval()
    freed = FreedMemory(keep=on_cpu)
    with ExitStack() as stack:
        file = stack.enter_context((folder / name).open("wb"))
        stack.enter_context(torch.no_grad())
        stack.enter_context(autocast(config, accelerator.device))
        advance = stack.enter_context(progress_bar("encoder states", len(own))) if accelerator.is_main_process else None
        for batch in read_batches(maker, own, workers=config.data.workers):
            unreadable |= {str(index): reason for index, reason in batch.unreadable}
            if advance is not None:
                advance(1)
            if not batch.indices:
                continue
            moved = batch.to(accelerator.device)
            states_BSD, lengths_B = encoder(moved.waveform_BT, moved.lengths_B)
            for index, states_SD, length in zip(batch.indices, states_BSD, lengths_B.tolist(), strict=True):
                file.write(states_SD[:length].to("cpu", torch.float16).numpy().tobytes())
                places[str(index)] = (name, row, length)
                row += length
            freed.bound()
        file.flush()
        os.fsync(file.fileno())
    encoder.train(was_training)
    return {"places": places, "unreadable": unreadable}


def _announce(encoder: Any, corpus: Corpus, clips: list[int], folder: Path, record: Record) -> None:
    seconds = float(np.nansum(corpus.seconds_N[clips]))
    needed = seconds * SAMPLE_RATE_HZ / encoder.frame_samples * encoder.output_dim * 2
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _INDEX).unlink(missing_ok=True)  # or it would vouch for files that are about to change
    free = shutil.disk_usage(folder).free
    size = f"the encoder's states of {seconds / 3600:,.1f} hours take {needed / 2**30:,.1f} GiB in {folder}"
    if needed > free:
        raise VoxlateError(
            f"{size}, where {free / 2**30:,.1f} GiB are free; choose another output, or set "
            "trainable.cache_encoder=false"
        )
    record.say(f"{size}; computing them once")


def _mark(encoder: Any, corpus: Corpus, clips: Sequence[int]) -> str:
    """Return a hash of what states depend on: the encoder's weights, the manifests, and the sizes of their clips."""
    digest = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    for manifest in corpus.manifests:
        digest.update(file_sha256(manifest.path).encode())
    for index in clips:
        audio = corpus[index].audio
        digest.update((_file_size(audio) if isinstance(audio, Path) else "").encode())
    for numbers in (corpus.manifest_N, corpus.row_N, corpus.seconds_N):
        digest.update(np.ascontiguousarray(numbers).tobytes())
    return digest.hexdigest()


def _file_size(path: Path) -> str:
    """Return the bytes of a file as text, "missing" where there is none."""
    try:
        return str(path.stat().st_size)
    except OSError:
        return "missing"


def _read(folder: Path, mark: str, width: int) -> dict[str, Any] | None:
    """Return the index of what was computed before; None where it is of something else, or not whole."""
    try:
        index: dict[str, Any] = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        if index["mark"] != mark:
            return None
        ends: dict[str, int] = {}
        for name, first, rows in index["places"].values():
            ends[name] = max(ends.get(name, 0), first + rows)
        whole = all((folder / name).stat().st_size == end * width * 2 for name, end in ends.items())
        return index if whole and isinstance(index["unreadable"], dict) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
