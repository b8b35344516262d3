"""HuBERT as a speech encoder."""

from typing import Any, ClassVar, cast

from torch import Tensor
from transformers import HubertConfig, HubertModel

from voxlate.models.wav2vec2 import Wav2Vec2Encoder


class HubertEncoder(Wav2Vec2Encoder):
    """HuBERT base, large and extra large (Hsu et al. 2021). transformers has no adapter for it."""

    CONFIG: ClassVar[Any] = HubertConfig
    NETWORK: ClassVar[Any] = HubertModel
    HAS_ADAPTER: ClassVar[bool] = False

    def _project(self, features: Tensor) -> Tensor:
        return cast("Tensor", self.model.feature_projection(features))
