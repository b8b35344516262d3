"""Trainer's side of `training.py`: train the same model on the same clips; print the result as one JSON line.

    python eval/speed/training_trainer.py MODEL MANIFEST OUTPUT --updates 6 --warmup 2 [--best] [--device cuda]

The code follows transformers' examples for speech recognition. Choices are in favor of Trainer: clips are decoded and
normalized, and texts are tokenized, before timing starts, and labels are not smoothed. The convolutions on the waveform
are frozen, as in voxlate.
"""

import argparse
import json
import statistics
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import (
    SpeechEncoderDecoderModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    Wav2Vec2FeatureExtractor,
)

from voxlate.audio.loading import load_audio
from voxlate.checkpoints.model_folder import load_checkpoint
from voxlate.manifest.reading import read_manifest
from voxlate.tokenizer import IGNORED_ID, PAD_ID


class ClipDataset(Dataset[dict[str, Any]]):
    """Decoded clips and tokenized texts in memory."""

    def __init__(self, manifest: Path, model: Path, extractor: Any) -> None:
        checkpoint = load_checkpoint(model)
        self.rows = []
        for utterance in read_manifest(manifest):
            waveform = load_audio(utterance.audio).waveform  # type: ignore[arg-type]
            labels = checkpoint.tokenizer.encode_target(
                utterance.target_text or "", checkpoint.targets[utterance.target_language or ""]
            )
            values = extractor(waveform, sampling_rate=16_000).input_values[0]
            self.rows.append({"input_values": values, "labels": labels})

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index]


class PaddingCollator:
    """Pads to the longest clip, like DataCollatorSpeechSeq2SeqWithPadding in transformers' examples."""

    def __init__(self, extractor: Any) -> None:
        self.extractor = extractor

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        values = [{"input_values": row["input_values"]} for row in rows]
        batch: dict[str, Tensor] = self.extractor.pad(
            values, padding=True, return_attention_mask=True, return_tensors="pt"
        )
        labels = [torch.tensor(row["labels"]) for row in rows]
        batch["labels"] = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=IGNORED_ID)
        return batch


class Stopwatch(TrainerCallback):  # type: ignore[misc]
    """Records the end time of each update; of the last one before measuring and the last one, when it is computed."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.ends: list[float] = []
        self._arguments = arguments

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Record the time."""
        ends = (self._arguments.warmup, self._arguments.warmup + self._arguments.updates)
        if self._arguments.device != "cpu" and len(self.ends) + 1 in ends:
            torch.accelerator.synchronize()
        self.ends.append(time.perf_counter())


class CountingTrainer(Trainer):  # type: ignore[misc]
    """A Trainer that records the loss and the seconds of audio of each update, without padding."""

    audio_seconds: list[float]
    losses: list[Tensor]

    def training_step(self, model: Any, inputs: Any, *further: Any, **named: Any) -> Tensor:
        """Run the inherited step and record its batch."""
        self.audio_seconds.append(int(inputs["attention_mask"].sum()) / 16_000)
        loss: Tensor = super().training_step(model, inputs, *further, **named)
        self.losses.append(loss.detach())  # read at the end: the host need not wait here
        return loss


def training_arguments(arguments: argparse.Namespace) -> TrainingArguments:
    """Return Trainer's defaults, or the best settings that we found."""
    best = {
        "bf16": True,
        "train_sampling_strategy": "group_by_length",
        "per_device_train_batch_size": arguments.batch_size,
        "dataloader_num_workers": arguments.workers,
        "dataloader_persistent_workers": arguments.workers > 0,
        "dataloader_pin_memory": arguments.device != "cpu",
    }
    return TrainingArguments(
        output_dir=str(arguments.output),
        max_steps=arguments.warmup + arguments.updates,
        use_cpu=arguments.device == "cpu",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        logging_strategy="no",
        **(best if arguments.best else {}),
    )


def main() -> None:
    """Train and print the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--updates", type=int, default=6)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--best", action="store_true", help="use the best settings instead of the defaults")
    parser.add_argument("--batch-size", type=int, default=24, help="batch size of the best settings")
    parser.add_argument("--workers", type=int, default=1, help="workers of the best settings that load data")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if arguments.device != "cpu":  # Trainer takes the current one
        torch.accelerator.set_device_index(torch.device(arguments.device).index or 0)
    model = SpeechEncoderDecoderModel.from_pretrained(arguments.model, dtype=torch.float32)
    model.config.pad_token_id, model.config.decoder_start_token_id = PAD_ID, 2
    model.freeze_feature_encoder()
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(arguments.model)
    stopwatch = Stopwatch(arguments)
    trainer = CountingTrainer(
        model=model,
        args=training_arguments(arguments),
        train_dataset=ClipDataset(arguments.manifest, arguments.model, extractor),
        data_collator=PaddingCollator(extractor),
        processing_class=extractor,
        callbacks=[stopwatch],
    )
    trainer.audio_seconds, trainer.losses = [], []
    trainer.train()

    first = arguments.warmup - 1
    ends, audio = stopwatch.ends[first:], trainer.audio_seconds[arguments.warmup :]
    result = {
        "speed": sum(audio) / (ends[-1] - ends[0]),
        "seconds_per_update": statistics.median(late - early for early, late in pairwise(ends)),
        "sound_per_update": statistics.mean(audio),
        "loss": [float(loss) for loss in trainer.losses],
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
