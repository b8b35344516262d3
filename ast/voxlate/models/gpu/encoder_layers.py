"""The transformer of wav2vec 2.0 and HuBERT without a look at the mask, for which the host would wait for the GPU.

Shape letters: B clips, S frames, D width.
"""

from typing import cast

import torch
from torch import Tensor

from voxlate.models.wav2vec2 import Wav2Vec2Encoder


def transformer(encoder: Wav2Vec2Encoder, states_BSD: Tensor, mask_BS: Tensor | None) -> Tensor:
    """Replace `Wav2Vec2Encoder.transformer`: return the last hidden states, (B, S, D)."""
    network, config = encoder.model.encoder, encoder.config
    if encoder.HAS_POSITION_BIAS or encoder.model.config._attn_implementation != "sdpa":
        return type(encoder).transformer(encoder, states_BSD, mask_BS)
    mask_B11S = None
    if mask_BS is not None:
        states_BSD = states_BSD.masked_fill(~mask_BS[:, :, None], 0.0)
        mask_B11S = mask_BS[:, None, None, :]
    states_BSD = states_BSD + network.pos_conv_embed(states_BSD)
    if not config.do_stable_layer_norm:
        states_BSD = network.layer_norm(states_BSD)
    states_BSD = network.dropout(states_BSD)
    for layer in network.layers:
        if encoder.training and config.layerdrop > 0 and torch.rand(()) < config.layerdrop:
            continue
        output = layer(states_BSD, attention_mask=mask_B11S)
        states_BSD = output if isinstance(output, Tensor) else output[0]  # older releases of transformers 5: a tuple
    return cast("Tensor", network.layer_norm(states_BSD)) if config.do_stable_layer_norm else states_BSD
