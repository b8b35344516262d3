"""The wav2vec 2.0 family as speech encoders: XLS-R 300M, 1B and 2B, XLSR-53, wav2vec 2.0.

The network is transformers' `Wav2Vec2Model` without its adapter. Lengths, padding and short clips are handled here.
Shape letters: B utterances, T samples, S frames, D width.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar, cast

from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2Model

from voxlate.models.encoder import (
    PREPROCESSOR,
    conv_lengths,
    enable_checkpointing,
    on_device,
    valid_mask,
    zero_padding,
)
from voxlate.models.masking import mask_states


class Wav2Vec2Encoder(nn.Module):
    """A `SpeechEncoder` with 20 ms frames (Baevski et al. 2020; Babu et al. 2021)."""

    CONFIG: ClassVar[Any] = Wav2Vec2Config
    NETWORK: ClassVar[Any] = Wav2Vec2Model
    PREPROCESSOR: ClassVar[dict[str, Any]] = PREPROCESSOR
    HAS_ADAPTER: ClassVar[bool] = True
    HAS_POSITION_BIAS: ClassVar[bool] = False  # in attention, from relative positions

    def __init__(self, config: Any, *, normalize_waveform: bool = True) -> None:
        super().__init__()
        self.config = self.CONFIG.from_dict({**config.to_dict(), "add_adapter": False})
        self.output_dim: int = config.hidden_size
        self.frame_samples = prod(config.conv_stride)
        self.normalize_waveform = normalize_waveform
        self.model: Any = self.NETWORK(self.config)
        self.default_attention: str = self.model.config._attn_implementation
        # In training, transformers lets the waveform require gradients, for its checkpointing: the backward pass would
        # then go through all frozen layers.
        self.model.feature_extractor._requires_grad = False
        self.min_samples = _receptive_field(config.conv_kernel, config.conv_stride)

    @property
    def masks_time(self) -> bool:
        """Whether training masks frames, and so trains the embedding that replaces them."""
        return bool(self.config.apply_spec_augment and self.config.mask_time_prob > 0)

    def forward(self, waveform_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return states_BSD and frame lengths; see `SpeechEncoder`."""
        valid_BT = valid_mask(on_device(lengths_B, waveform_BT.device), waveform_BT.shape[1])
        waveform_BT = waveform_BT.masked_fill(~valid_BT, 0.0)
        waveform_BT = nn.functional.pad(waveform_BT, (0, max(0, self.min_samples - waveform_BT.shape[1])))

        states_BSD = self.project(self.features(waveform_BT, lengths_B.clamp(min=self.min_samples)))
        lengths_B = on_device(self.frame_lengths(lengths_B), states_BSD.device)
        if self.training and self.config.apply_spec_augment:
            states_BSD = mask_states(states_BSD, lengths_B, self.model)
        states_BSD = self.transformer(states_BSD, valid_mask(lengths_B, states_BSD.shape[1]))
        return zero_padding(states_BSD, lengths_B), lengths_B

    def features(self, waveform_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the convolutional features of waveforms, (B, S, channels).

        Group norm averages over time, so each clip is computed separately, at its own length.
        """
        extractor, waveform_BT = self.model.feature_extractor, waveform_BT.to(next(self.parameters()).dtype)
        if self.config.feat_extract_norm == "layer":
            return cast("Tensor", extractor(waveform_BT).transpose(1, 2))
        features = [
            extractor(waveform_T[None, :length])[0].T
            for waveform_T, length in zip(waveform_BT, lengths_B.tolist(), strict=True)
        ]
        return nn.utils.rnn.pad_sequence(features, batch_first=True)

    def frame_lengths(self, lengths_B: Tensor) -> Tensor:
        """Return the number of frames of waveforms; see `SpeechEncoder`."""
        lengths_B = lengths_B.clamp(min=self.min_samples)
        for layer in self.model.feature_extractor.conv_layers:
            lengths_B = conv_lengths(lengths_B, layer.conv)
        return lengths_B

    def project(self, features: Tensor) -> Tensor:
        """Project features, (..., channels), to the width of the transformer, (..., D)."""
        return cast("Tensor", self.model.feature_projection(features)[0])

    def transformer(self, states_BSD: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Return the last hidden states, (B, S, D); the mask is true at valid frames."""
        return cast("Tensor", self.model.encoder(states_BSD, attention_mask=mask_BS).last_hidden_state)

    def checkpoint_gradients(self) -> None:
        """Recompute activations in the backward pass instead of storing them (Chen et al. 2016)."""
        enable_checkpointing(self.model)


def _receptive_field(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Return the number of samples that one frame depends on: 400 in every published model."""
    samples = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples
