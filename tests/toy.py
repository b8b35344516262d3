"""Toy training data: tones that encode words, a vocabulary of these words, and settings that train in seconds."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import yaml

from media import write_media
from micro_corpus import PAIRS, WORDS, spelled, split_pair, spoken

ENCODER = {
    "hidden_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "conv_dim": [24, 24, 24, 24, 24, 24, 24],
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
    "layerdrop": 0.0,
    "mask_time_prob": 0.0,
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "feat_proj_dropout": 0.0,
}
DECODER = {
    "d_model": 48,
    "decoder_layers": 1,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 96,
    "max_position_embeddings": 64,
    "dropout": 0.0,
    "scale_embedding": True,
}


def write_vocabulary(path: Path) -> Path:
    """Train a SentencePiece model on the words of the micro corpus, most of which become one piece."""
    rng = np.random.default_rng(0)
    texts = [spelled(rng.integers(0, 6, 4).tolist(), language) for language in WORDS for _ in range(200)]
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=file,
            vocab_size=80,
            character_coverage=1.0,
            hard_vocab_limit=False,
            minloglevel=2,
        )
    return path


def write_toy(
    folder: Path, name: str, utterances: int, *, pairs: Sequence[str] = PAIRS[:2], seed: int = 0, words: int = 4
) -> Path:
    """Write clips and a manifest that lists them; return the path of the manifest."""
    rng = np.random.default_rng(seed)
    lines = []
    for number in range(utterances):
        source, target = split_pair(pairs[number % len(pairs)])
        chosen = rng.integers(0, 6, rng.integers(words, words + 3)).tolist()
        waveform_T = spoken(chosen, 16_000)
        clip = folder / f"{name}-{number}.wav"
        write_media(clip, waveform_T)
        line = {
            "id": f"{name}-{number}",
            "audio": clip.name,
            "seconds": len(waveform_T) / 16_000,
            "source_language": source,
            "target_language": target,
            "source_text": spelled(chosen, source),
            "target_text": spelled(chosen, target),
        }
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    path = folder / f"{name}.jsonl"
    path.write_text("".join(lines), encoding="utf-8")
    return path


def write_toy_corpus(folder: Path, *, train: int = 24, dev: int = 4) -> Path:
    """Write a vocabulary, and train.jsonl and dev.jsonl with the given numbers of clips; return the folder."""
    write_vocabulary(folder / "sentencepiece.bpe.model")
    write_toy(folder, "train", train)
    write_toy(folder, "dev", dev, seed=1)
    return folder


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    """Return the settings of a toy run for YAML; ``data__num_workers=1`` changes ``data.num_workers``."""
    raw: dict[str, Any] = {
        "output_dir": str(folder / "run"),
        "model": {
            "scratch": {"vocabulary": str(folder / "sentencepiece.bpe.model"), "encoder": ENCODER, "decoder": DECODER},
            "num_adapter_layers": 2,
        },
        "data": {
            "train": [str(folder / "train.jsonl")],
            "batch_seconds": 10,
            "num_workers": 0,
        },
        "optimizer": {"max_updates": 6, "lr": 2e-3, "lr_scheduler": "constant", "warmup_updates": 2},
        "trainable": {"feature_encoder": True},
        "validation": {"every_updates": 3, "max_length": 16},
        "checkpoints": {"every_updates": 2},
        "precision": "float32",
        "device": "cpu",
        "log_every": 1,
    }
    for key, value in changes.items():
        section = raw
        *parts, last = key.split("__")
        for part in parts:
            section = section.setdefault(part, {})
        section[last] = value
    return raw


def write_settings(path: Path, raw: dict[str, Any]) -> Path:
    """Write settings as YAML."""
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return path


def log(run: Path, event: str = "train") -> list[dict[str, Any]]:
    """Return the lines of a run's log for one kind of event."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["event"] == event]
