"""Sentence boundaries of speech: a small network on the states of the first layers of a speech encoder.

For each frame it estimates the probability that the frame is between two sentences, or outside the speech. The method
is that of SHAS (Tsiamas et al. 2022, mt-upc/SHAS), whose network scores the states of a pretrained wav2vec 2.0; these
are the states of the translation model, and the classes are sentences instead of the segments of a corpus.
Shape letters: T samples, F frames, B windows, D width of the encoder, C channels of the head.
"""

import copy
from collections.abc import Sequence
from types import MethodType
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from voxlate.models.encoder import SpeechEncoder

WINDOW_SECONDS = 20.0  # that an encoder sees at once, in training too
_OVERLAP_SECONDS = 2.0  # of consecutive windows, each used up to the middle of it
_BATCH = 8  # windows encoded at once
_SAMPLE_RATE_HZ = 16_000
_KERNEL, _DILATIONS = 5, (1, 2, 4, 8)
_DROPOUT = 0.1


class BoundaryHead(nn.Module):
    """Residual dilated convolutions, which see 0.9 s of 30 ms frames on either side, and one logit per frame."""

    def __init__(self, width: int, channels: int = 64) -> None:
        super().__init__()
        self.norm, self.projection = nn.LayerNorm(width), nn.Linear(width, channels)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in _DILATIONS)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels, channels, _KERNEL, padding=_KERNEL // 2 * dilation, dilation=dilation)
            for dilation in _DILATIONS
        )
        self.output = nn.Linear(channels, 1)
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, states_BFD: Tensor) -> Tensor:
        """Return logits_BF: above 0 between sentences, below 0 within them."""
        states_BFC = self.projection(self.dropout(self.norm(states_BFD.float())))
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            states_BFC = states_BFC + convolution(self.dropout(norm(states_BFC)).transpose(1, 2)).relu().transpose(1, 2)
        return cast("Tensor", self.output(states_BFC.relu())[..., 0])


class SentenceBoundaries:
    """The head of a model and the first `layers` layers of its encoder, whose weights are shared.

    A frame counts as a boundary if its probability is above `threshold`.
    """

    def __init__(self, encoder: SpeechEncoder, head: BoundaryHead, layers: int, threshold: float = 0.5) -> None:
        self.head, self.layers, self.threshold = head.eval(), layers, threshold
        self.frame_samples = encoder.frame_samples
        self._encoder = first_layers(encoder, layers)

    @torch.inference_mode()
    def boundary_probabilities(self, waveforms: Sequence[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
        """Return for each 16 kHz waveform, (T,), the probability of each frame to be outside sentences, (F,).

        Frame f covers the samples from ``f * frame_samples``; the last frame may be incomplete. Waveforms may have any
        length. Their windows share batches.
        """
        seconds = self.frame_samples / _SAMPLE_RATE_HZ
        size, overlap = round(WINDOW_SECONDS / seconds), round(_OVERLAP_SECONDS / seconds)
        probabilities = [np.zeros(-(-len(waveform_T) // self.frame_samples), np.float32) for waveform_T in waveforms]
        windows = [
            (index, start)
            for index, probabilities_F in enumerate(probabilities)
            for start in range(0, max(1, len(probabilities_F) - overlap), size - overlap)
            if len(probabilities_F)
        ]
        for position in range(0, len(windows), _BATCH):
            batch = windows[position : position + _BATCH]
            samples = [
                window(self._encoder, waveforms[index], start, min(size, len(probabilities[index]) - start))
                for index, start in batch
            ]
            for (index, start), states_FD in zip(batch, encode(self._encoder, samples), strict=True):
                found_F = self.head(states_FD[None])[0].sigmoid().cpu().numpy()
                skipped = overlap // 2 if start else 0
                probabilities[index][start + skipped : start + len(found_F)] = found_F[skipped:]
        return probabilities


def window(encoder: SpeechEncoder, waveform_T: npt.NDArray[np.float32], start: int, frames: int) -> Tensor:
    """Return the samples that `frames` frames from `start` on depend on, (T,), with zeros beyond the waveform.

    They are normalized if the encoder expects that. A frame depends on more samples than it covers, on both sides.
    """
    first = start * encoder.frame_samples - (encoder.min_samples - encoder.frame_samples) // 2
    last = first + encoder.min_samples + (frames - 1) * encoder.frame_samples
    found_T = torch.from_numpy(np.ascontiguousarray(waveform_T[max(0, first) : last], np.float32))
    if encoder.normalize_waveform and len(found_T):
        variance, mean = torch.var_mean(found_T, correction=0)
        found_T = (found_T - mean) / torch.sqrt(variance + 1e-7)
    before = max(0, -first)
    return nn.functional.pad(found_T, (before, last - first - before - len(found_T)))


def encode(encoder: SpeechEncoder, windows: Sequence[Tensor]) -> list[Tensor]:
    """Return the states of windows, each (F, D)."""
    weight = next(cast("nn.Module", encoder).parameters())
    lengths_B = torch.tensor([len(window_T) for window_T in windows])
    waveform_BT = nn.utils.rnn.pad_sequence([*windows], batch_first=True).to(weight)
    states_BFD, lengths_B = encoder(waveform_BT, lengths_B.to(weight.device))
    return [states_FD[:length] for states_FD, length in zip(states_BFD, lengths_B.tolist(), strict=True)]


def first_layers(encoder: SpeechEncoder, layers: int) -> SpeechEncoder:
    """Return an encoder that ends after its first transformer layers and shares their weights."""
    shorter, network = _view(encoder), _view(encoder.model)
    shorter.model, network.encoder = network, _view(network.encoder)
    network.encoder.layers = nn.ModuleList([*network.encoder.layers][:layers])
    return cast("SpeechEncoder", shorter)


def _view(module: Any) -> Any:
    """Return a module with the same parameters and submodules, whose submodules can be replaced separately."""
    view = copy.copy(module)
    view._modules = dict(module._modules)
    for name, value in vars(module).items():
        if isinstance(value, MethodType):  # of the fast path, bound to the module
            setattr(view, name, MethodType(value.__func__, view))
    return view
