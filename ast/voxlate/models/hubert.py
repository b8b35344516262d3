"""HuBERT as a speech encoder."""

from typing import Any, ClassVar, cast

from torch import Tensor, nn
from transformers import HubertConfig, HubertModel

from voxlate.models.wav2vec2 import Wav2Vec2Encoder


class HubertEncoder(Wav2Vec2Encoder):
    """HuBERT base, large and extra large (Hsu et al. 2021). transformers has no adapter for it."""

    CONFIG: ClassVar[Any] = HubertConfig
    NETWORK: ClassVar[Any] = HubertModel
    ADAPTER_KIND: ClassVar[str | None] = None

    def train(self, mode: bool = True) -> "HubertEncoder":
        """Keep batch norm in evaluation mode: batch statistics would make the results of clips depend on each other."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()
        return self

    def project(self, features: Tensor) -> Tensor:
        """Project features, (..., channels), to the width of the transformer, (..., D)."""
        return cast("Tensor", self.model.feature_projection(features))
