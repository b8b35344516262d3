"""The first layers of an encoder, and the probabilities of frames of recordings of any length."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

from random_encoders import batch, build
from tiny import KINDS, waveforms
from voxlate.models.cpu.install import install_cpu_path
from voxlate.models.sentence_boundaries import BoundaryHead, SentenceBoundaries, encode, first_layers, window

KIND = KINDS["XLS-R, XLSR-53, wav2vec 2.0 LV-60"]


def boundaries(encoder: Any, layers: int) -> SentenceBoundaries:
    torch.manual_seed(1)
    return SentenceBoundaries(encoder, BoundaryHead(32, 8), layers)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_first_layers_share_the_weights_of_an_encoder(kind: tuple[str, dict[str, Any], bool]) -> None:
    encoder: Any = build(kind)
    clips = batch(encoder, 0.5, 1.1)
    expected_BSD, lengths_B = encoder(*clips)
    shorter: Any = first_layers(encoder, 1)
    assert len(shorter.model.encoder.layers) == 1
    assert len(encoder.model.encoder.layers) == 2
    assert {id(parameter) for parameter in shorter.parameters()} < {id(parameter) for parameter in encoder.parameters()}
    states_BSD, shorter_lengths_B = shorter(*clips)
    assert torch.equal(shorter_lengths_B, lengths_B)
    assert not torch.allclose(states_BSD, expected_BSD, atol=1e-2)
    torch.testing.assert_close(first_layers(encoder, 2)(*clips)[0], expected_BSD)
    torch.testing.assert_close(encoder(*clips)[0], expected_BSD)


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_frame_has_a_probability_also_on_the_fast_path(
    kind: tuple[str, dict[str, Any], bool], layers: int
) -> None:
    encoder = build(kind)
    fast = copy.deepcopy(encoder)
    install_cpu_path(fast)  # type: ignore[arg-type]
    for seconds in (0.0, 0.01, 0.02, 1.234):
        waveform_T = waveforms(2, seconds)[0].numpy()
        [found_F] = boundaries(encoder, layers).boundary_probabilities([waveform_T])
        assert found_F.shape == (-(-len(waveform_T) // encoder.frame_samples),)
        assert np.all((found_F > 0) & (found_F < 1))
        [fast_F] = boundaries(fast, layers).boundary_probabilities([waveform_T])
        np.testing.assert_allclose(fast_F, found_F, atol=1e-4)


def test_windows_of_a_long_recording_are_stitched_at_the_right_places() -> None:
    encoder: Any = build(KIND)
    encoder.normalize_waveform = False  # so that only attention depends on the window
    for layer in encoder.model.encoder.layers:
        torch.nn.init.zeros_(layer.attention.out_proj.weight)
    found = boundaries(encoder, 1)
    [noise_T] = waveforms(3, 57.77)
    waveform_T = noise_T.numpy()
    [probabilities_F] = found.boundary_probabilities([waveform_T])
    assert len(probabilities_F) == -(-len(waveform_T) // 320)
    # Frames have the same probabilities in other windows, unless they are close to an edge.
    [alone_F] = found.boundary_probabilities([waveform_T[320 * 100 : 320 * 2000]])
    np.testing.assert_allclose(alone_F[60:-60], probabilities_F[160:1940], atol=1e-5)
    assert probabilities_F[100:2000].std() > 0.01


def test_a_frame_depends_on_the_samples_around_it() -> None:
    encoder: Any = build(KIND)
    encoder.normalize_waveform = False
    quiet_T = np.zeros(16_000, np.float32)
    click_T = quiet_T.copy()
    click_T[320 * 20 + 160] = 1.0  # in the center of frame 20
    with torch.no_grad():
        states = [
            encoder.features(window(encoder, waveform_T, 0, 50)[None], torch.tensor([16_080]))[0]
            for waveform_T in (quiet_T, click_T)
        ]
    changed_F = (states[1] - states[0]).abs().amax(1)
    assert len(changed_F) == 50
    assert int(changed_F.argmax()) == 20
    [states_FD] = encode(encoder, [window(encoder, quiet_T, 0, 50)])
    assert len(states_FD) == 50
