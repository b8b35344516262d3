"""Build a speech translation model from scratch: random weights, from fields of transformers' configs."""

import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, MBartConfig

from voxlate.checkpoints.config_json import encoder_config, mbart_config
from voxlate.checkpoints.conversion import decoder_config
from voxlate.checkpoints.model_folder import Checkpoint
from voxlate.errors import VoxlateError
from voxlate.json_files import shown
from voxlate.languages import find_language
from voxlate.models import ENCODERS
from voxlate.models.adapter import AdapterConfig, LengthAdapter
from voxlate.models.decoder import MBartDecoder
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.registry import resolve
from voxlate.tokenizer import Tokenizer

_SETTINGS = Path("model.scratch")  # the configuration section, for messages


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
    """Return a model with random weights (seed torch first) and every mBART-50 language as a target.

    `encoder` and `decoder` are fields of transformers' configs; all others keep their defaults. VoxlateError for
    unknown fields, for values from which no network can be built, and for more weights than fit into memory.
    """
    encoder_class = resolve(ENCODERS, encoder_type, "speech encoder")
    problems = [
        *_unknown_fields("encoder", encoder, AutoConfig.for_model(encoder_type).to_dict()),
        *_unknown_fields("decoder", decoder, MBartConfig().to_dict()),
    ]
    if problems:
        raise VoxlateError("\n".join(problems))
    tokenizer = Tokenizer(vocabulary)
    speech = encoder_config({**encoder, "model_type": encoder_type}, _SETTINGS, {}, "encoder")
    text = mbart_config({**decoder, "vocab_size": tokenizer.vocabulary_size}, _SETTINGS, {}, "decoder")
    shape = decoder_config(text)

    def build() -> SpeechTranslator:
        encoder_network = encoder_class(speech, normalize_waveform=normalize_waveform)
        adapter = AdapterConfig(encoder_network.output_dim, shape.width, adapter_layers, adapter_kernel, adapter_stride)
        return SpeechTranslator(encoder_network, LengthAdapter(adapter), MBartDecoder(shape))

    with torch.random.fork_rng(devices=[]):
        _check_size(build)
    model = build()
    targets = {find_language(tag).code: tokenizer.tag_id(tag) for tag in tokenizer.tags}
    return Checkpoint("a new model", Path(vocabulary).parent, model, tokenizer, targets)


def _check_size(build: Callable[[], SpeechTranslator]) -> None:
    """Build the model on the meta device, which takes no memory. VoxlateError if it would not fit into memory.

    Building it directly would exhaust the memory: neither torch nor Linux refuses an allocation in time.
    """
    try:
        with torch.device("meta"):
            parameters = sum(parameter.numel() for parameter in build().parameters())
    except Exception as error:  # networks raise various exceptions for invalid configs
        raise VoxlateError(f"{_SETTINGS}: does not describe a valid network ({shown(error)})") from None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if 4 * parameters > memory:
        raise VoxlateError(
            f"{_SETTINGS}: {parameters:.3g} parameters need {4 * parameters / 2**30:,.0f} GiB, but this machine has "
            f"{memory / 2**30:,.0f}; make it smaller"
        )


def _unknown_fields(part: str, fields: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    problems = []
    for name in sorted(fields.keys() - defaults.keys()):
        close = get_close_matches(name, defaults, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        problems.append(f"{_SETTINGS}.{part}.{name}: unknown setting{hint}")
    return problems
