"""Random speech encoders and translators, and folders of models with a CTC head."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoConfig

from tiny import VOCABULARY, waveforms
from voxlate.data.batching import collate_waveforms
from voxlate.models import ENCODERS
from voxlate.models.adapter import AdapterConfig, LengthAdapter
from voxlate.models.decoder import DecoderConfig
from voxlate.models.encoder import SpeechEncoder
from voxlate.models.mbart import MBartDecoder
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.registry import resolve


def build(kind: tuple[str, dict[str, Any], bool]) -> SpeechEncoder:
    """Return a random encoder of one of `tiny.KINDS`, in evaluation mode."""
    torch.manual_seed(3)
    name, fields, normalize = kind
    encoder: Any = resolve(ENCODERS, name, "speech encoder")(
        AutoConfig.for_model(name, **fields), normalize_waveform=normalize
    )
    for parameter in encoder.parameters():  # larger than in an untrained network, so that states differ in time
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    result: SpeechEncoder = encoder.eval()
    return result


def random_translator(encoder: SpeechEncoder) -> SpeechTranslator:
    """Return a translator of a random encoder and decoder, in evaluation mode."""
    decoder = MBartDecoder(DecoderConfig(VOCABULARY, 32, 2, 4, 48, max_positions=64))
    return SpeechTranslator(encoder, LengthAdapter(AdapterConfig(32, 32)), decoder).eval()


def batch(encoder: SpeechEncoder, *seconds: float) -> tuple[Tensor, Tensor]:
    """Return padded noise of some durations, and the lengths in samples, as the encoder takes them."""
    return collate_waveforms(waveforms(7, *seconds), normalize=encoder.normalize_waveform)


def save_preprocessor(encoder: SpeechEncoder, folder: Path) -> None:
    """Write the preprocessor_config.json of an encoder."""
    fields = {"do_normalize": encoder.normalize_waveform, **encoder.PREPROCESSOR}
    (folder / "preprocessor_config.json").write_text(json.dumps(fields))


CTC_LABELS = {
    "<pad>": 0,
    "<s>": 1,
    "</s>": 2,
    "<unk>": 3,
    "|": 4,
    **{letter: 5 + n for n, letter in enumerate("ABCDEFGHIJ")},
}


CTC_CLASSES = {
    "wav2vec2": "Wav2Vec2ForCTC",
    "hubert": "HubertForCTC",
    "wavlm": "WavLMForCTC",
    "wav2vec2-bert": "Wav2Vec2BertForCTC",
}


def write_ctc_model(folder: Path, kind: tuple[str, dict[str, Any], bool]) -> Any:
    """Save a random network with a CTC head, its labels and its feature extractor; return it."""
    encoder: Any = build(kind)
    config = transformers.AutoConfig.for_model(kind[0], **kind[1], vocab_size=len(CTC_LABELS), pad_token_id=0)
    model = getattr(transformers, CTC_CLASSES[kind[0]])(config).eval()
    getattr(model, model.base_model_prefix).load_state_dict(encoder.model.state_dict())
    torch.nn.init.normal_(model.lm_head.weight, std=0.5)
    with torch.no_grad():  # transformers would write these as text, such as "<unk>"
        model.lm_head.bias[1:4] = -100.0
        model.lm_head.bias[[0, 4]] = 2.0
    model.save_pretrained(folder)
    save_preprocessor(encoder, folder)
    (folder / "vocab.json").write_text(json.dumps(CTC_LABELS))
    (folder / "tokenizer_config.json").write_text(json.dumps({"word_delimiter_token": "|", "pad_token": "<pad>"}))
    return model
