"""The decoder of M2M-100, NLLB and SeamlessM4T: sinusoidal positions.

Shape letters: U utterances, T tokens, P positions, D width.
"""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from voxlate.models.decoder import DecoderConfig, TextDecoder


class M2M100Decoder(TextDecoder):
    """M2M-100's decoder (Fan et al. 2020), which is also that of NLLB (Costa-jussà et al. 2022) and SeamlessM4T."""

    MODEL_TYPE: ClassVar[str] = "m2m_100"
    positions_PD: Tensor

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config)
        self.register_buffer("positions_PD", self._positions(), persistent=False)
        self.initialize()

    def with_positions(self, states_UTD: Tensor, positions: Tensor) -> Tensor:
        """Return the embedded tokens with their positions, (U, T, D), in float32; positions are (T,) or (U, T)."""
        if self.positions_PD.is_meta:  # after the model was moved there; weights can be loaded again, buffers not
            self.positions_PD = self._positions().to(states_UTD.device)
        return states_UTD.float() + F.embedding(positions, self.positions_PD).float()

    def _positions(self) -> Tensor:
        # Created with numpy, so that it has values even if the model is built on the meta device. The first position
        # is that after the padding's, as in fairseq.
        first = self.config.pad_id + 1
        return torch.from_numpy(sinusoidal_positions(first + self.config.max_positions, self.config.width)[first:])


def sinusoidal_positions(count: int, width: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Return tensor2tensor's position embeddings: the sines of all frequencies, then the cosines, and a 0 if odd."""
    half = width // 2
    frequencies = np.exp(np.arange(half) * (-np.log(10_000) / max(1, half - 1))).astype(np.float32)
    angles = np.arange(count, dtype=np.float32)[:, None] * frequencies[None]
    table = np.concatenate([np.sin(angles), np.cos(angles), np.zeros((count, width % 2), np.float32)], axis=1)
    return table.astype(np.float32)
