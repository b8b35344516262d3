"""The whole model: speech encoder, length adapter, text decoder."""

import torch
from torch import Tensor, nn

from voxlate.models.adapter import LengthAdapter
from voxlate.models.caches import CrossAttentionCache
from voxlate.models.decoder import MBartDecoder
from voxlate.models.encoder import SpeechEncoder, zero_padding


class SpeechTranslator(nn.Module):
    """Waveforms in, scores of target tokens out. Widths must meet: adapter output (or bridge) = decoder width."""

    def __init__(
        self, encoder: SpeechEncoder, adapter: LengthAdapter, decoder: MBartDecoder, bridge: nn.Linear | None = None
    ) -> None:
        super().__init__()
        self.encoder, self.adapter, self.decoder = encoder, adapter, decoder
        self.bridge = bridge  # transformers' enc_to_dec_proj, of models whose encoder is wider and has no adapter

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.decoder.layer_norm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return self.decoder.layer_norm.weight.dtype

    def encode(self, waveform_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states that the decoder reads and their lengths."""
        waveform_BT = waveform_BT.to(self.device, self.dtype)
        return self.adapt(*self.encoder(waveform_BT, lengths_B.to(self.device)))

    def adapt(self, states_BSD: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the decoder reads of the encoder's states."""
        states_BSD, lengths_B = self.adapter(states_BSD, lengths_B)
        if self.bridge is not None:
            states_BSD = zero_padding(self.bridge(states_BSD), lengths_B)
        return states_BSD, lengths_B

    def cross_attention_cache(self, waveform_BT: Tensor, lengths_B: Tensor) -> CrossAttentionCache:
        """Return the cross-attention memory of utterances, for search."""
        return self.decoder.cross_attention_cache(*self.encode(waveform_BT, lengths_B))

    def checkpoint_gradients(self) -> None:
        """Keep only the layers' inputs for the backward pass and compute the rest again (Chen et al. 2016)."""
        network = self.encoder.model
        # The second name is that of older transformers 5, and deprecated since.
        enable = getattr(network, "activation_checkpointing_enable", None) or network.gradient_checkpointing_enable
        enable({"use_reentrant": False})
        self.decoder.gradient_checkpointing = True

    def forward(self, waveform_BT: Tensor, lengths_B: Tensor, tokens_BT: Tensor) -> Tensor:
        """Return logits_BTV for decoder input ``</s>``, tag, pieces."""
        return self.decoder.logits(self.decoder(tokens_BT, self.cross_attention_cache(waveform_BT, lengths_B)))
