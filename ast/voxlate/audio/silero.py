"""Silero's network for voice activity detection (https://github.com/snakers4/silero-vad), computed with NumPy.

The weights are those of the wheel `silero-vad` (MIT). Its own streaming model computes one frame at a time (45 s of
audio a second on one core), its sequence model needs onnxruntime (about as fast as this), and importing the package
sets torch to one thread for the whole process. Here, all frames of a block are computed at once, which needs neither
torch nor onnxruntime, so that it can run in the threads and processes that decode audio.

Shape letters: T samples at 16 kHz, F frames of 32 ms, M frames of the spectrogram in one of them, C channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from voxlate.audio.resampling import Waveform
from voxlate.errors import VoxlateError

FRAME_SAMPLES = 512
_CONTEXT_SAMPLES = 64  # of the previous frame, in front of each frame
_WINDOW, _HOP = 256, 128  # of the spectrogram, in samples
_BLOCK_FRAMES = 256  # computed at once: larger blocks do not fit into the cache of a core

Floats = npt.NDArray[np.float32]


def speech_probabilities(blocks: Iterable[Waveform]) -> Floats:
    """Return the probability of speech in each frame of a waveform, (F,); the last one is padded with zeros.

    `blocks` are consecutive parts of the waveform, of any lengths. VoxlateError if the weights are not installed.
    """
    network = _network()
    state = network.initial_state()
    probabilities: list[Floats] = []
    for frames in _framed(blocks):
        block, state = network.probabilities(frames, state)
        probabilities.append(block)
    return np.concatenate([np.zeros(0, np.float32), *probabilities])


def _framed(blocks: Iterable[Waveform]) -> Iterator[Floats]:
    """Yield blocks of frames, each with its context in front, (F, 576)."""
    waiting_T = np.zeros(_CONTEXT_SAMPLES, np.float32)

    def frames_of(waveform_T: Floats, count: int) -> Floats:
        windows = np.lib.stride_tricks.sliding_window_view(waveform_T, _CONTEXT_SAMPLES + FRAME_SAMPLES)
        return windows[::FRAME_SAMPLES][:count]

    for block_T in blocks:
        waiting_T = np.concatenate([waiting_T, block_T])
        while len(waiting_T) >= _CONTEXT_SAMPLES + FRAME_SAMPLES:
            count = min((len(waiting_T) - _CONTEXT_SAMPLES) // FRAME_SAMPLES, _BLOCK_FRAMES)
            yield frames_of(waiting_T, count)
            waiting_T = waiting_T[count * FRAME_SAMPLES :]
    if len(waiting_T) > _CONTEXT_SAMPLES:
        yield frames_of(np.pad(waiting_T, (0, _CONTEXT_SAMPLES + FRAME_SAMPLES - len(waiting_T))), 1)


@lru_cache(1)
def _network() -> _Network:
    # The package is not imported: that would set torch to one thread.
    package = find_spec("silero_vad")
    folders = (package.submodule_search_locations if package is not None else None) or []
    path = next((Path(folder) / "data" / "silero_vad_16k.safetensors" for folder in folders), None)
    try:
        if path is None:
            raise FileNotFoundError
        return _Network(load_file(path))
    except (OSError, SafetensorError, KeyError):
        raise VoxlateError(
            "silero-vad, which detects speech, is not installed or has no silero_vad_16k.safetensors; reinstall it "
            "with python3 -m pip install --force-reinstall 'silero-vad>=6.2.3,<7', or use --no-vad"
        ) from None


_State = tuple[Floats, Floats]


class _Network:
    """A spectrogram, four convolutions, an LSTM cell and a logistic output for each frame."""

    def __init__(self, weights: dict[str, Floats]) -> None:
        self._window = weights["stft_conv.weight"][0, 0]  # row 0 is frequency 0: the window alone
        self._convolutions = [
            (_as_matrix(weights[f"conv{number}.weight"]), weights[f"conv{number}.bias"], stride)
            for number, stride in ((1, 1), (2, 2), (3, 2), (4, 1))
        ]
        # A logistic function is a scaled tanh: with these scales, all gates are one tanh of one vector.
        size = weights["lstm_cell.weight_hh"].shape[1]
        self._size = size
        scale = np.full(4 * size, 0.5, np.float32)
        scale[2 * size : 3 * size] = 1.0  # the candidate of the cell
        self._input = np.ascontiguousarray(weights["lstm_cell.weight_ih"].T * scale)
        self._hidden = np.ascontiguousarray(weights["lstm_cell.weight_hh"].T * scale)
        self._bias = (weights["lstm_cell.bias_ih"] + weights["lstm_cell.bias_hh"]) * scale
        self._output, self._output_bias = weights["final_conv.weight"][0, :, 0], weights["final_conv.bias"]

    def initial_state(self) -> _State:
        return np.zeros(self._size, np.float32), np.zeros(self._size, np.float32)

    def probabilities(self, frames: Floats, state: _State) -> tuple[Floats, _State]:
        """Return the probabilities of frames (F, 576) with context, and the state after them."""
        features_FMC = np.abs(np.fft.rfft(_windows(frames) * self._window)).astype(np.float32, copy=False)
        for matrix, bias, stride in self._convolutions:
            features_FMC = _convolve(features_FMC, matrix, bias, stride)
        hidden_FC, state = self._recur(features_FMC[:, 0], state)
        logits_F = np.maximum(hidden_FC, 0) @ self._output + self._output_bias
        return 1 / (1 + np.exp(-logits_F)), state

    def _recur(self, features_FC: Floats, state: _State) -> tuple[Floats, _State]:
        hidden: Floats = state[0]
        cell: Floats = state[1]
        size = self._size
        gates_FC = features_FC @ self._input + self._bias
        hidden_FC = np.empty_like(features_FC)
        gates = np.empty(4 * size, np.float32)
        for frame, input_gates in enumerate(gates_FC):
            np.dot(hidden, self._hidden, out=gates)
            gates += input_gates
            np.tanh(gates, out=gates)
            logistic = gates * np.float32(0.5) + np.float32(0.5)
            cell = logistic[size : 2 * size] * cell + logistic[:size] * gates[2 * size : 3 * size]
            hidden = logistic[3 * size :] * np.tanh(cell)
            hidden_FC[frame] = hidden
        return hidden_FC, (hidden, cell)


def _windows(frames: Floats) -> Floats:
    """Return the windows of the spectrogram, (F, M, 256), of frames whose last 64 samples are mirrored after them."""
    padded = np.concatenate([frames, frames[:, -2 : -_CONTEXT_SAMPLES - 2 : -1]], axis=1)
    return np.lib.stride_tricks.sliding_window_view(padded, _WINDOW, axis=1)[:, ::_HOP]


def _as_matrix(weight: Floats) -> Floats:
    """Return the weight of a convolution of width 3, (out, in, 3), as a matrix (3 * in, out)."""
    return np.ascontiguousarray(weight.transpose(2, 1, 0).reshape(-1, weight.shape[0]))


def _convolve(features_FMC: Floats, matrix: Floats, bias: Floats, stride: int) -> Floats:
    """Return the rectified output of a convolution of width 3 with zero padding."""
    frames, length, _ = features_FMC.shape
    padded = np.pad(features_FMC, ((0, 0), (1, 1), (0, 0)))
    columns = np.concatenate([padded[:, offset : offset + length : stride] for offset in range(3)], axis=2)
    outputs = columns.reshape(-1, columns.shape[2]) @ matrix
    outputs += bias
    return np.maximum(outputs, 0, out=outputs).reshape(frames, columns.shape[1], -1)
