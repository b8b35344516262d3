"""Install the fast CPU path, which replaces parts of a model by faster ones with the same results.

Without it, models run in plain PyTorch. Methods are replaced on the modules of one model, not on their classes (as in
Liger Kernel, Hsu et al. 2024), and the names of weights do not change.
"""

from collections.abc import Callable
from types import MethodType
from typing import Any, Literal, cast

import torch
from torch import nn
from transformers.activations import GELUActivation

from voxlate.models.cpu.attention import attention
from voxlate.models.cpu.convolutions import PackedConvolution, convolve
from voxlate.models.cpu.int8_linears import Int8Linear
from voxlate.models.cpu.int8_scores import Int8OutputRows
from voxlate.models.cpu.linears import PackedLinear
from voxlate.models.cpu.operators import can_pack_linears, has_int8_products
from voxlate.models.cpu.unpadded import w2vbert_forward, wav2vec2_forward
from voxlate.models.decoder import DecoderLayer, TextDecoder
from voxlate.models.w2vbert import Wav2Vec2BertEncoder
from voxlate.models.wav2vec2 import Wav2Vec2Encoder

Weights = Literal["shared", "packed", "int8"]


def install_cpu_path(model: nn.Module, weights: Weights = "shared") -> None:
    """Install the fast path on all encoders and decoders of a model, in place; do nothing unless it is on a CPU.

    Call it after the model has its final device and precision. `weights` selects the form of the weights:

    - "shared": the model keeps its weights, and can be trained and saved;
    - "packed": bfloat16 weights of linear layers and convolutions are packed for oneDNN, if torch supports it;
      for inference only;
    - "int8": linear layers of encoder and decoder are quantized, and bfloat16 convolutions packed; for inference only.

    With "packed" and "int8", the search selects candidates from a bfloat16 vocabulary by int8 products. float32
    results differ from those of the plain path by rounding only.
    """
    if next(model.parameters()).device.type != "cpu":
        return
    for module in [*model.modules()]:
        if isinstance(module, Wav2Vec2Encoder):
            _replace_forward(module, wav2vec2_forward)
            if module.config.feat_extract_norm == "layer":
                _replace_forward(module.model.feature_extractor, convolve)
        elif isinstance(module, Wav2Vec2BertEncoder):
            _replace_forward(module, w2vbert_forward)
        elif isinstance(module, TextDecoder):
            module.sparse_embedding_gradient = True
            for layer in cast("list[DecoderLayer]", [*module.layers]):
                layer.self_attn.attention = layer.encoder_attn.attention = attention
            if weights != "shared" and module.output_weight.dtype == torch.bfloat16 and has_int8_products():
                module.output_rows_class = Int8OutputRows
    packs = next(model.parameters()).dtype == torch.bfloat16 and can_pack_linears()
    if weights != "shared" and packs:
        _pack_convolutions(model)
    if weights == "int8" or (weights == "packed" and packs):
        make = Int8Linear if weights == "int8" else PackedLinear.of
        _fuse_activations(model, make)
        _replace_linears(model, make)


def _replace_forward(module: Any, forward: Callable[..., Any]) -> None:
    module.forward = MethodType(forward, module)  # bound to this module, so that copies of it get their own method


def _pack_convolutions(model: nn.Module) -> None:
    for module in [*model.modules()]:
        if isinstance(module, Wav2Vec2Encoder) and module.config.feat_extract_norm == "layer":
            extractor = module.model.feature_extractor
            extractor.conv_layers = nn.ModuleList(PackedConvolution(layer) for layer in extractor.conv_layers)


def _fuse_activations(model: nn.Module, make: Callable[[nn.Linear, str], nn.Module]) -> None:
    """Replace the linear layers that can also apply an activation."""
    for module in [*model.modules()]:
        if isinstance(getattr(module, "intermediate_act_fn", None), GELUActivation):
            module.intermediate_dense = make(cast("nn.Linear", module.intermediate_dense), "gelu")
            module.intermediate_act_fn = nn.Identity()
        elif isinstance(module, TextDecoder):
            for layer in cast("list[DecoderLayer]", [*module.layers]):
                layer.fc1 = make(cast("nn.Linear", layer.fc1), module.config.activation)
                layer.activation = nn.Identity()


def _replace_linears(model: nn.Module, make: Callable[[nn.Linear], nn.Module]) -> None:
    """Replace the linear layers inside the transformer layers of encoder and decoder."""
    for module in [*model.modules()]:
        if isinstance(module, Wav2Vec2Encoder | Wav2Vec2BertEncoder):
            layers = [*module.model.encoder.layers]
            if getattr(module, "HAS_POSITION_BIAS", False):  # such attention reads the weights of its linear layers
                layers = [layer.feed_forward for layer in layers]
        elif isinstance(module, TextDecoder):
            layers = [*module.layers]
        else:
            continue
        for owner in [inner for layer in layers for inner in layer.modules()]:
            for name, child in [*owner.named_children()]:
                if isinstance(child, nn.Linear):
                    setattr(owner, name, make(child))
