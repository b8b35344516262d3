"""The language identifier: a speech encoder, mean pooling and a classifier.

Shape letters: B utterances, T samples, S frames, D width, L languages.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from voxlate.models.encoder import SpeechEncoder, zero_padding


class LanguageIdentifier(nn.Module):
    """A network from waveforms to log-probabilities of languages.

    `languages` has the language code of each label, or None for a label that is not a language.
    """

    def __init__(
        self, encoder: SpeechEncoder, projector: nn.Linear, classifier: nn.Linear, languages: Sequence[str | None]
    ) -> None:
        super().__init__()
        self.encoder, self.projector, self.classifier = encoder, projector, classifier
        self.languages = tuple(languages)

    def forward(self, waveform_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Return log_probs_BL in float32."""
        mean_BD = mean_state(self.encoder, waveform_BT.to(self.classifier.weight), lengths_B)
        logits_BL = self.classifier(self.projector(mean_BD.to(self.classifier.weight.dtype))).float()
        is_language_L = torch.tensor([language is not None for language in self.languages], device=logits_BL.device)
        return cast("Tensor", logits_BL.masked_fill(~is_language_L, -torch.inf).log_softmax(-1))


def mean_state(encoder: SpeechEncoder, waveform_BT: Tensor, lengths_B: Tensor) -> Tensor:
    """Return the mean of each utterance's states over its valid frames, (B, D), in float32."""
    states_BSD, lengths_B = encoder(waveform_BT, lengths_B.to(waveform_BT.device))
    return zero_padding(states_BSD.float(), lengths_B).sum(1) / lengths_B[:, None]
