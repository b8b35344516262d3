"""Cache the output of a frozen encoder on disk, which makes training several times faster.

Shape letters: B utterances, S encoder frames, D width.
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
from voxlate.data.batching import BatchMaker, read_batches, requests_by_length
from voxlate.data.corpus import Corpus
from voxlate.errors import AudioError, VoxlateError
from voxlate.files import file_sha256, write_text
from voxlate.models.cpu.malloc import FreedMemory
from voxlate.progress import progress_bar
from voxlate.training.distributed import autocast, data_workers
from voxlate.training.run_log import RunLog

STATES = "states"
_INDEX_FILE = "index.json"
_CPU_BATCH_SECONDS = 24.0  # of audio: small enough for the activations of a layer to stay in the processor's cache


@dataclass(frozen=True)
class EncoderStates:
    """Encoder states of the utterances of a corpus, stored as rows of float16."""

    folder: Path
    width: int
    rows: dict[int, tuple[str, int, int]]  # file, first row and number of rows, by utterance
    unreadable: dict[int, str] = field(default_factory=dict)  # index to reason

    def __call__(self, index: int) -> Tensor:
        """Return the states of an utterance, (S, D), float32. AudioError if its audio could not be read."""
        if index in self.unreadable:
            raise AudioError(self.unreadable[index])
        name, first, count = self.rows[index]
        return torch.from_numpy(_open_rows(self.folder / name, self.width)[first : first + count].astype(np.float32))


@lru_cache(64)
def _open_rows(path: Path, width: int) -> Any:
    """Memory-map a file of states as float16 rows of a width."""
    return np.memmap(path, dtype=np.float16, mode="r").reshape(-1, width)


def compute_encoder_states(
    config: TrainConfig,
    encoder: Any,
    maker: BatchMaker,
    accelerator: Accelerator,
    log: RunLog,
    *,
    keep_freed_memory: bool,
) -> EncoderStates:
    """Return the encoder states of a corpus, computed unless the run folder has them; every process must call it.

    The encoder runs without dropout, and once per audio file even if several utterances share it. VoxlateError if the
    states do not fit on the disk.
    """
    folder = config.output_dir / STATES
    shared = _first_with_same_audio(maker.corpus)
    clips = sorted({*shared.values()})
    fingerprint = _fingerprint(encoder, maker.corpus, clips) if accelerator.is_main_process else ""
    index = _read_index(folder, fingerprint, encoder.output_dim) if accelerator.is_main_process else None
    [index] = broadcast_object_list([index])
    if index is None:
        if accelerator.is_main_process:
            _prepare_folder(encoder, maker.corpus, clips, folder, log)
        accelerator.wait_for_everyone()
        part = _compute_part(config, encoder, maker, clips, folder, accelerator, keep_freed_memory=keep_freed_memory)
        parts = gather_object([part])
        index = {
            key: {clip: value for result in parts for clip, value in result[key].items()}
            for key in ("places", "unreadable")
        }
        if accelerator.is_main_process:
            write_text(folder / _INDEX_FILE, json.dumps({"mark": fingerprint, **index}, ensure_ascii=False))
            log.message(f"encoder states: {len(index['places']):,} clips in {folder}")
    rows = {utterance: index["places"].get(str(clip)) for utterance, clip in shared.items()}
    return EncoderStates(
        folder,
        encoder.output_dim,
        {utterance: tuple(location) for utterance, location in rows.items() if location is not None},
        {utterance: index["unreadable"][str(clip)] for utterance, clip in shared.items() if rows[utterance] is None},
    )


def _first_with_same_audio(corpus: Corpus) -> dict[int, int]:
    """Map each utterance to the first one with the same audio, by index."""
    firsts: dict[str, int] = {}
    shared = {}
    for index in range(len(corpus)):
        utterance = corpus[index]
        name = str(utterance.audio) if isinstance(utterance.audio, Path) else utterance.id
        shared[index] = firsts.setdefault(name, index)
    return shared


def _compute_part(
    config: TrainConfig,
    encoder: Any,
    maker: BatchMaker,
    clips: list[int],
    folder: Path,
    accelerator: Accelerator,
    *,
    keep_freed_memory: bool,
) -> dict[str, Any]:
    """Write the states of this process's share of the clips; return their rows, and the clips that were unreadable."""
    selected = np.zeros(len(maker.corpus), dtype=bool)
    selected[clips] = True
    on_cpu = accelerator.device.type == "cpu"
    batch_seconds = config.data.known_batch_seconds
    seconds = min(batch_seconds, _CPU_BATCH_SECONDS) if on_cpu else batch_seconds
    requests = [
        request._replace(indices=request.indices[selected[request.indices]])
        for request in requests_by_length(maker.corpus, seconds)
        if selected[request.indices].any()
    ][accelerator.process_index :: accelerator.num_processes]
    name, row = f"{accelerator.process_index:05}.float16", 0
    rows: dict[str, tuple[str, int, int]] = {}
    unreadable: dict[str, str] = {}
    was_training = encoder.training
    encoder.eval()
    freed = FreedMemory(keep=keep_freed_memory and on_cpu)
    with ExitStack() as stack:
        file = stack.enter_context((folder / name).open("wb"))
        stack.enter_context(torch.no_grad())
        stack.enter_context(autocast(config, accelerator.device))
        main = accelerator.is_main_process
        advance = stack.enter_context(progress_bar("encoder states", len(requests))) if main else None
        pin_memory = accelerator.device.type == "cuda"
        for batch in read_batches(maker, requests, workers=data_workers(config, accelerator), pin_memory=pin_memory):
            unreadable |= {str(index): reason for index, reason in batch.skipped}
            if advance is not None:
                advance(1)
            if not batch.indices:
                continue
            moved = batch.to(accelerator.device)
            states_BSD, lengths_B = encoder(moved.waveform_BT, moved.lengths_B)
            for index, states_SD, length in zip(batch.indices, states_BSD, lengths_B.tolist(), strict=True):
                file.write(states_SD[:length].to("cpu", torch.float16).numpy().tobytes())
                rows[str(index)] = (name, row, length)
                row += length
            freed.bound()
        file.flush()
        os.fsync(file.fileno())
    encoder.train(was_training)
    return {"places": rows, "unreadable": unreadable}


