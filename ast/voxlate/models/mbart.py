"""The decoder of mBART: learned positions, and a layer norm after the embeddings.

Shape letters: U utterances, T tokens, D width.
"""

from typing import ClassVar

from torch import Tensor, nn

from voxlate.models.decoder import DecoderConfig, TextDecoder
from voxlate.models.precision import layer_norm_float32


class MBartDecoder(TextDecoder):
    """mBART's decoder (Liu et al. 2020; Tang et al. 2020)."""

    MODEL_TYPE: ClassVar[str] = "mbart"
    POSITION_OFFSET: ClassVar[int] = 2  # the first two rows, fairseq's padding, are unused; every checkpoint has them

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config)
        self.embed_positions = nn.Embedding(config.max_positions + self.POSITION_OFFSET, config.width)
        self.layernorm_embedding = nn.LayerNorm(config.width)
        self.initialize()

    def with_positions(self, states_UTD: Tensor, positions: Tensor) -> Tensor:
        """Return the embedded tokens with their positions, (U, T, D), in float32; positions are (T,) or (U, T)."""
        states_UTD = states_UTD + self.embed_positions(positions + self.POSITION_OFFSET)
        return layer_norm_float32(self.layernorm_embedding, states_UTD)
