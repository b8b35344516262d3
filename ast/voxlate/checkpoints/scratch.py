"""Build a speech translation model from scratch: random weights, from fields of transformers' configs."""

import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from voxlate.checkpoints.config_json import encoder_config, text_config
from voxlate.checkpoints.conversion import adapter_class, decoder_config
from voxlate.checkpoints.model_folder import Checkpoint
from voxlate.checkpoints.new_adapter import AdapterSettings, new_adapter_config
from voxlate.checkpoints.vocabulary_files import check_ids
from voxlate.errors import VoxlateError
from voxlate.json_files import shown
from voxlate.models import DECODERS, ENCODERS
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.registry import resolve
from voxlate.tokenizer import Tokenizer
from voxlate.vocabulary_layouts import MBART50, NLLB

_SETTINGS = Path("model.scratch")  # the configuration section, for messages


def random_model(
    vocabulary: str | Path,
    encoder: Mapping[str, Any],
    decoder: Mapping[str, Any],
    *,
    encoder_type: str = "wav2vec2",
    decoder_type: str = "mbart",
    normalize_waveform: bool = True,
    adapter: AdapterSettings | None = None,
) -> Checkpoint:
    """Return a model with random weights (seed torch first) and every language of the vocabulary as a target.

    `encoder` and `decoder` are fields of transformers' configs; all others keep their defaults. The layout of the
    vocabulary is mBART-50's, with an m2m_100 decoder NLLB's. VoxlateError for
    unknown fields, for values from which no network can be built, and for more weights than fit into memory.
    """
    encoder_class = resolve(ENCODERS, encoder_type, "speech encoder")
    decoder_class = resolve(DECODERS, decoder_type, "text decoder")
    problems = [
        *_unknown_fields("encoder", encoder, AutoConfig.for_model(encoder_type).to_dict()),
        *_unknown_fields("decoder", decoder, AutoConfig.for_model(decoder_type).to_dict()),
    ]
    if problems:
        raise VoxlateError("\n".join(problems))
    tokenizer = Tokenizer(vocabulary, MBART50 if decoder_type == "mbart" else NLLB)
    speech = encoder_config({**encoder, "model_type": encoder_type}, _SETTINGS, {}, "encoder")
    described = {**decoder, "vocab_size": tokenizer.vocabulary_size, "model_type": decoder_type}
    shape = decoder_config(text_config(described, _SETTINGS, {}, "decoder"))
    check_ids(tokenizer, shape.pad_id, shape.eos_id)

    def build() -> SpeechTranslator:
        encoder_network = encoder_class(speech, normalize_waveform=normalize_waveform)
        config = new_adapter_config(adapter or AdapterSettings(), encoder_network, shape.width)
        return SpeechTranslator(encoder_network, adapter_class(config)(config), decoder_class(shape))

    with torch.random.fork_rng(devices=[]):
        _check_size(build)
    model = build()
    return Checkpoint("a new model", Path(vocabulary).parent, model, tokenizer, tokenizer.target_ids())


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
