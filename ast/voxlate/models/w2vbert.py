"""w2v-BERT 2.0 as a speech encoder: mel features, conformer layers, frames of 20 ms.

The network is transformers' `Wav2Vec2BertModel` without its adapter; the features are those of its feature extractor.
Shape letters: B utterances, T samples, F mel frames of 10 ms, P frequencies, S states, M mel bins, D width.
"""

from functools import cache
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel
from transformers.audio_utils import mel_filter_bank, window_function

from voxlate.models.encoder import enable_checkpointing, on_device, valid_mask, zero_padding
from voxlate.models.masking import mask_states

_WINDOW, _HOP, _FFT, _BINS = 400, 160, 512, 80  # samples, samples, points, mel bins
_STACKED = 2  # mel frames in a state
_FLOOR = 1.192092955078125e-07
_MIN_SAMPLES = _WINDOW + _HOP  # one state: a variance needs two mel frames


class Wav2Vec2BertEncoder(nn.Module):
    """A `SpeechEncoder` (Barrault et al. 2023). Features are normalized, not waveforms."""

    PREPROCESSOR: ClassVar[dict[str, Any]] = {
        "feature_extractor_type": "SeamlessM4TFeatureExtractor",
        "feature_size": _BINS,
        "num_mel_bins": _BINS,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": True,
        "sampling_rate": 16_000,
        "stride": _STACKED,
    }
    HAS_ADAPTER: ClassVar[bool] = False  # transformers' adapter has another architecture

    def __init__(self, config: Any, *, normalize_waveform: bool = False) -> None:  # noqa: ARG002 (ignored)
        super().__init__()
        self.config = Wav2Vec2BertConfig.from_dict({**config.to_dict(), "add_adapter": False})
        self.output_dim: int = config.hidden_size
        self.frame_samples, self.min_samples = _STACKED * _HOP, _MIN_SAMPLES
        self.normalize_waveform = False
        self.model: Any = Wav2Vec2BertModel(self.config)

    @property
    def masks_time(self) -> bool:
        """Whether training masks frames, and so trains the embedding that replaces them."""
        return bool(self.config.apply_spec_augment and self.config.mask_time_prob > 0)

    def forward(self, waveform_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return states_BSD and their lengths; see `SpeechEncoder`."""
        features = [
            self.mel_features(waveform_T[:length])
            for waveform_T, length in zip(waveform_BT, lengths_B.tolist(), strict=True)
        ]
        lengths_B = on_device(self.frame_lengths(lengths_B), waveform_BT.device)
        return self.encode(nn.utils.rnn.pad_sequence(features, batch_first=True), lengths_B), lengths_B

    def frame_lengths(self, lengths_B: Tensor) -> Tensor:
        """Return the number of states of waveforms; see `SpeechEncoder`."""
        return ((lengths_B.clamp(min=_MIN_SAMPLES) - _WINDOW) // _HOP + 1) // _STACKED

    def encode(self, features_BSM: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the states of padded mel features, (B, S, D)."""
        network = self.model
        states_BSD = network.feature_projection(features_BSM.to(network.feature_projection.projection.weight.dtype))[0]
        if self.training and self.config.apply_spec_augment:
            states_BSD = mask_states(states_BSD, lengths_B, network)
        states_BSD = self.transformer(states_BSD, valid_mask(lengths_B, states_BSD.shape[1]))
        if network.intermediate_ffn is not None:
            states_BSD = states_BSD + 0.5 * network.intermediate_ffn(states_BSD)
        return zero_padding(states_BSD, lengths_B)

    def transformer(self, states_BSD: Tensor, mask_BS: Tensor) -> Tensor:
        """Return the states after the conformer layers, (B, S, D); the mask is true at valid states."""
        return cast("Tensor", self.model.encoder(states_BSD, attention_mask=mask_BS).last_hidden_state)

    def checkpoint_gradients(self) -> None:
        """Recompute activations in the backward pass instead of storing them (Chen et al. 2016)."""
        enable_checkpointing(self.model)

    def mel_features(self, waveform_T: Tensor) -> Tensor:
        """Return Kaldi's log mel features, normalized per bin, two frames stacked: (S, 2M)."""
        waveform_T = nn.functional.pad(waveform_T.double(), (0, max(0, _MIN_SAMPLES - len(waveform_T))))
        frames_FT = (waveform_T * 2**15).unfold(0, _WINDOW, _HOP)
        frames_FT = frames_FT - frames_FT.mean(1, keepdim=True)
        previous_FT = nn.functional.pad(frames_FT[:, :-1], (1, 0), mode="replicate")
        window_T, filters_PM = _mel_tables(waveform_T.device)
        frames_FT = (frames_FT - 0.97 * previous_FT) * window_T
        power_FP = torch.fft.rfft(frames_FT, _FFT).abs().square()
        mel_FM = (power_FP @ filters_PM).clamp(min=_FLOOR).log()
        mel_FM = (mel_FM - mel_FM.mean(0)) / (mel_FM.var(0) + 1e-7).sqrt()
        states = len(mel_FM) // _STACKED
        return cast("Tensor", mel_FM[: states * _STACKED].reshape(states, -1).float())


@cache
def _mel_tables(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the window, (T,), and the mel filters, (P, M), on a device."""
    filters_PM = mel_filter_bank(
        num_frequency_bins=_FFT // 2 + 1,
        num_mel_filters=_BINS,
        min_frequency=20,
        max_frequency=8_000,
        sampling_rate=16_000,
        norm=None,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    window_T = window_function(_WINDOW, "povey", periodic=False)
    return on_device(torch.from_numpy(window_T), device), on_device(torch.from_numpy(filters_PM), device)
