"""The transformer of a wav2vec 2.0 network over clips laid one behind another: translation on a CPU, without padding.

Products of matrices take all clips at once, attention and convolution one clip at a time.
Shape letters: N frames of all clips, S frames of one, D width, H heads, C channels of a head.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from voxlate.models.precision import normed


def packed_states(network: Any, features: Sequence[Tensor]) -> list[Tensor]:
    """Return the last hidden states of clips, (S, D) each, of their features, as transformers' network does."""
    lengths = [len(features_SD) for features_SD in features]
    states_ND = network.feature_projection(torch.cat([*features]))[0].float()
    encoder = network.encoder
    states_ND = states_ND + _positions(encoder.pos_conv_embed, states_ND, lengths)
    if network.config.do_stable_layer_norm:
        for layer in encoder.layers:
            states_ND = states_ND + _attended(layer.attention, normed(layer.layer_norm, states_ND), lengths)
            states_ND = states_ND + layer.feed_forward(normed(layer.final_layer_norm, states_ND))
        states_ND = normed(encoder.layer_norm, states_ND)
    else:
        states_ND = normed(encoder.layer_norm, states_ND)
        for layer in encoder.layers:
            attended_ND = _attended(layer.attention, states_ND, lengths)
            states_ND = normed(layer.layer_norm, states_ND.float() + attended_ND)
            states_ND = normed(layer.final_layer_norm, states_ND.float() + layer.feed_forward(states_ND))
    return list(torch.split(states_ND, lengths))


def _attended(attention: Any, states_ND: Tensor, lengths: Sequence[int]) -> Tensor:
    projected = [project(states_ND) for project in (attention.q_proj, attention.k_proj, attention.v_proj)]
    queries, keys, values = (table_ND.unflatten(1, (attention.num_heads, -1)).transpose(0, 1) for table_ND in projected)
    clips = [
        F.scaled_dot_product_attention(query_HSC[None], key_HSC[None], value_HSC[None], scale=attention.scaling)[0]
        for query_HSC, key_HSC, value_HSC in zip(
            queries.split([*lengths], 1), keys.split([*lengths], 1), values.split([*lengths], 1), strict=True
        )
    ]
    return cast("Tensor", attention.out_proj(torch.cat(clips, 1).transpose(0, 1).flatten(1)))


def _positions(embedding: Any, states_ND: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return the convolutional position embeddings; the weight's norm is taken once for all clips."""
    convolution = embedding.conv
    weight, padding, groups = convolution.weight, convolution.padding[0], convolution.groups
    positions = []
    for states_SD in torch.split(states_ND.to(weight.dtype), [*lengths]):
        found_DS = F.conv1d(states_SD.T[None], weight, convolution.bias, padding=padding, groups=groups)
        positions.append(embedding.activation(found_DS[0, :, : len(states_SD)]).T)
    return torch.cat(positions)
