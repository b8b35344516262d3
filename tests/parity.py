"""Parity with transformers: our models and theirs with the same weights, run on the same waveforms."""

from typing import Any

import torch
from torch import nn

from tiny import waveforms
from voxlate.checkpoints.conversion import adapter_config, decoder_config, from_transformers
from voxlate.data.batching import collate_waveforms
from voxlate.models.adapter import LengthAdapter
from voxlate.models.cpu.install import install_cpu_path
from voxlate.models.mbart import MBartDecoder
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.models.wav2vec2 import Wav2Vec2Encoder


def ours(theirs: Any, *, fast: bool = False) -> SpeechTranslator:
    """Return our model with the weights of a transformers model, with the fast CPU path if asked."""
    adapter = adapter_config(theirs.config.encoder)
    width = theirs.config.decoder.d_model
    model = SpeechTranslator(
        Wav2Vec2Encoder(theirs.config.encoder),
        LengthAdapter(adapter),
        MBartDecoder(decoder_config(theirs.config.decoder)),
        nn.Linear(adapter.output_dim, width) if adapter.output_dim != width else None,
    )
    model.load_state_dict(from_transformers(theirs.state_dict(), tied=True))
    if fast:
        install_cpu_path(model)
    return model.eval()


TOKENS = torch.tensor([[2, 53, 7, 9, 30, 12]])


@torch.inference_mode()
def logits(model: SpeechTranslator) -> torch.Tensor:
    """Return the logits of our model for `TOKENS` and a clip of noise."""
    result: torch.Tensor = model(*collate_waveforms(waveforms(7, 1.3), normalize=True), TOKENS)
    return result


@torch.inference_mode()
def their_logits(model: Any) -> torch.Tensor:
    """Return the logits of a transformers model for the same tokens and clip."""
    waveform_BT, _ = collate_waveforms(waveforms(7, 1.3), normalize=True)
    mask = torch.ones_like(waveform_BT).long()
    output: torch.Tensor = model(input_values=waveform_BT, attention_mask=mask, decoder_input_ids=TOKENS).logits
    return output


def same(first: torch.Tensor, second: torch.Tensor) -> None:
    """Check that two tensors are equal up to the tolerance of parity, 1e-4."""
    torch.testing.assert_close(first, second, atol=1e-4, rtol=0)
