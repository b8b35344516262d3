"""A speech encoder with a linear CTC layer, for transcription.

Shape letters: B utterances, T samples, S frames, V labels.
"""

import torch
from torch import Tensor, nn

from voxlate.models.encoder import SpeechEncoder


class CtcModel(nn.Module):
    """A network from waveforms to log-probabilities of labels at every frame."""

    def __init__(self, encoder: SpeechEncoder, head: nn.Linear) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return self.head.weight.dtype

    def forward(self, waveform_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return log_probs_BSV in float32 and the number of valid frames."""
        states_BSD, lengths_B = self.encoder(waveform_BT.to(self.device, self.dtype), lengths_B.to(self.device))
        return self.head(states_BSD).float().log_softmax(-1), lengths_B
