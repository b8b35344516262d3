"""WavLM as a speech encoder."""

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
    _PLAIN_LAYERS = False

    def _choose_attention(self, states_BSD: Tensor) -> None:
        """Keep the one there is."""
