"""WavLM as a speech encoder."""

import warnings
from typing import Any, ClassVar

from torch import Tensor
from transformers import WavLMConfig, WavLMModel

from voxlate.models.wav2vec2 import Wav2Vec2Encoder


class WavLMEncoder(Wav2Vec2Encoder):
    """WavLM base, base-plus (group norm, waveforms as they are) and large (Chen et al. 2022).

    Its attention has gated biases for relative positions, which transformers computes in one way only.
    """

    CONFIG: ClassVar[Any] = WavLMConfig
    NETWORK: ClassVar[Any] = WavLMModel
    PLAIN_LAYERS: ClassVar[bool] = False

    def _layers(self, states_BSD: Tensor, mask_BS: Tensor | None) -> Tensor:
        with warnings.catch_warnings():  # of torch, about the kinds of masks that transformers combines
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
            return super()._layers(states_BSD, mask_BS)

    def _choose_attention(self, states_BSD: Tensor) -> None:
        """Keep the one there is."""
