"""Make a speech translation model without pretrained parts, from fields of transformers' configs."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, MBartConfig

from voxlate.errors import VoxlateError
from voxlate.languages import find_language
from voxlate.models import ENCODERS
from voxlate.models.adapter import AdapterConfig, LengthAdapter
from voxlate.models.conversion import decoder_config
from voxlate.models.decoder import MBartDecoder
from voxlate.models.interop import Checkpoint
from voxlate.models.translator import SpeechTranslator
from voxlate.registry import resolve
from voxlate.text import Tokenizer


def random_model(
    vocabulary: str | Path,
    encoder: Mapping[str, Any],
    decoder: Mapping[str, Any],
    *,
    encoder_type: str = "wav2vec2",
    normalize_waveform: bool = True,
    adapter_layers: int = 3,
    adapter_kernel: int = 3,
    adapter_stride: int = 2,
) -> Checkpoint:
    """Return a model of random weights (seed torch first), with every mBART-50 language as a target.

    `encoder` and `decoder` are fields of transformers' configs; what is not given has their defaults. VoxlateError
    for fields that they do not have, which transformers would take without a word, or that do not fit together.
    """
    encoder_class = resolve(ENCODERS, encoder_type, "speech encoder")
    problems = [
        *_unknown("encoder", encoder, AutoConfig.for_model(encoder_type).to_dict()),
        *_unknown("decoder", decoder, MBartConfig().to_dict()),
    ]
    if problems:
        raise VoxlateError("\n".join(problems))
    tokenizer = Tokenizer(vocabulary)
    try:
        speech = encoder_class(AutoConfig.for_model(encoder_type, **encoder), normalize_waveform=normalize_waveform)
        shape = decoder_config(MBartConfig(**{**decoder, "vocab_size": tokenizer.vocabulary_size}))
    except (ValueError, TypeError, ZeroDivisionError, StrictDataclassError) as error:
        raise VoxlateError(f"model.scratch: {' '.join(str(error).split())}") from None
    if shape.width % shape.heads:
        raise VoxlateError(
            f"model.scratch.decoder: d_model {shape.width} is no multiple of decoder_attention_heads {shape.heads}"
        )
    adapter = AdapterConfig(speech.output_dim, shape.width, adapter_layers, adapter_kernel, adapter_stride)
    model = SpeechTranslator(speech, LengthAdapter(adapter), MBartDecoder(shape))
    targets = {find_language(tag).code: tokenizer.tag_id(tag) for tag in tokenizer.tags}
    return Checkpoint("a new model", Path(vocabulary).parent, model, tokenizer, targets)


def _unknown(part: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
    problems = []
    for name in sorted(given.keys() - known.keys()):
        close = get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        problems.append(f"model.scratch.{part}.{name}: unknown setting{hint}")
    return problems
