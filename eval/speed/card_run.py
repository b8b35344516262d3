"""What the stages of `gpu.py` share: the device, the sizes, the random model, and the clips as arrays."""

import argparse
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speed.build_full_size import SIZES, random_model
from speed.synthetic import clip_seconds, synthetic_speech
from speed.synthetic_vocabulary import MBART_PIECES, write_vocabulary
from voxlate.checkpoints.model_folder import save_checkpoint
from voxlate.models.decoder import DecoderConfig
from voxlate.tokenizer import Tokenizer

TO = "de"


@dataclass(frozen=True)
class Amounts:
    """How much a run measures."""

    limit_seconds: float  # of the whole run
    clips: int  # in a translation
    batch_sizes: tuple[int | None, ...]  # of voxlate; None is the default
    transformers_batch_sizes: tuple[int, ...]
    parity_clips: int
    latency_runs: int
    profiled_clips: int
    training_clips: int
    updates: int  # measured, after as many for warming up
    batch_seconds: tuple[float | str, ...]
    trainer_batch_sizes: tuple[int, ...]
    sizes: tuple[str, ...]  # of the other models to translate with
    workers: int = 8
    training_repeats: int = 12  # of each clip in an epoch of voxlate, which has as many buckets as for a real corpus


_TINY = Amounts(
    limit_seconds=3600,
    clips=6,
    batch_sizes=(None,),
    transformers_batch_sizes=(4,),
    parity_clips=3,
    latency_runs=2,
    profiled_clips=4,
    training_clips=12,
    updates=1,
    batch_seconds=(15.0, "auto"),
    trainer_batch_sizes=(4,),
    sizes=("tiny",),
    workers=0,
    training_repeats=2,
)
_QUICK = Amounts(
    limit_seconds=180,
    clips=512,
    batch_sizes=(None,),
    transformers_batch_sizes=(128,),
    parity_clips=16,
    latency_runs=10,
    profiled_clips=128,
    training_clips=384,
    updates=4,
    batch_seconds=(480.0,),
    trainer_batch_sizes=(32,),
    sizes=(),
)
_FULL = Amounts(
    limit_seconds=360,
    clips=1024,
    batch_sizes=(None, 512),
    transformers_batch_sizes=(128, 256),
    parity_clips=48,
    latency_runs=20,
    profiled_clips=256,
    training_clips=768,
    updates=6,
    batch_seconds=(480.0, "auto"),
    trainer_batch_sizes=(32, 64),
    sizes=("2b",),
)


@dataclass
class CardRun:
    """One run of `gpu.py`: where it runs, what it measures, and its results so far."""

    arguments: argparse.Namespace
    device: torch.device
    work: Path
    started: float = field(default_factory=time.monotonic)
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def is_tiny(self) -> bool:
        """Whether the model is tiny, as on a CPU."""
        return bool(self.arguments.size == "tiny")

    @property
    def amounts(self) -> Amounts:
        """How much is measured."""
        return _TINY if self.is_tiny else _QUICK if self.arguments.quick else _FULL

    def seconds_left(self) -> float:
        """Return the seconds until the limit."""
        return self.amounts.limit_seconds - (time.monotonic() - self.started)

    def model(self, size: str | None = None) -> Path:
        """Return the folder of the random model of a size, by default that of the run; it is built once."""
        size = size or self.arguments.size
        folder = self.work / f"model-{size}"
        if not (folder / "model.safetensors").exists():
            torch.manual_seed(0)
            tokenizer = Tokenizer(self.vocabulary)
            with self.device:  # random numbers are drawn faster there
                if size == "tiny":
                    model = random_model(
                        32, 1, DecoderConfig(tokenizer.vocabulary_size, 32, 1, 16, 64), convolution_width=8
                    )
                else:
                    width, layers, _ = SIZES[size]
                    model = random_model(width, layers, DecoderConfig())
            dtype = torch.float32 if size == self.arguments.size else torch.bfloat16  # the others are not trained
            tags = {language: tokenizer.tag_id(tag) for language, tag in {"de": "de_DE", "en": "en_XX"}.items()}
            save_checkpoint(folder, model.to("cpu", dtype), tokenizer, tags)
        return folder

    @cached_property
    def vocabulary(self) -> Path:
        """The vocabulary of the random models."""
        return write_vocabulary(self.work / "sentencepiece.bpe.model", 500 if self.is_tiny else MBART_PIECES)

    @cached_property
    def waveforms(self) -> list[np.ndarray[Any, Any]]:
        """The clips to translate, float32 at 16 kHz, with the lengths of CoVoST-2."""
        generator = np.random.default_rng(0)
        seconds_N = clip_seconds(self.amounts.clips, generator)
        return [synthetic_speech(seconds, 16_000, generator) for seconds in seconds_N.tolist()]

    def synchronize(self) -> None:
        """Wait until the device has computed everything."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize()

    def reset_peak_memory(self) -> None:
        """Free unused memory of the device, and forget its peak."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak_gibibytes(self) -> float | None:
        """Return the peak of allocated memory, None on a CPU."""
        return torch.cuda.max_memory_allocated() / 2**30 if self.device.type == "cuda" else None


def audio_seconds(waveforms: list[np.ndarray[Any, Any]]) -> float:
    """Return the total duration."""
    return sum(len(waveform_T) for waveform_T in waveforms) / 16_000