def _prepare_folder(encoder: Any, corpus: Corpus, clips: list[int], folder: Path, log: RunLog) -> None:
    """Create the folder and report the size of the states. VoxlateError if they do not fit on the disk."""
    seconds = float(np.nansum(corpus.seconds_N[clips]))
    size = seconds * SAMPLE_RATE_HZ / encoder.frame_samples * encoder.output_dim * 2
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _INDEX_FILE).unlink(missing_ok=True)  # it describes files that are about to change
    free = shutil.disk_usage(folder).free
    needs = f"the encoder states of {seconds / 3600:,.1f} hours take {size / 2**30:,.1f} GiB in {folder}"
    if size > free:
        raise VoxlateError(
            f"{needs}, but only {free / 2**30:,.1f} GiB are free; choose another output_dir, or set "
            "trainable.cache_encoder=false"
        )
    log.message(f"{needs}; computing them once")


def _fingerprint(encoder: Any, corpus: Corpus, clips: Sequence[int]) -> str:
    """Return a hash of the encoder's weights, the manifests, and the sizes of the audio files."""
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
    """Return the size of a file in bytes, as text, or "missing"."""
    try:
        return str(path.stat().st_size)
    except OSError:
        return "missing"


def _read_index(folder: Path, fingerprint: str, width: int) -> dict[str, Any] | None:
    """Return the index of cached states, or None if they are incomplete or have another fingerprint."""
    try:
        index: dict[str, Any] = json.loads((folder / _INDEX_FILE).read_text(encoding="utf-8"))
        if index["mark"] != fingerprint:
            return None
        ends: dict[str, int] = {}
        for name, first, count in index["places"].values():
            ends[name] = max(ends.get(name, 0), first + count)
        complete = all((folder / name).stat().st_size == end * width * 2 for name, end in ends.items())
        return index if complete and isinstance(index["unreadable"], dict) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
