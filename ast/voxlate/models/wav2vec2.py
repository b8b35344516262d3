"""The wav2vec 2.0 family as a speech encoder: XLS-R 300M, 1B and 2B, XLSR-53, wav2vec 2.0, and what is built like it.

The network is transformers' `Wav2Vec2Model` without its adapter. Lengths, padding and short clips are handled here.
Shape letters: B utterances, T samples, S frames, N frames of all clips, D width.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2Model

from voxlate.models.cpu.convolutions import convolve
from voxlate.models.cpu.packed import has_plain_layers, packed_states
from voxlate.models.cpu.parallel import in_parallel
from voxlate.models.encoder import WAVEFORMS, conv_lengths, valid_mask, zero_padding
from voxlate.models.masking import mask_states

_SHORT_FRAMES = 256  # beyond them, plain attention's matrices would take too much memory


class Wav2Vec2Encoder(nn.Module):
    """A `SpeechEncoder` of 20 ms frames (Baevski et al. 2020; Babu et al. 2021)."""

    CONFIG: ClassVar[Any] = Wav2Vec2Config
    NETWORK: ClassVar[Any] = Wav2Vec2Model
    PREPROCESSOR: ClassVar[dict[str, Any]] = WAVEFORMS
    HAS_ADAPTER: ClassVar[bool] = True
    PLAIN_LAYERS: ClassVar[bool] = True  # attention sees states alone, without biases for positions

    def __init__(self, config: Any, *, normalize_waveform: bool = True) -> None:
        super().__init__()
        self.config = self.CONFIG.from_dict({**config.to_dict(), "add_adapter": False})
        self.output_dim: int = config.hidden_size
        self.frame_samples = prod(config.conv_stride)
        self.normalize_waveform = normalize_waveform
        self.model: Any = self.NETWORK(self.config)
        self._attention: str = self.model.config._attn_implementation
        # transformers lets the waveform require gradients in training, for its checkpointing: the backward pass would
        # go down to it through all that is frozen.
        self.model.feature_extractor._requires_grad = False
        self.min_samples = _receptive_field(config.conv_kernel, config.conv_stride)

    @property
    def masks_time(self) -> bool:
        """Whether training masks frames, and so trains the embedding that stands for them."""
        return bool(self.config.apply_spec_augment and self.config.mask_time_prob > 0)

    def forward(self, waveform_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return states_BSD and frame lengths; see `SpeechEncoder`."""
        if waveform_BT.device.type == "cpu" and not torch.is_grad_enabled() and not self.training:
            return self._forward_clips(waveform_BT, lengths_B)
        waveform_BT = waveform_BT.masked_fill(~valid_mask(lengths_B, waveform_BT.shape[1]), 0.0)
        waveform_BT = nn.functional.pad(waveform_BT, (0, max(0, self.min_samples - waveform_BT.shape[1])))
        lengths_B = lengths_B.clamp(min=self.min_samples)

        features_BSD = self._features(waveform_BT, lengths_B)
        for layer in self.model.feature_extractor.conv_layers:
            lengths_B = conv_lengths(lengths_B, layer.conv)
        mask_BS = valid_mask(lengths_B, features_BSD.shape[1])
        states_BSD = self._project(features_BSD)
        if self.training and self.config.apply_spec_augment:
            states_BSD = mask_states(states_BSD, lengths_B, self.model)
        self._choose_attention(states_BSD)
        states_BSD = self._layers(states_BSD, mask_BS)
        return zero_padding(states_BSD, lengths_B), lengths_B

    def _forward_clips(self, waveform_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Compute nothing for padding: on a CPU a batch is not faster than its clips one by one."""
        clips = [
            nn.functional.pad(waveform_T[:length], (0, max(0, self.min_samples - length)))
            for waveform_T, length in zip(waveform_BT, lengths_B.tolist(), strict=True)
        ]
        states = in_parallel(self._clip_states, clips, [len(clip_T) for clip_T in clips])
        lengths_B = torch.tensor([len(states_SD) for states_SD in states])
        return nn.utils.rnn.pad_sequence(states, batch_first=True), lengths_B

    def _clip_states(self, clips: Sequence[Tensor]) -> Sequence[Tensor]:
        features = [self._features(clip_T[None], torch.tensor([len(clip_T)]))[0] for clip_T in clips]
        lengths = [len(features_SD) for features_SD in features]
        states_ND = self._project(torch.cat(features))
        if self.PLAIN_LAYERS and has_plain_layers(self.model.encoder):
            return torch.split(packed_states(self.model, states_ND, lengths), lengths)
        return [self._layers(clip_SD[None], None)[0] for clip_SD in torch.split(states_ND, lengths)]

    def _project(self, features: Tensor) -> Tensor:
        """Bring features (..., channels) to the width of the layers."""
        return cast("Tensor", self.model.feature_projection(features)[0])

    def _layers(self, states_BSD: Tensor, mask_BS: Tensor | None) -> Tensor:
        return cast("Tensor", self.model.encoder(states_BSD, attention_mask=mask_BS).last_hidden_state)

    def _choose_attention(self, states_BSD: Tensor) -> None:
        """Train on short clips with plain attention: on a CPU the fused one's backward pass is several times slower."""
        plain = self.training and states_BSD.device.type == "cpu" and states_BSD.shape[1] <= _SHORT_FRAMES
        kind = "eager" if plain else self._attention
        if self.model.config._attn_implementation != kind:
            self.model.set_attn_implementation(kind)

    def _features(self, waveform_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Run the convolutions. Group norm averages over time: there every clip goes alone, at its own length."""
        extractor = self.model.feature_extractor
        if self.config.feat_extract_norm == "layer":
            if waveform_BT.device.type == "cpu":
                return convolve(extractor.conv_layers, waveform_BT)
            return cast("Tensor", extractor(waveform_BT).transpose(1, 2))
        features = [
            extractor(waveform_T[None, :length])[0].T
            for waveform_T, length in zip(waveform_BT, lengths_B.tolist(), strict=True)
        ]
        return nn.utils.rnn.pad_sequence(features, batch_first=True)


def _receptive_field(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Return the samples that one frame needs: 400 for every published model."""
    samples = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples
