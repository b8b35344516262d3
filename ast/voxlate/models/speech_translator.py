"""The complete network: speech encoder, length adapter, text decoder.

Shape letters: B utterances, T samples or tokens, S states, D width, V vocabulary.
"""

import torch
from torch import Tensor, nn

from voxlate.models.adapter import LengthAdapter
from voxlate.models.caches import CrossAttentionCache
from voxlate.models.decoder import MBartDecoder
from voxlate.models.encoder import SpeechEncoder, zero_padding

_SAMPLE_RATE_HZ = 16_000


class SpeechTranslator(nn.Module):
    """A network from waveforms to scores of target tokens.

    The output width of `adapter`, or of `enc_to_dec_proj` if there is one, is the width of the decoder. The latter is
    named as in transformers, and used with an encoder wider than the decoder and no adapter.
    """

    def __init__(
        self,
        encoder: SpeechEncoder,
        adapter: LengthAdapter,
        decoder: MBartDecoder,
        enc_to_dec_proj: nn.Linear | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.adapter, self.decoder = encoder, adapter, decoder
        self.enc_to_dec_proj = enc_to_dec_proj

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.decoder.layer_norm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return self.decoder.layer_norm.weight.dtype

    @property
    def state_seconds(self) -> float:
        """Seconds from one state that the decoder attends to, to the next."""
        config = self.adapter.config
        return float(self.encoder.frame_samples * config.stride**config.layers) / _SAMPLE_RATE_HZ

    def encode(self, waveform_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states that the decoder attends to, (B, S, D), and their lengths."""
        return self.adapt(*self.encoder(waveform_BT.to(self.device), lengths_B))

    def adapt(self, states_BSD: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Shorten encoder states to those that the decoder attends to, (B, S, D); return them and their lengths."""
        states_BSD, lengths_B = self.adapter(states_BSD, lengths_B)
        if self.enc_to_dec_proj is not None:
            states_BSD = zero_padding(self.enc_to_dec_proj(states_BSD), lengths_B)
        return states_BSD, lengths_B

    def cross_attention_cache(self, waveform_BT: Tensor, lengths_B: Tensor) -> CrossAttentionCache:
        """Encode utterances; return their cross-attention keys and values."""
        return self.decoder.cross_attention_cache(*self.encode(waveform_BT, lengths_B))

    def checkpoint_gradients(self) -> None:
        """Recompute activations in the backward pass instead of storing them (Chen et al. 2016)."""
        self.encoder.checkpoint_gradients()
        self.decoder.gradient_checkpointing = True

    def forward(self, waveform_BT: Tensor, lengths_B: Tensor, tokens_BT: Tensor) -> Tensor:
        """Return logits_BTV for the decoder input: ``</s>``, language tag, pieces."""
        return self.decoder.logits(self.decoder(tokens_BT, self.cross_attention_cache(waveform_BT, lengths_B)))
