"""The other side of `training.py`: the same model and clips under transformers' Trainer; prints one JSON line.

    python eval/speed/training_trainer.py MODEL MANIFEST OUTPUT --updates 6 --warmup 2 [--best] [--batch-size 24]

Written as transformers' examples for speech recognition write it, in its favour where there was a choice: clips are
decoded and normalised, and texts tokenised, before the clock starts; the convolutions on the waveform are frozen, as
they are on our side; labels are not smoothed.
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


class Clips(Dataset[dict[str, Any]]):
    """Clips in memory, ready for the collator."""

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


class Collator:
    """Pads to the longest, as the examples' DataCollatorSpeechSeq2SeqWithPadding does."""

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
    """Notes when each update ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Take the time."""
        self.ends.append(time.perf_counter())


class CountingTrainer(Trainer):  # type: ignore[misc]
    """A Trainer that notes the sound of each update, padding left out."""

    sound: list[float]
    losses: list[float]

    def training_step(self, model: Any, inputs: Any, *further: Any, **named: Any) -> Tensor:
        """Make a step as ever."""
        self.sound.append(int(inputs["attention_mask"].sum()) / 16_000)
        loss: Tensor = super().training_step(model, inputs, *further, **named)
        self.losses.append(float(loss))
        return loss


def training_arguments(arguments: argparse.Namespace) -> TrainingArguments:
    """Return Trainer's settings: its own, or the best that we found."""
    best = {
        "bf16": True,
        "train_sampling_strategy": "group_by_length",
        "per_device_train_batch_size": arguments.batch_size,
        "dataloader_num_workers": 1,
        "dataloader_persistent_workers": True,
        "dataloader_pin_memory": False,
    }
    return TrainingArguments(
        output_dir=str(arguments.output),
        max_steps=arguments.warmup + arguments.updates,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        logging_strategy="no",
        **(best if arguments.best else {}),
    )


def main() -> None:
    """Parse the command line, train, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--updates", type=int, default=6)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--best", action="store_true", help="its best setting instead of its defaults")
    parser.add_argument("--batch-size", type=int, default=24, help="of its best setting")
    arguments = parser.parse_args()
    model = SpeechEncoderDecoderModel.from_pretrained(arguments.model, dtype=torch.float32)
    model.config.pad_token_id, model.config.decoder_start_token_id = PAD_ID, 2
    model.freeze_feature_encoder()
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(arguments.model)
    stopwatch = Stopwatch()
    trainer = CountingTrainer(
        model=model,
        args=training_arguments(arguments),
        train_dataset=Clips(arguments.manifest, arguments.model, extractor),
        data_collator=Collator(extractor),
        processing_class=extractor,
        callbacks=[stopwatch],
    )
    trainer.sound, trainer.losses = [], []
    trainer.train()

    first = arguments.warmup - 1
    ends, sound = stopwatch.ends[first:], trainer.sound[arguments.warmup :]
    result = {
        "speed": sum(sound) / (ends[-1] - ends[0]),
        "seconds_per_update": statistics.median(late - early for early, late in pairwise(ends)),
        "sound_per_update": statistics.mean(sound),
        "loss": trainer.losses,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
