"""What takes the place of layers in a model that shall translate on a CPU, and do nothing else."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn
from transformers.activations import GELUActivation

from voxlate.models.cpu.convolutions import PackedConvolution
from voxlate.models.cpu.linears import Int8Linear, PackedLinear
from voxlate.models.precision import onednn_takes_bfloat16
from voxlate.models.speech_translator import SpeechTranslator


def to_int8(model: SpeechTranslator) -> None:
    """Give encoder and decoder linear layers of 8 bits. Convolutions, embeddings and output layer stay."""
    _replace(_layers(model), Int8Linear)


def to_packed(model: SpeechTranslator) -> None:
    """Give encoder and decoder packed linear layers, where torch has them and the model is in bfloat16 on a CPU."""
    operators = ("_linear_pointwise", "_reorder_linear_weight")
    known = onednn_takes_bfloat16() and all(hasattr(torch.ops.mkldnn, name) for name in operators)
    if not known or model.device.type != "cpu" or model.dtype != torch.bfloat16:
        return
    for module in model.encoder.model.modules():
        if isinstance(getattr(module, "intermediate_act_fn", None), GELUActivation):
            module.intermediate_dense = PackedLinear.of(cast("nn.Linear", module.intermediate_dense), "gelu")
            module.intermediate_act_fn = nn.Identity()
    front = getattr(model.encoder.model, "feature_extractor", None)
    if front is not None and model.encoder.config.feat_extract_norm == "layer":
        front.conv_layers = nn.ModuleList(PackedConvolution(layer) for layer in front.conv_layers)
    for layer in cast("Any", model.decoder.layers):
        layer.fc1 = PackedLinear.of(layer.fc1, model.decoder.config.activation)
        layer.activation = nn.Identity()
    _replace(_layers(model), PackedLinear.of)


def _layers(model: SpeechTranslator) -> list[nn.Module]:
    """Return the layers, but not attention that reaches for the weights of its parts (WavLM's)."""
    own = cast("Any", model.encoder.model.encoder.layers)
    if not getattr(model.encoder, "PLAIN_LAYERS", True):
        own = [layer.feed_forward for layer in own]
    return [*own, *model.decoder.layers]


def _replace(layers: list[nn.Module], make: Callable[[nn.Linear], nn.Module]) -> None:
    for layer in layers:
        for module in [*layer.modules()]:
            for name, child in [*module.named_children()]:
                if isinstance(child, nn.Linear):
                    setattr(module, name, make(child))
