"""WavLM as a speech encoder."""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar

from torch import Tensor
from transformers import WavLMConfig, WavLMModel

from voxlate.models.encoder import enable_checkpointing
from voxlate.models.wav2vec2 import Wav2Vec2Encoder


class WavLMEncoder(Wav2Vec2Encoder):
    """WavLM base and base-plus (group norm, no normalization of waveforms) and large (Chen et al. 2022).

    Its attention has gated biases for relative positions, which transformers computes in one way only.
    """

    CONFIG: ClassVar[Any] = WavLMConfig
    NETWORK: ClassVar[Any] = WavLMModel
    HAS_POSITION_BIAS: ClassVar[bool] = True

    def transformer(self, states_BSD: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Return the last hidden states; the mask is true at valid frames."""
        with _mixed_masks():
            return super().transformer(states_BSD, mask_BS)

    def checkpoint_gradients(self) -> None:
        """Compute the layers again in the backward pass instead of keeping their activations (Chen et al. 2016)."""
        enable_checkpointing(self.model, context_fn=_checkpoint_contexts)


@contextmanager
def _mixed_masks() -> Iterator[None]:
    """Silence torch about attention masks of two kinds, boolean and float, which transformers combines here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
        yield


def _checkpoint_contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return the contexts of a layer's forward pass and of its repetition in the backward pass."""
    return nullcontext(), _mixed_masks()
