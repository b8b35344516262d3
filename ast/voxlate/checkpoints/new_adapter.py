"""The length adapter of a new model: its kind and sizes, and what it takes from its encoder."""

from dataclasses import dataclass, replace
from typing import Any

from voxlate.checkpoints.config_json import SEAMLESS_PARTS
from voxlate.checkpoints.conversion import conformer_of
from voxlate.errors import VoxlateError
from voxlate.models import ADAPTERS
from voxlate.models.adapter import AdapterConfig
from voxlate.models.encoder import SpeechEncoder
from voxlate.registry import unknown_name

_SIZES = {"strided": (3, 3, 2), "conformer": (1, 8, 8)}  # of the published models: layers, kernel, stride


@dataclass(frozen=True)
class AdapterSettings:
    """What is chosen for a new length adapter; sizes that are None take the published models' of its kind."""

    kind: str = "strided"
    layers: int | None = None
    kernel: int | None = None
    stride: int | None = None


def new_adapter_config(settings: AdapterSettings, encoder: SpeechEncoder, width: int) -> AdapterConfig:
    """Return the config of an adapter from an encoder's width to a decoder's.

    A conformer adapter has heads and feed-forward width of its encoder, so that transformers can describe it.
    VoxlateError for an unknown kind, no layers, or a width that is not a multiple of the heads.
    """
    if settings.kind not in ADAPTERS:
        raise VoxlateError(unknown_name("adapter", settings.kind, ADAPTERS))
    layers, kernel, stride = (
        default if given is None else given
        for given, default in zip(
            (settings.layers, settings.kernel, settings.stride), _SIZES[settings.kind], strict=True
        )
    )
    if layers < 1:
        raise VoxlateError(f"adapter_layers is {layers}, expected 1 or more: it connects the two widths")
    if settings.kind == "strided":
        return AdapterConfig(encoder.output_dim, width, layers, kernel, stride)
    encoder_config: Any = encoder.config
    config = conformer_of(encoder_config, encoder.output_dim, width, layers, kernel, stride)
    if width % config.heads:
        raise VoxlateError(f"the decoder's width {width} is not a multiple of the encoder's {config.heads} heads")
    return replace(config, final_norm=getattr(encoder_config, SEAMLESS_PARTS, None) is not None)
