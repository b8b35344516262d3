"""Read the wav2vec 2.0 encoders of fairseq2 checkpoints (`.pt`), above all omniASR-W2V, the successor of XLS-R.

omniASR-W2V (Omnilingual ASR team 2025, arXiv:2511.09690; facebookresearch/omnilingual-asr) has XLS-R's architecture:
layer norm before each block, after the last one and in every convolution, one grouped convolution for positions, and
normalized waveforms. Names and order of the computation are those of facebookresearch/fairseq2@027bded
(models/wav2vec2). Its `norm_order` PRE has ``encoder.layer_norm``, which is transformers' `do_stable_layer_norm`; POST
has ``encoder_frontend.layer_norm`` instead.

Heads of pretraining and of omniASR-CTC are left out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from voxlate.checkpoints.conversion import load_strictly
from voxlate.checkpoints.pickled_checkpoints import read_pickled, rename_tensors
from voxlate.checkpoints.wav2vec2_shapes import wav2vec2_config
from voxlate.errors import VoxlateError
from voxlate.json_files import shown
from voxlate.models.wav2vec2 import Wav2Vec2Encoder

_FRONT = r"encoder_frontend\."
_LAYER = r"encoder\.layers\.(\d+)\."
_NAMES = (  # patterns of fairseq2's names, and transformers' names
    (rf"{_FRONT}feature_extractor\.layers\.(\d+)\.conv\.", r"feature_extractor.conv_layers.\1.conv."),
    (rf"{_FRONT}feature_extractor\.layers\.(\d+)\.layer_norm\.", r"feature_extractor.conv_layers.\1.layer_norm."),
    (rf"{_FRONT}feature_extractor\.layers\.0\.group_norm\.", "feature_extractor.conv_layers.0.layer_norm."),
    (rf"{_FRONT}post_extract_layer_norm\.", "feature_projection.layer_norm."),
    (rf"{_FRONT}model_dim_proj\.", "feature_projection.projection."),
    (rf"{_FRONT}pos_encoder\.conv\.", "encoder.pos_conv_embed.conv."),
    (rf"{_FRONT}layer_norm\.", "encoder.layer_norm."),
    (rf"{_LAYER}self_attn\.output_proj\.", r"encoder.layers.\1.attention.out_proj."),
    (rf"{_LAYER}self_attn\.(?=[qkv]_proj\.)", r"encoder.layers.\1.attention."),
    (rf"{_LAYER}self_attn_layer_norm\.", r"encoder.layers.\1.layer_norm."),
    (rf"{_LAYER}ffn\.inner_proj\.", r"encoder.layers.\1.feed_forward.intermediate_dense."),
    (rf"{_LAYER}ffn\.output_proj\.", r"encoder.layers.\1.feed_forward.output_dense."),
    (rf"{_LAYER}ffn_layer_norm\.", r"encoder.layers.\1.final_layer_norm."),
    (r"encoder\.layer_norm\.", "encoder.layer_norm."),
    (r"masker\.temporal_mask_embed$", "masked_spec_embed"),
)
_HEADS = re.compile(r"(quantizer|final_proj|final_target_proj)\.")


@dataclass(frozen=True)
class OmniasrSize:
    """A published size: widths, layers, and the number of parameters with the heads of pretraining."""

    width: int
    layers: int
    ffn_width: int
    quantized_width: int  # of the heads of pretraining
    parameters: int
    attention_heads: int = 16


# From the README and the configs of facebookresearch/omnilingual-asr@81f51e2.
OMNIASR_SIZES = {
    "omniASR-W2V-300M": OmniasrSize(1024, 24, 4096, 768, 317_390_592),
    "omniASR-W2V-1B": OmniasrSize(1280, 48, 5120, 1024, 965_514_752),
    "omniASR-W2V-3B": OmniasrSize(2048, 60, 8192, 1024, 3_064_124_672),
    "omniASR-W2V-7B": OmniasrSize(2048, 128, 8192, 1024, 6_488_487_168),
}
_BASE_WIDTH, _BASE_HEADS = 768, 12  # of fairseq2's `wav2vec2_base`; the number of heads is not in the files


def is_fairseq2(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether tensors have the names of a wav2vec 2.0 encoder of fairseq2."""
    return any(name.startswith("encoder_frontend.") for name in tensors)


def read_fairseq2_encoder(path: Path, fields: Mapping[str, Any] | None = None) -> Wav2Vec2Encoder:
    """Return the encoder in a `.pt` file, in float32, with `fields` of its config overridden.

    VoxlateError if the file is damaged, refers to code, or holds another kind of network.
    """
    tensors, _ = read_pickled(path)
    if not is_fairseq2(tensors):
        raise VoxlateError(
            f"{path}: has no encoder_frontend; expected an omniASR-W2V checkpoint, or another wav2vec 2.0 encoder of "
            "fairseq2"
        )
    return build_fairseq2_encoder(tensors, path, fields)


def build_fairseq2_encoder(
    tensors: Mapping[str, Tensor], path: Path, fields: Mapping[str, Any] | None = None
) -> Wav2Vec2Encoder:
    """Return the encoder that tensors with fairseq2's names describe; `path` is the file in error messages.

    Dropout is that of omniASR's pretraining, masking that of XLS-R.
    """
    renamed = rename_tensors(path, tensors, _NAMES, _HEADS)
    try:
        width = renamed["feature_projection.projection.weight"].shape[0]
        settings = {
            "do_stable_layer_norm": "encoder.layer_norm.weight" in tensors,
            "hidden_dropout": 0.0,
            "attention_dropout": 0.0,
            "activation_dropout": 0.0,
            "feat_proj_dropout": 0.0 if width <= 1024 else 0.1,
            "layerdrop": 0.0,
            "mask_time_prob": 0.075,
            **(fields or {}),
        }
        heads = settings.pop("num_attention_heads", _BASE_HEADS if width == _BASE_WIDTH else 16)
        with torch.device("meta"):
            encoder = Wav2Vec2Encoder(wav2vec2_config(renamed, heads, **settings))
    except KeyError as error:
        raise VoxlateError(f"{path}: has no {error.args[0]}; expected a wav2vec 2.0 encoder of fairseq2") from None
    except Exception as error:  # networks raise various exceptions for invalid configs
        raise VoxlateError(f"{path}: does not describe a valid network ({shown(error)}); fetch it again") from None
    load_strictly(encoder.model, renamed, torch.float32, str(path))
    return encoder
