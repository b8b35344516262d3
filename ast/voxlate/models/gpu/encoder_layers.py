"""The layers of speech encoders without a look at the mask, for which the host would wait for the GPU.

Shape letters: B clips, S frames, D width.
"""

from typing import Any, cast

import torch
from torch import Tensor

from voxlate.models.gpu.unpadded_attention import UNPADDED, can_attend_unpadded, cumulative_lengths
from voxlate.models.w2vbert import Wav2Vec2BertEncoder
from voxlate.models.wav2vec2 import Wav2Vec2Encoder


def transformer(encoder: Wav2Vec2Encoder, states_BSD: Tensor, mask_BS: Tensor | None) -> Tensor:
    """Replace `Wav2Vec2Encoder.transformer`: return the last hidden states, (B, S, D)."""
    network, config = encoder.model.encoder, encoder.config
    if mask_BS is None or encoder.HAS_POSITION_BIAS or encoder.default_attention != "sdpa":
        return type(encoder).transformer(encoder, states_BSD, mask_BS)
    states_BSD = states_BSD.masked_fill(~mask_BS[:, :, None], 0.0)
    is_unpadded = can_attend_unpadded(states_BSD, config.num_attention_heads)
    mask = cumulative_lengths(mask_BS) if is_unpadded else mask_BS[:, None, None, :]
    attention = UNPADDED if is_unpadded else "sdpa"
    if encoder.model.config._attn_implementation != attention:
        encoder.model.set_attn_implementation(attention)
    states_BSD = states_BSD + network.pos_conv_embed(states_BSD)
    if not config.do_stable_layer_norm:
        states_BSD = network.layer_norm(states_BSD)
    states_BSD = network.dropout(states_BSD)
    for layer in network.layers:
        if not _skips_layer(encoder):
            states_BSD = _states(layer(states_BSD, attention_mask=mask))
    return cast("Tensor", network.layer_norm(states_BSD)) if config.do_stable_layer_norm else states_BSD


def conformer(encoder: Wav2Vec2BertEncoder, states_BSD: Tensor, mask_BS: Tensor) -> Tensor:
    """Replace `Wav2Vec2BertEncoder.transformer`: return the states after the conformer layers, (B, S, D)."""
    network = encoder.model.encoder
    states_BSD = network.dropout(states_BSD.masked_fill(~mask_BS[:, :, None], 0.0))
    # Added to the scores with the biases of relative positions, as in each of transformers' implementations.
    mask_B11S = states_BSD.new_zeros(mask_BS.shape).masked_fill(~mask_BS, -torch.inf)[:, None, None]
    positions = None if network.embed_positions is None else network.embed_positions(states_BSD)
    for layer in network.layers:
        if not _skips_layer(encoder):
            output = layer(
                states_BSD,
                attention_mask=mask_B11S,
                relative_position_embeddings=positions,
                conv_attention_mask=mask_BS,
            )
            states_BSD = _states(output)
    return states_BSD


def _skips_layer(encoder: Wav2Vec2Encoder | Wav2Vec2BertEncoder) -> bool:
    """Return whether training skips the next layer (layerdrop), which the host decides."""
    rate = encoder.config.layerdrop
    return encoder.training and rate > 0 and bool(torch.rand(()) < rate)


def _states(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]  # older releases of transformers 5: a tuple
