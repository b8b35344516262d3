"""What one batch contributes to the loss: sums, never means.

Shape letters: B utterances, T samples or tokens, S encoder frames, D width, L source labels.
"""

import torch
from torch import Tensor, nn

from voxlate.data.batching import Batch
from voxlate.models.ctc_head import CtcHead
from voxlate.models.loss import smoothed_cross_entropy
from voxlate.models.speech_translator import SpeechTranslator


class Objective(nn.Module):
    """A translator with its losses as one module, so that DDP and FSDP see a single forward pass."""

    def __init__(self, translator: SpeechTranslator, ctc: CtcHead | None, label_smoothing: float) -> None:
        super().__init__()
        self.translator, self.ctc, self.label_smoothing = translator, ctc, label_smoothing

    def forward(self, batch: Batch, *, encoder_frozen: bool = False, translates: bool = True) -> Tensor:
        """Return the sums over a batch, (2,): cross-entropy over target tokens, CTC loss over source characters.

        Without `translates` the first is 0: the decoder is not asked.
        """
        if batch.states_BSD is not None:
            frames_BSD, frame_lengths_B = batch.states_BSD, batch.lengths_B
        else:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not encoder_frozen):
                frames_BSD, frame_lengths_B = self.translator.encoder(batch.waveform_BT, batch.lengths_B)
        translation = spelling = torch.zeros((), device=frames_BSD.device)
        if translates:
            decoder = self.translator.decoder
            memory = decoder.cross_attention_cache(*self.translator.adapt(frames_BSD, frame_lengths_B))
            states_BTD = decoder(batch.tokens_BT, memory)
            translation = smoothed_cross_entropy(
                states_BTD.flatten(0, 1), decoder.output_weight, batch.labels_BT.flatten(), self.label_smoothing
            )
        if self.ctc is not None:
            spelling = self.ctc(frames_BSD, frame_lengths_B, batch.characters_BL, batch.character_lengths_B)
        return torch.stack([translation, spelling])
