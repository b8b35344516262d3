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

    Its attention has gated relative position biases, for which transformers has only one implementation.
    """

    CONFIG: ClassVar[Any] = WavLMConfig
    NETWORK: ClassVar[Any] = WavLMModel
    HAS_POSITION_BIAS: ClassVar[bool] = True

    def transformer(self, states_BSD: Tensor, mask_BS: Tensor | None) -> Tensor:
        """Return the last hidden states, (B, S, D); the mask is true at valid frames."""
        with _ignored_mask_warning():
            return super().transformer(states_BSD, mask_BS)

    def checkpoint_gradients(self) -> None:
        """Recompute activations in the backward pass instead of storing them (Chen et al. 2016)."""
        enable_checkpointing(self.model, context_fn=_checkpoint_contexts)


@contextmanager
def _ignored_mask_warning() -> Iterator[None]:
    """Ignore torch's warning about mixing boolean and float attention masks, as transformers does here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
        yield


def _checkpoint_contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return the contexts of a layer's forward pass and of its recomputation in the backward pass."""
    return nullcontext(), _ignored_mask_warning()
