"""The interface of all speech encoders, and their helpers for masks and lengths.

Shape letters: B utterances, T samples at 16 kHz, S encoder frames, D width.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

# Fields of preprocessor_config.json for which transformers' feature extractor computes the same inputs as ours.
PREPROCESSOR: dict[str, Any] = {
    "feature_extractor_type": "Wav2Vec2FeatureExtractor",
    "feature_size": 1,
    "padding_side": "right",
    "padding_value": 0.0,
    "return_attention_mask": True,
    "sampling_rate": 16_000,
}


class SpeechEncoder(Protocol):
    """An `nn.Module` from waveforms to states, with true lengths in and out.

    The content of the padding (even NaN) affects no output, and the states of an utterance do not depend on the other
    utterances of the batch. A clip shorter than the receptive field counts as one frame. Lengths may be on the
    host even if the waveforms are on a device; those that are returned are on the device.
    """

    PREPROCESSOR: ClassVar[dict[str, Any]]  # fields of preprocessor_config.json
    ADAPTER_KIND: ClassVar[str | None]  # of the adapter that transformers has for this network, as in `ADAPTERS`

    output_dim: int
    frame_samples: int  # samples from one state to the next
    min_samples: int  # samples that one state depends on through the convolutions or mel frames
    normalize_waveform: bool
    model: Any  # transformers' network, so that checkpoints have the same tensor names

    @property
    def masks_time(self) -> bool:
        """Whether training masks frames, and so trains the embedding that replaces them."""
        ...

    @property
    def config(self) -> PreTrainedConfig:
        """transformers' config of the network without an adapter."""
        ...

    def __call__(self, waveform_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return states_BSD and the number of valid frames of each utterance."""
        ...

    def frame_lengths(self, lengths_B: Tensor) -> Tensor:
        """Return the number of valid frames of utterances of the given lengths, on the same device."""
        ...

    def checkpoint_gradients(self) -> None:
        """Recompute activations in the backward pass instead of storing them (Chen et al. 2016)."""
        ...


def enable_checkpointing(network: Any, **settings: Any) -> None:
    """Turn on gradient checkpointing in a network of transformers; `settings` are those of torch's `checkpoint`."""
    # Older releases of transformers 5 only have the second name.
    enable = getattr(network, "activation_checkpointing_enable", None) or network.gradient_checkpointing_enable
    enable({"use_reentrant": False, **settings})


def on_device(values: Tensor | Sequence[int], device: torch.device) -> Tensor:
    """Return a tensor, or whole numbers as one, on a device without waiting for what the device is computing."""
    tensor = values if isinstance(values, Tensor) else torch.tensor(values, dtype=torch.long)
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()  # other memory is copied only after the device has finished
    return tensor.to(device, non_blocking=True)


def valid_mask(lengths_B: Tensor, size: int) -> Tensor:
    """Return a boolean (B, size) mask that is true at the first `lengths_B` positions."""
    return torch.arange(size, device=lengths_B.device)[None, :] < lengths_B[:, None]


def zero_padding(states_BSD: Tensor, lengths_B: Tensor) -> Tensor:
    """Return the states with zeros after each length, even where they are NaN."""
    return states_BSD.masked_fill(~valid_mask(lengths_B, states_BSD.shape[1])[:, :, None], 0.0)


def conv_lengths(lengths_B: Tensor, convolution: nn.Conv1d) -> Tensor:
    """Return the lengths after a convolution."""
    padding = int(convolution.padding[0])
    return (lengths_B + 2 * padding - convolution.kernel_size[0]) // convolution.stride[0] + 1
