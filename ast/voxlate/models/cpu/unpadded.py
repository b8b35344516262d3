"""Forward passes of speech encoders without padding: on a CPU, a padded batch is no faster than single clips.

The public functions replace an encoder's `forward`, which they call in training and if gradients are needed.
Shape letters: B clips, T samples, S frames of a clip, N frames of all clips end to end, D width, H heads, C channels of
a head.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from voxlate.models.cpu.attention import attention
from voxlate.models.cpu.int8_linears import quantize_once
from voxlate.models.cpu.parallel import in_parallel
from voxlate.models.precision import layer_norm
from voxlate.models.w2vbert import Wav2Vec2BertEncoder
from voxlate.models.wav2vec2 import Wav2Vec2Encoder

_SHORT_FRAMES = 256  # with more, the matrices of unfused attention would take too much memory in training


def wav2vec2_forward(encoder: Wav2Vec2Encoder, waveform_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return states_BSD and frame lengths of a wav2vec 2.0, HuBERT or WavLM encoder."""
    if torch.is_grad_enabled() or encoder.training:
        _choose_attention(encoder, waveform_BT.shape[1])
        return type(encoder).forward(encoder, waveform_BT, lengths_B)

    def clip_states(clips: Sequence[Tensor]) -> Sequence[Tensor]:
        return _clip_states(encoder, clips)

    clips = [
        F.pad(waveform_T[:length], (0, max(0, encoder.min_samples - length)))
        for waveform_T, length in zip(waveform_BT, lengths_B.tolist(), strict=True)
    ]
    states = in_parallel(clip_states, clips, [len(clip_T) for clip_T in clips])
    return nn.utils.rnn.pad_sequence(states, batch_first=True), torch.tensor([len(states_SD) for states_SD in states])


def w2vbert_forward(encoder: Wav2Vec2BertEncoder, waveform_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return states_BSD and their lengths of a w2v-BERT 2.0 encoder."""
    if torch.is_grad_enabled() or encoder.training:
        return type(encoder).forward(encoder, waveform_BT, lengths_B)
    states = []
    for waveform_T, length in zip(waveform_BT, lengths_B.tolist(), strict=True):
        features_SM = encoder.mel_features(waveform_T[:length])
        states.append(encoder.encode(features_SM[None], torch.tensor([len(features_SM)]))[0])
    return nn.utils.rnn.pad_sequence(states, batch_first=True), torch.tensor([len(states_SD) for states_SD in states])


def _choose_attention(encoder: Wav2Vec2Encoder, samples: int) -> None:
    """Train on short clips with unfused attention: the fused kernel's backward pass is several times slower."""
    if encoder.HAS_POSITION_BIAS:  # transformers has only one implementation of it
        return
    frames = int(encoder.frame_lengths(torch.tensor(samples)))
    implementation = "eager" if encoder.training and frames <= _SHORT_FRAMES else encoder.default_attention
    if encoder.model.config._attn_implementation != implementation:
        encoder.model.set_attn_implementation(implementation)


def _clip_states(encoder: Wav2Vec2Encoder, clips: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return the states of each clip, (S, D). Matrix products take all clips at once, attention one at a time."""
    features = [encoder.features(clip_T[None], torch.tensor([len(clip_T)]))[0] for clip_T in clips]
    lengths = [len(features_SD) for features_SD in features]
    states_ND = encoder.project(torch.cat(features))
    if _has_standard_layers(encoder):
        return torch.split(_transformer(encoder.model, states_ND, lengths), lengths)
    return [encoder.transformer(states_SD[None], None)[0] for states_SD in torch.split(states_ND, lengths)]


def _has_standard_layers(encoder: Wav2Vec2Encoder) -> bool:
    """Return whether the transformer consists only of the parts that `_transformer` computes."""
    transformer = encoder.model.encoder
    return not (
        encoder.HAS_POSITION_BIAS
        or getattr(transformer.pos_conv_embed, "batch_norm", None) is not None
        or any(getattr(layer, "adapter_layer", None) is not None for layer in transformer.layers)
    )


def _transformer(network: Any, states_ND: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return the last hidden states, (N, D), of clips of the given lengths, as `network.encoder` computes them."""
    states_ND = states_ND.float()
    encoder = network.encoder
    states_ND = states_ND + _position_embeddings(encoder.pos_conv_embed, states_ND, lengths)
    if network.config.do_stable_layer_norm:
        for layer in encoder.layers:
            states_ND += _attended(layer.attention, layer_norm(layer.layer_norm, states_ND), lengths)
            states_ND += layer.feed_forward(layer_norm(layer.final_layer_norm, states_ND))
        states_ND = layer_norm(encoder.layer_norm, states_ND)
    else:
        states_ND = layer_norm(encoder.layer_norm, states_ND)
        for layer in encoder.layers:
            attended_ND = _attended(layer.attention, states_ND, lengths)
            states_ND = layer_norm(layer.layer_norm, states_ND.float() + attended_ND)
            states_ND = layer_norm(layer.final_layer_norm, states_ND.float() + layer.feed_forward(states_ND))
    return states_ND


def _attended(module: Any, states_ND: Tensor, lengths: Sequence[int]) -> Tensor:
    """Attend within each clip."""
    states = quantize_once(states_ND, module.q_proj)
    projected = [project(states) for project in (module.q_proj, module.k_proj, module.v_proj)]
    clips = []
    for tables in zip(*(torch.split(table_ND, [*lengths]) for table_ND in projected), strict=True):
        queries, keys, values = (
            table_SD.unflatten(1, (module.num_heads, -1)).transpose(0, 1).contiguous()[None] for table_SD in tables
        )
        clips.append(attention(queries, keys, values)[0].transpose(0, 1).flatten(1))
    return cast("Tensor", module.out_proj(torch.cat(clips)))


def _position_embeddings(embedding: Any, states_ND: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return the convolutional position embeddings, as one matrix product for each group of channels."""
    convolution = embedding.conv
    groups, padding = convolution.groups, convolution.padding[0]
    weight_GWO = convolution.weight.unflatten(0, (groups, -1)).permute(0, 3, 2, 1).flatten(1, 2)
    positions = []
    for states_SD in torch.split(states_ND.to(weight_GWO.dtype), [*lengths]):
        padded_PD = F.pad(states_SD, (0, 0, padding, padding))
        products = []
        for group, weight_WO in zip(padded_PD.chunk(groups, 1), weight_GWO, strict=True):
            window_SW = group.contiguous().as_strided((len(states_SD), len(weight_WO)), (group.shape[1], 1))
            products.append(window_SW @ weight_WO)  # a view: the windows overlap in memory
        positions.append(embedding.activation(torch.cat(products, 1) + convolution.bias))
    return torch.cat(positions)
