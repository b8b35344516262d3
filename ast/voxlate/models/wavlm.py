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

    def __init__(self, config: Any, *, normalize_waveform: bool = True) -> None:
        super().__init__(config, normalize_waveform=normalize_waveform)
        # torch's, about the kinds of masks that transformers combines; in the backward pass, too, with checkpointing.
        warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")

    def _choose_attention(self, states_BSD: Tensor) -> None:
        """Keep the one there is."""
