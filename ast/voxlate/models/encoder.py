"""What every speech encoder is to the rest of the model.

Shape letters: B utterances, T samples of 16 kHz sound, S encoder frames, D width.
"""

from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

# What transformers' feature extractor must know to make of sound what we make of it.
WAVEFORMS: dict[str, Any] = {
    "feature_extractor_type": "Wav2Vec2FeatureExtractor",
    "feature_size": 1,
    "padding_side": "right",
    "padding_value": 0.0,
    "return_attention_mask": True,
    "sampling_rate": 16_000,
}


class SpeechEncoder(Protocol):
    """An `nn.Module` from waveforms to states, with true lengths in and out.

    What lies in the padding (NaN included) reaches no output, and an utterance's states do not depend on its
    neighbours in the batch. A clip shorter than the receptive field counts as one frame.
    """

    PREPROCESSOR: ClassVar[dict[str, Any]]  # of transformers, which makes the same of sound
    HAS_ADAPTER: ClassVar[bool]  # whether transformers' network can have one like ours

    output_dim: int
    frame_samples: int  # of sound from one state to the next
    normalize_waveform: bool
    model: Any  # transformers' network, whose names of tensors are those of its checkpoints

    @property
    def masks_time(self) -> bool:
        """Whether training masks frames, and so trains the embedding that stands for them."""
        ...

    @property
    def config(self) -> PreTrainedConfig:
        """transformers' config of the network, its adapter left out."""
        ...

    def __call__(self, waveform_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return states_BSD and the number of valid frames of each utterance."""
        ...


def valid_mask(lengths_B: Tensor, size: int) -> Tensor:
    """Return a boolean (B, size) mask that is true at the first `lengths_B` positions."""
    return torch.arange(size, device=lengths_B.device)[None, :] < lengths_B[:, None]


def zero_padding(states_BSD: Tensor, lengths_B: Tensor) -> Tensor:
    """Return the states with zeros after each length. A multiplication would let NaN through."""
    return states_BSD.masked_fill(~valid_mask(lengths_B, states_BSD.shape[1])[:, :, None], 0.0)


def conv_lengths(lengths_B: Tensor, convolution: nn.Conv1d) -> Tensor:
    """Return the lengths after a convolution, from its own kernel, stride and padding."""
    padding = int(convolution.padding[0])
    return (lengths_B + 2 * padding - convolution.kernel_size[0]) // convolution.stride[0] + 1
