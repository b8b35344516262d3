"""Train a sentence boundary head on the states of a frozen encoder, with recordings of joined clips.

Shape letters: N recordings, F frames, D width of the encoder.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from voxlate.audio.loading import SAMPLE_RATE_HZ
from voxlate.checkpoints.encoders import read_encoder
from voxlate.checkpoints.hub import find_encoder
from voxlate.checkpoints.segmenter_files import SEGMENTER_FILE, save_segmenter
from voxlate.errors import VoxlateError
from voxlate.hardware import choose_device, without_cudnn_attention
from voxlate.manifest.reading import read_manifest
from voxlate.manifest.utterance import Utterance
from voxlate.models.encoder import SpeechEncoder
from voxlate.models.fast_path import install_fast_path
from voxlate.models.sentence_boundaries import (
    WINDOW_SECONDS,
    BoundaryHead,
    SentenceBoundaries,
    encode,
    first_layers,
    window,
)
from voxlate.progress import progress_bar
from voxlate.training.boundary_recordings import JoinedRecording, RecordingMaker
from voxlate.training.boundary_scores import Floats, best_threshold, score_boundaries

_HELD_OUT = 10  # every tenth clip, for a tenth as many recordings: half to choose the threshold, half to score
_EPOCHS, _BATCH, _LR, _WEIGHT_DECAY = 6, 16, 4e-3, 0.01
_JOINT_SECONDS = 0.06  # around a boundary, also labeled as outside sentences: a joint has no frames of its own


@without_cudnn_attention()
def train_segmenter(
    manifests: Sequence[Path],
    encoder: str,
    output: Path | None = None,
    *,
    layers: int = 1,
    hours: float = 6.0,
    seed: int = 0,
    device: str = "auto",
    report: Callable[[str], None] = print,
) -> None:
    """Train on about `hours` of joined clips; write segmenter.safetensors into `output`, by default the model's folder.

    `layers` is the number of transformer layers of the encoder that are used. `report` is called with each line of
    output. VoxlateError if an argument is wrong or there are too few clips.
    """
    train_clips, held_out_clips = _split(manifests)
    folder = find_encoder(encoder, named="with --encoder")
    speech_encoder = read_encoder(encoder)
    available = len(speech_encoder.model.encoder.layers)
    if not 0 <= layers <= available:
        raise VoxlateError(f"--layers is {layers}; expected 0 to {available}, the number of layers of {encoder}")
    network = cast("nn.Module", speech_encoder).to(choose_device(device)).eval()
    install_fast_path(network)
    shorter, frame_samples = first_layers(speech_encoder, layers), speech_encoder.frame_samples
    count = max(_BATCH, math.ceil(hours * 3600 / WINDOW_SECONDS))
    trained_hours = count * WINDOW_SECONDS / 3600
    makers = [
        RecordingMaker(train_clips, WINDOW_SECONDS, seed),
        RecordingMaker(held_out_clips, WINDOW_SECONDS, seed + 1),
    ]

    states, labels = [], []
    for recording, states_FD in _encoded(makers[0], count, shorter, "recordings"):
        states.append(states_FD)
        labels.append(boundary_labels(recording, frame_samples))
    head = fit_head(torch.stack(states), torch.stack(labels), seed)

    held_out = [
        (recording, _probabilities(head, states_FD))
        for recording, states_FD in _encoded(makers[1], math.ceil(count / _HELD_OUT), shorter, "held-out recordings")
    ]
    threshold = best_threshold(held_out[::2], frame_samples)
    scores = score_boundaries(held_out[1::2], frame_samples, threshold)
    output = output or (folder.parent if folder.is_file() else folder)
    output.mkdir(parents=True, exist_ok=True)
    clips = sum(map(len, train_clips.values()))
    about = {
        "clips": clips,
        "languages": sorted(train_clips),
        "hours": round(trained_hours, 2),
        "seed": seed,
        "scores": scores.figures(),
    }
    save_segmenter(output, SentenceBoundaries(speech_encoder, head, layers, threshold), about)
    for line in [f"left out: {reason}" for maker in makers for reason in maker.failed.values()]:
        report(line)
    for line in scores.lines():
        report(line)
    joined = f"{trained_hours:.1f} h of joined clips ({clips:,} in {len(train_clips)} languages)"
    used = f"{layers} encoder layer{'s' * (layers != 1)}"
    report(f"{output / SEGMENTER_FILE}: {used}, threshold {threshold:g}, trained on {joined}")


def boundary_labels(recording: JoinedRecording, frame_samples: int) -> Tensor:
    """Return 1 for frames outside sentences or close to a boundary, 0 for others, (F,)."""
    centers_F = (np.arange(len(recording.waveform_T) // frame_samples) + 0.5) * frame_samples
    labels_F = np.zeros(len(centers_F), np.float32)
    margin = max(_JOINT_SECONDS * SAMPLE_RATE_HZ, frame_samples)
    for start, end in recording.outside:
        labels_F[(centers_F >= start - margin) & (centers_F <= end + margin)] = 1
    return torch.from_numpy(labels_F)


def fit_head(states_NFD: Tensor, labels_NF: Tensor, seed: int) -> BoundaryHead:
    """Train a head with the cross-entropy of all frames (AdamW, one cycle of the learning rate)."""
    device = states_NFD.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        head = BoundaryHead(states_NFD.shape[2]).to(device)
        batches = len(states_NFD) // _BATCH
        optimizer = torch.optim.AdamW(head.parameters(), weight_decay=_WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LR, total_steps=_EPOCHS * batches)
        with progress_bar("updates", _EPOCHS * batches) as advance:
            for _ in range(_EPOCHS):
                for rows in torch.split(torch.randperm(len(states_NFD)), _BATCH)[:batches]:
                    logits_NF = head(states_NFD[rows])
                    loss = F.binary_cross_entropy_with_logits(logits_NF, labels_NF[rows].to(device))
                    optimizer.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                    schedule.step()
                    advance(1)
    return head.eval()


def _split(manifests: Sequence[Path]) -> tuple[dict[str, list[Utterance]], dict[str, list[Utterance]]]:
    """Return clips for training and held-out ones, by language; each file once. VoxlateError if there are too few."""
    found: dict[str, dict[str, Utterance]] = {}
    for manifest in manifests:
        for utterance in read_manifest(manifest):
            if utterance.source_language is None:
                raise VoxlateError(f"{manifest}: {utterance.id} has no source_language; expected one for every clip")
            if utterance.error is None:
                found.setdefault(utterance.source_language, {}).setdefault(_audio_key(utterance), utterance)
    clips = {language: [*by_audio.values()] for language, by_audio in found.items()}
    few = [f"{language} {len(utterances)}" for language, utterances in clips.items() if len(utterances) < _HELD_OUT]
    if few or not clips:
        raise VoxlateError(
            f"too few clips to join ({', '.join(few) or 'none'}); expected {_HELD_OUT} or more of each language"
        )
    held_out = {language: utterances[::_HELD_OUT] for language, utterances in clips.items()}
    for utterances in clips.values():
        del utterances[::_HELD_OUT]
    return clips, held_out


def _audio_key(utterance: Utterance) -> str:
    return str(utterance.audio) if isinstance(utterance.audio, Path) else utterance.id


def _encoded(
    maker: RecordingMaker, count: int, encoder: SpeechEncoder, title: str
) -> Iterator[tuple[JoinedRecording, Tensor]]:
    """Yield recordings and their states, (F, D) in bfloat16."""
    with progress_bar(title, count) as advance:
        for recording in maker.recordings(count):
            frames = len(recording.waveform_T) // encoder.frame_samples
            with torch.no_grad():
                [states_FD] = encode(encoder, [window(encoder, recording.waveform_T, 0, frames)])
            yield recording, states_FD.bfloat16()
            advance(1)


def _probabilities(head: BoundaryHead, states_FD: Tensor) -> Floats:
    with torch.inference_mode():
        return np.asarray(head(states_FD[None])[0].sigmoid().cpu().numpy(), np.float32)
