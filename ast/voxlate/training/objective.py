"""The training loss of a batch, as sums rather than means.

Shape letters: B utterances, T samples or tokens, S encoder frames, D width, L source labels.
"""

import torch
from torch import Tensor, nn

from voxlate.data.batching import Batch
from voxlate.models.ctc_head import CtcHead
from voxlate.models.encoder import on_device
from voxlate.models.loss import smoothed_cross_entropy
from voxlate.models.speech_translator import SpeechTranslator


class Objective(nn.Module):
    """A translator and its losses as one module, so that DDP and FSDP see a single forward pass."""

    def __init__(self, translator: SpeechTranslator, ctc: CtcHead | None, label_smoothing: float) -> None:
        super().__init__()
        self.translator, self.ctc, self.label_smoothing = translator, ctc, label_smoothing

    def forward(self, batch: Batch, *, freeze_encoder: bool = False, ctc_only: bool = False) -> Tensor:
        """Return sums over the batch in nats, (2,): cross-entropy of target tokens, CTC loss of source characters.

        With `ctc_only`, the decoder does not run, and the first sum is 0.
        """
        if batch.states_BSD is not None:
            frames_BSD = batch.states_BSD.to(self.translator.dtype)
            frame_lengths_B = on_device(batch.lengths_B, frames_BSD.device)
        else:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not freeze_encoder):
                frames_BSD, frame_lengths_B = self.translator.encoder(batch.waveform_BT, batch.lengths_B)
        cross_entropy = ctc_loss = torch.zeros((), device=frames_BSD.device)
        if not ctc_only:
            decoder = self.translator.decoder
            cache = decoder.cross_attention_cache(*self.translator.adapt(frames_BSD, frame_lengths_B))
            states_BTD = decoder(batch.tokens_BT, cache)
            cross_entropy = smoothed_cross_entropy(
                states_BTD.flatten(0, 1).index_select(0, batch.targets_N),
                decoder.output_weight,
                batch.labels_BT.flatten().index_select(0, batch.targets_N),
                self.label_smoothing,
            )
        if self.ctc is not None:
            cached = batch.states_BSD is not None
            lengths_B = batch.lengths_B if cached else self.translator.encoder.frame_lengths(batch.lengths_B)
            ctc_loss = self.ctc(frames_BSD, lengths_B, batch.characters_BL, batch.character_lengths_B)
        return torch.stack([cross_entropy, ctc_loss])
