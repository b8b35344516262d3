"""Install the parts of models for GPUs, which give the same results as the plain ones, up to rounding.

As on a CPU, methods are replaced on the modules of one model, and the names of weights do not change.
"""

from types import MethodType
from typing import Any, cast

from torch import nn

from voxlate.models.decoder import MBartDecoder
from voxlate.models.gpu.encoder_layers import conformer, transformer
from voxlate.models.gpu.front_end import Backend, FrontEnd
from voxlate.models.gpu.fused_scores import install_fused_scores
from voxlate.models.w2vbert import Wav2Vec2BertEncoder
from voxlate.models.wav2vec2 import Wav2Vec2Encoder


def install_gpu_path(model: nn.Module) -> None:
    """Install them on all encoders of a model, in place; do nothing unless it is on a CUDA device."""
    if next(model.parameters()).device.type == "cuda":
        replace_parts(model)


def replace_parts(model: nn.Module) -> None:
    """Install them on any device."""
    for module in model.modules():
        if isinstance(module, MBartDecoder):
            install_fused_scores(module)
        replaced: Any = module
        if isinstance(module, Wav2Vec2BertEncoder):
            replaced.transformer = MethodType(conformer, module)
        if isinstance(module, Wav2Vec2Encoder):
            replaced.transformer = MethodType(transformer, module)
            if module.config.feat_extract_norm == "layer":
                module.model.feature_extractor.forward = FrontEnd(module.model.feature_extractor)


def compile_encoders(model: nn.Module, backend: Backend = "inductor") -> None:
    """Compile the transformer layers of all encoders, in place, and the norms of their front ends.

    Each layer is compiled by itself and for any batch, so that all layers share the compiled code.
    """
    for module in model.modules():
        if hasattr(module, "frame_samples"):  # a `SpeechEncoder`
            for layer in cast("Any", module).model.encoder.layers:
                layer.compile(dynamic=True, backend=backend)
            front_end = getattr(getattr(module.model, "feature_extractor", None), "forward", None)
            if isinstance(front_end, FrontEnd):
                front_end.backend, front_end.compile_after_seconds = backend, 0.0
