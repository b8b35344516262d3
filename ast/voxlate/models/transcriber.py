"""A speech encoder with a CTC head: one of our models that has it, or a folder of transformers' `…ForCTC` classes.

Shape letters: B utterances, T samples, S frames, V labels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from voxlate.errors import VoxlateError
from voxlate.models.ctc import CTC_FILE, read_ctc
from voxlate.models.encoder import SpeechEncoder
from voxlate.models.encoder_files import read_headed
from voxlate.models.hub import find_model
from voxlate.models.interop import load_checkpoint, read_json


@dataclass(frozen=True)
class Labels:
    """What the labels of a head stand for: the blank, the space between words, pieces of text, or nothing."""

    texts: tuple[str, ...]
    blank: int
    space: int | None


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
    raw = read_json(folder / "config.json", "expected the folder of a model with a CTC head")
    kinds = [str(kind) for kind in raw.get("architectures") or []]
    if any(kind.endswith("ForCTC") for kind in kinds):
        found = _from_transformers(folder, raw, dtype)
    elif raw.get("model_type") == "speech-encoder-decoder":
        found = _from_ours(model, folder, dtype)
    else:
        raise VoxlateError(
            f"{model}: {', '.join(kinds) or raw.get('model_type')} does not transcribe; expected a model of Voxlate "
            f"with {CTC_FILE}, or a Wav2Vec2ForCTC, WavLMForCTC, HubertForCTC or Wav2Vec2BertForCTC"
        )
    return found.to(device).eval()


def _from_ours(model: str | Path, folder: Path, dtype: torch.dtype) -> CtcModel:
    stored = read_ctc(folder)
    if stored is None:
        raise VoxlateError(f"{model}: has no {CTC_FILE}; train with loss.ctc_weight, or name a model with a CTC head")
    tensors, characters = stored
    texts = ("", *characters)
    head = _head(tensors["projection.weight"], tensors["projection.bias"], dtype)
    encoder = load_checkpoint(folder, dtype=dtype).model.encoder
    return CtcModel(encoder, head, Labels(texts, 0, characters.get(" ")), folder)


def _from_transformers(folder: Path, raw: dict[str, Any], dtype: torch.dtype) -> CtcModel:
    encoder, tensors = read_headed(folder, ["lm_head"], dtype)
    head = _head(tensors["lm_head.weight"], tensors["lm_head.bias"], dtype)
    return CtcModel(encoder, head, _labels(folder, raw, head.out_features), folder)


def _labels(folder: Path, raw: dict[str, Any], count: int) -> Labels:
    """Read vocab.json; a vocabulary of several languages (MMS) has one table for each, and needs a choice."""
    ids = read_json(folder / "vocab.json", "expected the labels of the CTC head")
    if not all(isinstance(index, int) and 0 <= index < count for index in ids.values()):
        raise VoxlateError(f"{folder / 'vocab.json'}: expected one id below {count} for each label")
    path = folder / "tokenizer_config.json"
    settings = read_json(path, "") if path.is_file() else {}
    space = ids.get(settings.get("word_delimiter_token") or "|")
    blank = int(raw.get("pad_token_id") or 0)
    texts = [""] * count
    for text, index in ids.items():
        is_special = index == blank or (len(text) > 1 and text[0] + text[-1] in ("<>", "[]"))
        texts[index] = "" if is_special else text
    return Labels(tuple(texts), blank, space)


def _head(weight_VD: Tensor, bias_V: Tensor, dtype: torch.dtype) -> nn.Linear:
    with torch.device("meta"):
        head = nn.Linear(weight_VD.shape[1], weight_VD.shape[0])
    head.load_state_dict({"weight": weight_VD.to(dtype), "bias": bias_V.to(dtype)}, assign=True)
    return head
