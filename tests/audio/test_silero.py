"""Silero's network computed with NumPy gives the probabilities of the same network in PyTorch.

Shape letters: T samples at 16 kHz, F frames of 32 ms.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from recordings import demo_sentences, record
from voxlate.audio.resampling import SAMPLE_RATE_HZ, Waveform
from voxlate.audio.silero import FRAME_SAMPLES, speech_probabilities

CONTEXT_SAMPLES = 64


def weights_path() -> Path:
    """Return the file of the weights, without importing the package, which would set torch to one thread."""
    package = find_spec("silero_vad")
    assert package is not None
    assert package.submodule_search_locations is not None
    return Path(next(iter(package.submodule_search_locations))) / "data/silero_vad_16k.safetensors"


class SileroNetwork(nn.Module):
    """The network, one frame at a time."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.weights = weights
        self.cell = nn.LSTMCell(128, 128)
        self.cell.load_state_dict({name: weights[f"lstm_cell.{name}"] for name in self.cell.state_dict()})

    def forward(self, frame_T: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the probability of speech in a frame with its context, and the state after it."""
        weights = self.weights
        padded = F.pad(frame_T[None, None], (0, CONTEXT_SAMPLES), mode="reflect")
        real, imaginary = F.conv1d(padded, weights["stft_conv.weight"], stride=128).chunk(2, dim=1)
        features = torch.sqrt(real**2 + imaginary**2)
        for number, stride in ((1, 1), (2, 2), (3, 2), (4, 1)):
            weight, bias = weights[f"conv{number}.weight"], weights[f"conv{number}.bias"]
            features = F.conv1d(features, weight, bias, stride=stride, padding=1).relu()
        state = self.cell(features[:, :, 0], state)
        output = F.conv1d(state[0].relu()[:, :, None], weights["final_conv.weight"], weights["final_conv.bias"])
        return output.sigmoid().squeeze(), state


@pytest.fixture(scope="module")
def speech() -> Waveform:
    """Speech with pauses, whose length is not a multiple of a frame."""
    waveform_T = record(demo_sentences(3), "fr", pauses=[0.5] * 3).waveform_T
    assert len(waveform_T) % FRAME_SAMPLES
    return waveform_T


def frames_of(waveform_T: Waveform) -> Iterator[Tensor]:
    """Yield frames, each after its context. There are zeros before the waveform and after it."""
    padded_T = np.pad(waveform_T, (CONTEXT_SAMPLES, -len(waveform_T) % FRAME_SAMPLES))
    for start in range(0, len(waveform_T), FRAME_SAMPLES):
        yield torch.from_numpy(padded_T[start : start + CONTEXT_SAMPLES + FRAME_SAMPLES])


@torch.inference_mode()
def test_probabilities_are_those_of_the_network_in_pytorch(speech: Waveform) -> None:
    network = SileroNetwork(load_file(weights_path()))
    state = torch.zeros(1, 128), torch.zeros(1, 128)
    expected_F = []
    for frame_T in frames_of(speech):
        probability, state = network(frame_T, state)
        expected_F.append(float(probability))
    found_F = speech_probabilities([speech])
    np.testing.assert_allclose(found_F, expected_F, atol=1e-4)
    assert found_F.min() < 0.1
    assert found_F.max() > 0.9


@pytest.mark.parametrize("samples", [1, FRAME_SAMPLES - 1, 3 * FRAME_SAMPLES + 5])
def test_probabilities_do_not_depend_on_the_blocks(samples: int, speech: Waveform) -> None:
    waveform_T = speech[:SAMPLE_RATE_HZ] if samples == 1 else speech
    blocks = [waveform_T[start : start + samples] for start in range(0, len(waveform_T), samples)]
    np.testing.assert_allclose(speech_probabilities(blocks), speech_probabilities([waveform_T]), atol=1e-5)


def test_no_samples_have_no_probabilities() -> None:
    assert speech_probabilities([]).shape == (0,)
