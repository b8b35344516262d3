"""A speech encoder with a CTC head: one of our models that has it, or a folder of transformers' `…ForCTC` classes.

Shape letters: B utterances, T samples, S frames, V labels.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from voxlate.checkpoints.config_json import architectures
from voxlate.checkpoints.conversion import linear
from voxlate.checkpoints.ctc_files import CTC_FILE, read_ctc
from voxlate.checkpoints.ctc_labels import Labels, read_labels
from voxlate.checkpoints.encoders import read_headed
from voxlate.checkpoints.hub import find_model
from voxlate.checkpoints.lora import base_folder
from voxlate.checkpoints.model_folder import load_checkpoint
from voxlate.errors import VoxlateError
from voxlate.json_files import read_json, shown
from voxlate.models.encoder import SpeechEncoder


class CtcModel(nn.Module):
    """Waveforms in, log-probabilities of labels at every frame out."""

    def __init__(self, encoder: SpeechEncoder, head: nn.Linear, labels: Labels, folder: Path) -> None:
        super().__init__()
        self.encoder, self.head, self.labels, self.folder = encoder, head, labels, folder

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return self.head.weight.dtype

    def forward(self, waveform_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return log_probs_BSV in float32 and the number of valid frames."""
        states_BSD, lengths_B = self.encoder(waveform_BT.to(self.device, self.dtype), lengths_B.to(self.device))
        return self.head(states_BSD).float().log_softmax(-1), lengths_B


def load_transcriber(model: str | Path, *, device: torch.device | str, dtype: torch.dtype) -> CtcModel:
    """Read a folder or Hub id, in evaluation mode. VoxlateError where it has no CTC head."""
    folder = find_model(model)
    raw = read_json(base_folder(folder) / "config.json", "expected the folder of a model with a CTC head")
    kinds = architectures(raw, folder / "config.json")
    if any(kind.endswith("ForCTC") for kind in kinds):
        found = _from_transformers(folder, raw, dtype)
    elif raw.get("model_type") == "speech-encoder-decoder":
        found = _from_ours(model, folder, dtype)
    else:
        raise VoxlateError(
            f"{model}: {', '.join(kinds) or shown(raw.get('model_type'))} does not transcribe; expected a model of "
            f"Voxlate with {CTC_FILE}, or a Wav2Vec2ForCTC, WavLMForCTC, HubertForCTC or Wav2Vec2BertForCTC"
        )
    return found.to(device).eval()


def _from_ours(model: str | Path, folder: Path, dtype: torch.dtype) -> CtcModel:
    stored = read_ctc(base_folder(folder))
    if stored is None:
        raise VoxlateError(f"{model}: has no {CTC_FILE}; train with loss.ctc_weight, or name a model with a CTC head")
    tensors, characters = stored
    texts = ("", *characters)
    encoder = load_checkpoint(folder, dtype=dtype).model.encoder
    head = linear(tensors, "projection", encoder.output_dim, dtype, folder / CTC_FILE)
    return CtcModel(encoder, head, Labels(texts, 0, characters.get(" ")), folder)


def _from_transformers(folder: Path, raw: dict[str, Any], dtype: torch.dtype) -> CtcModel:
    encoder, tensors = read_headed(folder, ["lm_head"], dtype)
    head = linear(tensors, "lm_head", encoder.output_dim, dtype, folder)
    return CtcModel(encoder, head, read_labels(base_folder(folder), raw.get("pad_token_id"), head.out_features), folder)
