"""w2v-BERT 2.0 as a speech encoder, also that of SeamlessM4T v2: mel features, conformer layers, frames of 20 ms.

The network is transformers' `Wav2Vec2BertModel` without its adapter; the features are those of its feature extractor.
Shape letters: B utterances, T samples, F mel frames of 10 ms, S states, M mel bins, D width.
"""

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
_NORM_EPS = 1e-5  # of SeamlessM4T's layers, whatever its config says


class Wav2Vec2BertEncoder(nn.Module):
    """A `SpeechEncoder` (Barrault et al. 2023). Features are normalized, not waveforms.

    SeamlessM4T's has a layer norm after its last layer, and attends within chunks: to the frames of the present one and
    of some before it. Its config has a field `voxlate_seamless` with the `chunk_frames` and `left_chunks` (-1: all).
    """

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
    ADAPTER_KIND: ClassVar[str | None] = "conformer"

    def __init__(self, config: Any, *, normalize_waveform: bool = False) -> None:  # noqa: ARG002 (ignored)
        super().__init__()
        fields = config.to_dict()
        # transformers has the feed-forward network after the layers only with an adapter, which is removed here.
        fields["add_adapter"] = config.use_intermediate_ffn_before_adapter
        self.config = Wav2Vec2BertConfig.from_dict(fields)
        without_layers = {"num_adapter_layers": 0, "output_hidden_size": config.hidden_size}
        self.output_dim: int = config.hidden_size
        self.frame_samples, self.min_samples = _STACKED * _HOP, _MIN_SAMPLES
        self.normalize_waveform = False
        self.model: Any = Wav2Vec2BertModel(Wav2Vec2BertConfig.from_dict(fields | without_layers))
        self.model.adapter = None
        self.chunks: dict[str, int] | None = getattr(config, "voxlate_seamless", None)
        if self.chunks is not None:
            self._add_seamless_parts()
        filters = mel_filter_bank(
            num_frequency_bins=_FFT // 2 + 1,
            num_mel_filters=_BINS,
            min_frequency=20,
            max_frequency=8_000,
            sampling_rate=16_000,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
        # Created with numpy, so that they have values even if the model is built on the meta device.
        self._filters = torch.from_numpy(filters)
        self._window = torch.from_numpy(window_function(_WINDOW, "povey", periodic=False))

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
        mask_BS = valid_mask(lengths_B, states_BSD.shape[1])
        states_BSD = self.transformer(states_BSD, mask_BS)
        if network.intermediate_ffn is not None:
            states_BSD = states_BSD + 0.5 * network.intermediate_ffn(states_BSD)
        return zero_padding(states_BSD, lengths_B)

    def transformer(self, states_BSD: Tensor, mask_BS: Tensor) -> Tensor:
        """Return the last hidden states, (B, S, D); the mask is true at valid frames."""
        network = self.model.encoder
        if self.chunks is None:
            return cast("Tensor", network(states_BSD, attention_mask=mask_BS).last_hidden_state)
        if states_BSD.shape[1] <= self.chunks["chunk_frames"]:
            states_BSD = network(states_BSD, attention_mask=mask_BS).last_hidden_state
        else:
            states_BSD = self._attend_within_chunks(states_BSD, mask_BS)
        return cast("Tensor", network.layer_norm(states_BSD))

    def _attend_within_chunks(self, states_BSD: Tensor, mask_BS: Tensor) -> Tensor:
        assert self.chunks is not None
        network = self.model.encoder
        chunk_S = torch.arange(states_BSD.shape[1], device=states_BSD.device) // self.chunks["chunk_frames"]
        distance_SS = chunk_S[:, None] - chunk_S[None, :]
        allowed_SS = distance_SS >= 0
        if self.chunks["left_chunks"] >= 0:
            allowed_SS &= distance_SS <= self.chunks["left_chunks"]
        allowed_B1SS = allowed_SS[None, None] & mask_BS[:, None, None, :]
        allowed_B1SS |= torch.eye(len(chunk_S), dtype=torch.bool, device=states_BSD.device)  # padding: no NaN
        bias_B1SS = torch.zeros_like(allowed_B1SS, dtype=states_BSD.dtype)
        bias_B1SS = bias_B1SS.masked_fill(~allowed_B1SS, torch.finfo(states_BSD.dtype).min)
        states_BSD = network.dropout(states_BSD.masked_fill(~mask_BS[:, :, None], 0.0))
        for layer in network.layers:
            if self.training and self.config.layerdrop > 0 and torch.rand(()) < self.config.layerdrop:
                continue
            output = layer(states_BSD, attention_mask=bias_B1SS, conv_attention_mask=mask_BS)
            states_BSD = output if isinstance(output, Tensor) else output[0]  # older releases of transformers: a tuple
        return states_BSD

    def _add_seamless_parts(self) -> None:
        network = self.model.encoder
        for norm in [module for module in network.modules() if isinstance(module, nn.LayerNorm)]:
            norm.eps = _NORM_EPS
        network.layer_norm = nn.LayerNorm(self.config.hidden_size, eps=self.config.layer_norm_eps)
        if self.model.intermediate_ffn is not None:
            for dropout in [
                module for module in self.model.intermediate_ffn.modules() if isinstance(module, nn.Dropout)
            ]:
                dropout.p = 0.0

    def checkpoint_gradients(self) -> None:
        """Recompute activations in the backward pass instead of storing them (Chen et al. 2016)."""
        enable_checkpointing(self.model)

    def mel_features(self, waveform_T: Tensor) -> Tensor:
        """Return Kaldi's log mel features, normalized per bin, two frames stacked: (S, 2M)."""
        waveform_T = nn.functional.pad(waveform_T.double(), (0, max(0, _MIN_SAMPLES - len(waveform_T))))
        frames_FT = (waveform_T * 2**15).unfold(0, _WINDOW, _HOP)
        frames_FT = frames_FT - frames_FT.mean(1, keepdim=True)
        previous_FT = nn.functional.pad(frames_FT[:, :-1], (1, 0), mode="replicate")
        frames_FT = (frames_FT - 0.97 * previous_FT) * self._window.to(frames_FT.device)
        power_FP = torch.fft.rfft(frames_FT, _FFT).abs().square()
        mel_FM = (power_FP @ self._filters.to(power_FP.device)).clamp(min=_FLOOR).log()
        mel_FM = (mel_FM - mel_FM.mean(0)) / (mel_FM.var(0) + 1e-7).sqrt()
        states = len(mel_FM) // _STACKED
        return cast("Tensor", mel_FM[: states * _STACKED].reshape(states, -1).float())
