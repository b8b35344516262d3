"""The transformer of a wav2vec 2.0 network over clips laid end to end: translation on a CPU, without padding.

Products of matrices take all clips at once, attention and convolution one clip at a time.
Shape letters: N frames of all clips, S frames of one, D width, H heads, C channels of a head.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from voxlate.models.cpu.attention import plain_attention, plain_is_faster
from voxlate.models.precision import normed


def has_plain_layers(encoder: Any) -> bool:
    """Return whether the layers have no parts but those computed here."""
    first = encoder.layers[0]
    return getattr(encoder.pos_conv_embed, "batch_norm", None) is None and getattr(first, "adapter_layer", None) is None


def packed_states(network: Any, states_ND: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return the last hidden states of clips of some lengths, (N, D), for their projected features."""
    states_ND = states_ND.float()
    encoder = network.encoder
    states_ND = states_ND + _positions(encoder.pos_conv_embed, states_ND, lengths)
    if network.config.do_stable_layer_norm:
        for layer in encoder.layers:
            states_ND += _attended(layer.attention, normed(layer.layer_norm, states_ND), lengths)
            states_ND += layer.feed_forward(normed(layer.final_layer_norm, states_ND))
        states_ND = normed(encoder.layer_norm, states_ND)
    else:
        states_ND = normed(encoder.layer_norm, states_ND)
        for layer in encoder.layers:
            attended_ND = _attended(layer.attention, states_ND, lengths)
            states_ND = normed(layer.layer_norm, states_ND.float() + attended_ND)
            states_ND = normed(layer.final_layer_norm, states_ND.float() + layer.feed_forward(states_ND))
    return states_ND


def _attended(attention: Any, states_ND: Tensor, lengths: Sequence[int]) -> Tensor:
    """Attend within each clip."""
    projected = [project(states_ND) for project in (attention.q_proj, attention.k_proj, attention.v_proj)]
    clips = []
    for tables in zip(*(torch.split(table_ND, [*lengths]) for table_ND in projected), strict=True):
        own = [
            table_SD.unflatten(1, (attention.num_heads, -1)).transpose(0, 1).contiguous()[None] for table_SD in tables
        ]
        attend = plain_attention if plain_is_faster(own[0]) else F.scaled_dot_product_attention
        clips.append(attend(own[0], own[1], own[2])[0].transpose(0, 1).flatten(1))
    return cast("Tensor", attention.out_proj(torch.cat(clips)))


def _positions(embedding: Any, states_ND: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return the convolutional position embeddings, by a product of matrices for each group of channels."""
    convolution = embedding.conv
    groups, padding = convolution.groups, convolution.padding[0]
    weight_GWO = convolution.weight.unflatten(0, (groups, -1)).permute(0, 3, 2, 1).flatten(1, 2)
    positions = []
    for states_SD in torch.split(states_ND.to(weight_GWO.dtype), [*lengths]):
        padded_PD = F.pad(states_SD, (0, 0, padding, padding))
        found = []
        for group, weight_WO in zip(padded_PD.chunk(groups, 1), weight_GWO, strict=True):
            window_SW = group.contiguous().as_strided((len(states_SD), len(weight_WO)), (group.shape[1], 1))
            found.append(window_SW @ weight_WO)  # the windows overlap, in place
        positions.append(embedding.activation(torch.cat(found, 1) + convolution.bias))
    return torch.cat(positions)
