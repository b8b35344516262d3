"""The config of a wav2vec 2.0 encoder from the shapes of its tensors, for checkpoints without one of transformers'.

Names are those of transformers' `Wav2Vec2Model`, with current names of weight norm.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import Wav2Vec2Config

_CONVOLUTIONS = "feature_extractor.conv_layers"


def wav2vec2_config(tensors: Mapping[str, Tensor], heads: int, **fields: Any) -> Wav2Vec2Config:
    """Return the config that fits the tensors; `fields` override its other fields. KeyError names a missing tensor."""
    convolutions = [
        tensors[f"{_CONVOLUTIONS}.{index}.conv.weight"]
        for index in range(count_layers(tensors, rf"{re.escape(_CONVOLUTIONS)}\.(\d+)\."))
    ]
    has_layer_norm = f"{_CONVOLUTIONS}.1.layer_norm.weight" in tensors
    width = tensors["feature_projection.projection.weight"].shape[0]
    ffn_width = tensors["encoder.layers.0.feed_forward.intermediate_dense.weight"].shape[0]
    position_DIK = tensors["encoder.pos_conv_embed.conv.parametrizations.weight.original1"]
    shapes: dict[str, Any] = {
        "hidden_size": width,
        "num_hidden_layers": count_layers(tensors, r"encoder\.layers\.(\d+)\."),
        "num_attention_heads": heads,
        "intermediate_size": ffn_width,
        "conv_dim": [weight.shape[0] for weight in convolutions],
        "conv_kernel": [weight.shape[2] for weight in convolutions],
        "conv_stride": [5, *[2] * (len(convolutions) - 1)],
        "num_feat_extract_layers": len(convolutions),
        "conv_bias": f"{_CONVOLUTIONS}.0.conv.bias" in tensors,
        "feat_extract_norm": "layer" if has_layer_norm else "group",
        "do_stable_layer_norm": has_layer_norm,
        "num_conv_pos_embeddings": position_DIK.shape[2],
        "num_conv_pos_embedding_groups": width // position_DIK.shape[1],
    }
    return Wav2Vec2Config(**(shapes | fields))


def count_layers(tensors: Mapping[str, Tensor], pattern: str) -> int:
    """Return the number of distinct layers, whose numbers are the pattern's group, in the names of tensors."""
    return len({match[1] for name in tensors if (match := re.match(pattern, name))})
