"""Read and write model folders: transformers' SpeechEncoderDecoderModel, and SeamlessM4T v2's speech to text.

Reading is strict: a missing or unexpected tensor, or one with the wrong shape, is an error. Configs from 2021 on are
supported; the folders that are written load in plain transformers 5 if it has all parts of the model.
"""

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from voxlate.checkpoints.config_json import encoder_config, text_config
from voxlate.checkpoints.conversion import (
    adapter_class,
    adapter_config,
    build,
    decoder_config,
    from_transformers,
    has_untied_output,
    load_strictly,
    to_transformers,
    transformers_config,
    transformers_lacks,
)
from voxlate.checkpoints.hub import find_model
from voxlate.checkpoints.lora import base_folder
from voxlate.checkpoints.seamless import (
    MODEL_TYPE,
    from_seamless,
    is_seamless,
    read_seamless_config,
    seamless_config,
    to_seamless,
)
from voxlate.checkpoints.training_statistics import (
    TrainingStatistics,
    stored_training_statistics,
    write_training_statistics,
)
from voxlate.checkpoints.vocabulary_files import (
    check_ids,
    language_ids,
    read_tokenizer,
    tokenizer_config,
    unnamed_ids,
    write_vocabulary,
)
from voxlate.checkpoints.weights import read_weights, write_safetensors
from voxlate.errors import VoxlateError
from voxlate.files import write_text
from voxlate.json_files import entry_exists, read_json, shown
from voxlate.languages import find_language
from voxlate.models import DECODERS, ENCODERS
from voxlate.models.encoder import PREPROCESSOR
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.published_checkpoints import published_targets
from voxlate.registry import resolve
from voxlate.tokenizer import Tokenizer

LANGUAGES_FILE = "languages.json"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A model with its tokenizer and the token id of each of its target languages.

    `name` is the model as the user named it. `folder` is its folder; for a LoRA adapter it is that of the base,
    and `adapter` is that of the adapter.
    """

    name: str
    folder: Path
    model: SpeechTranslator
    tokenizer: Tokenizer
    targets: Mapping[str, int]
    adapter: Path | None = None
    directions: Collection[str] = ()  # that it was trained on, if known
    statistics: TrainingStatistics | None = None  # of what it was trained on, if this is a model in training

    def target_id(self, language: str) -> int:
        """Return the token id of a target language. VoxlateError lists the model's if it is not among them."""
        target = find_language(language)
        if target.code not in self.targets:
            raise VoxlateError(
                f"{self.name} does not translate into {target.name} ({target.code}); it has "
                f"{', '.join(sorted(self.targets))}; if it has a token for it, name that with --language-token "
                f"{target.code}=ID or in {LANGUAGES_FILE} next to its config.json"
            )
        return self.targets[target.code]


def load_checkpoint(
    model: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    language_tokens: Mapping[str, int | str] | None = None,
    fields: Mapping[str, Mapping[str, Any]] | None = None,
) -> Checkpoint:
    """Load a folder or Hub id, in evaluation mode. Weights already in `dtype` on the CPU stay memory-mapped.

    - `language_tokens` overrides the tokens of target languages, as ids or mBART tags: ``{"lv": 250016}`` or
      ``{"lv": "lv_LV"}``;
    - `fields` overrides fields of the config's ``encoder`` and ``decoder``, as in ``{"decoder": {"dropout": 0.2}}``.
    """
    path = find_model(model)
    folder = base_folder(path)
    config = _read_config(folder, fields or {})
    encoder, decoder = config.encoder, config.decoder
    listed = _listed_targets(folder)
    tokenizer = read_tokenizer(folder, decoder.vocab_size, added=(listed or {}).values())
    check_ids(tokenizer, decoder.pad_token_id, decoder.eos_token_id)
    targets = _read_targets(folder, listed, tokenizer, decoder.vocab_size, language_tokens or {})
    stored = read_weights(path)
    if path != folder and has_untied_output(stored):
        decoder.tie_word_embeddings = False
    convert = from_seamless if config.is_seamless else from_transformers
    tensors = convert(stored, tied=decoder.tie_word_embeddings, where=str(folder))
    layers = {
        "encoder.num_hidden_layers": encoder.num_hidden_layers,
        "encoder's adapter layers": adapter_config(encoder).layers,
        "decoder.decoder_layers": decoder.decoder_layers,
    }
    normalize = normalizes_waveforms(folder)
    translator = build(lambda: _build(config, normalize_waveform=normalize), folder, tensors, layers)
    load_strictly(translator, tensors, dtype, str(folder))
    adapter = None if path == folder else path
    return Checkpoint(str(model), folder, translator.to(device).eval(), tokenizer, targets, adapter)


def save_checkpoint(
    folder: str | Path,
    model: SpeechTranslator,
    tokenizer: Tokenizer,
    targets: Mapping[str, int],
    tensors: Mapping[str, Tensor] | None = None,
    directions: Collection[str] = (),
    statistics: TrainingStatistics | None = None,
) -> None:
    """Write a folder that `load_checkpoint` reads, and transformers if it has all parts of the model.

    `tensors` are the weights under our names, by default those of `model`, whose parameters may be sharded.
    VoxlateError if an id of the decoder is neither the tokenizer's nor a target language's.
    """
    folder = Path(folder)
    write_description(folder, model, tokenizer, targets, directions, statistics)
    convert = to_seamless if is_seamless(model) else to_transformers
    tensors = convert(model.state_dict() if tensors is None else tensors)
    write_safetensors(folder / "model.safetensors", tensors, {"format": "pt"})


def write_description(
    folder: Path,
    model: SpeechTranslator,
    tokenizer: Tokenizer,
    targets: Mapping[str, int],
    directions: Collection[str] = (),
    statistics: TrainingStatistics | None = None,
) -> None:
    """Write all files of a model folder except the weights. VoxlateError as in `save_checkpoint`."""
    unnamed = unnamed_ids(tokenizer, model.decoder.config.vocabulary_size, targets.values())
    if unnamed:
        raise VoxlateError(
            f"{folder}: no target language has the decoder's id {unnamed[0]}; expected one for each added id"
        )
    generation = _generation_config(tokenizer, model.decoder.config.max_positions, targets)
    if is_seamless(model):
        config = seamless_config(model, tokenizer.bos_id)
        generation["text_decoder_lang_to_code_id"] = language_ids(tokenizer, targets)
        del generation["forced_bos_token_id"], generation["forced_eos_token_id"]  # its decoder input has the language
    else:
        config = transformers_config(model)
        config.bos_token_id = tokenizer.bos_id
        if (lacking := transformers_lacks(model)) is not None:
            _LOG.warning("%s loads only in Voxlate: transformers has no %s", folder, lacking)
    write_text(folder / "config.json", config.to_json_string(use_diff=False))
    write_text(folder / "generation_config.json", _json(generation))
    write_text(
        folder / "preprocessor_config.json",
        _json({"do_normalize": model.encoder.normalize_waveform, **model.encoder.PREPROCESSOR}),
    )
    write_text(folder / "tokenizer_config.json", _json(tokenizer_config(tokenizer, targets)))
    trained = {"directions": sorted(directions)} if directions else {}
    write_text(folder / LANGUAGES_FILE, _json({"targets": dict(targets), **trained}))
    if statistics is not None:
        write_training_statistics(folder, statistics)
    write_vocabulary(folder, tokenizer)


def read_description(folder: Path) -> Checkpoint:
    """Read the files that `write_description` writes; the model is on the meta device, without weights."""
    config = _read_config(folder, {})
    listed = _listed_targets(folder)
    tokenizer = read_tokenizer(folder, config.decoder.vocab_size, added=(listed or {}).values())
    targets = _read_targets(folder, listed, tokenizer, config.decoder.vocab_size, {})
    with torch.device("meta"):
        translator = _build(config, normalize_waveform=normalizes_waveforms(folder))
    trained = listed_directions(folder), stored_training_statistics(folder)
    return Checkpoint(str(folder), folder, translator.eval(), tokenizer, targets, None, *trained)


def _build(config: Any, *, normalize_waveform: bool) -> SpeechTranslator:
    encoder_class = resolve(ENCODERS, config.encoder.model_type, "speech encoder")
    decoder_class = resolve(DECODERS, config.decoder.model_type, "text decoder")
    adapter = adapter_config(config.encoder)
    width = config.decoder.d_model
    return SpeechTranslator(
        encoder_class(config.encoder, normalize_waveform=normalize_waveform),
        adapter_class(adapter)(adapter),
        decoder_class(decoder_config(config.decoder)),
        nn.Linear(adapter.output_dim, width) if adapter.output_dim != width else None,
    )


def _read_config(folder: Path, fields: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return an object with the attributes `encoder` and `decoder`, which are configs, and `is_seamless`."""
    path = folder / "config.json"
    raw = read_json(path, "expected the folder of a SpeechEncoderDecoderModel")
    if raw.get("model_type") == MODEL_TYPE:
        config = read_seamless_config(raw, path, fields)
        config.is_seamless = True
        return config
    decoder = raw.get("decoder")
    kinds = (raw.get("model_type"), decoder.get("model_type") if isinstance(decoder, dict) else None)
    if kinds[0] != "speech-encoder-decoder" or kinds[1] not in DECODERS:
        raise VoxlateError(
            f"{folder}: a {shown(kinds[0])} model with decoder {shown(kinds[1])}; expected 'speech-encoder-decoder' "
            f"with {' or '.join(map(repr, sorted(DECODERS, reverse=True)))}, or {MODEL_TYPE!r}"
        )
    config = SimpleNamespace(
        encoder=encoder_config(raw.get("encoder"), path, fields.get("encoder", {}), "encoder"),
        decoder=text_config(decoder, path, fields.get("decoder", {}), "decoder"),
        is_seamless=False,
    )
    pad_id, eos_id = config.decoder.pad_token_id, config.decoder.eos_token_id
    for key, expected in (("decoder_start_token_id", eos_id), ("pad_token_id", pad_id), ("eos_token_id", eos_id)):
        if raw.get(key) not in (None, expected):
            layout = " (the mBART-50 layout)" if kinds[1] == "mbart" else ""
            raise VoxlateError(f"{path}: {key} is {shown(raw[key])}, expected {expected}{layout}")
    return config


def _listed_targets(folder: Path) -> dict[str, int] | None:
    if not entry_exists(folder / LANGUAGES_FILE):
        return None
    path = folder / LANGUAGES_FILE
    listed = read_json(path, "").get("targets")
    if not isinstance(listed, dict) or not listed:
        raise VoxlateError(f'{path}: expected {{"targets": {{"de": 250003, …}}}}')
    targets: dict[str, int] = {}
    for code, index in listed.items():
        try:
            language = find_language(code)
        except VoxlateError as error:
            raise VoxlateError(f"{path}: {shown(error)}") from None
        if language.code in targets:
            raise VoxlateError(f"{path}: {language.name} ({language.code}) occurs twice; expected one id")
        if not isinstance(index, int) or isinstance(index, bool):
            raise VoxlateError(f"{path}: the id of {code} is {shown(index)}; expected a whole number such as 250003")
        targets[language.code] = index
    return targets


def listed_directions(folder: Path) -> list[str]:
    """Return the directions that a model was trained on; an empty list if its folder does not list them."""
    if not entry_exists(folder / LANGUAGES_FILE):
        return []
    names = read_json(folder / LANGUAGES_FILE, "").get("directions")
    return [str(name) for name in names] if isinstance(names, list) else []


def _read_targets(
    folder: Path,
    listed: dict[str, int] | None,
    tokenizer: Tokenizer,
    vocabulary_size: int,
    language_tokens: Mapping[str, int | str],
) -> dict[str, int]:
    """Return code → id: those in the folder's list, else on the published model card, else every tag's language."""
    targets = listed if listed is not None else published_targets(str(folder.resolve()))
    if targets is None:
        targets = tokenizer.target_ids()
    for code, token in language_tokens.items():
        targets[find_language(code).code] = tokenizer.tag_id(token) if isinstance(token, str) else token
    first = tokenizer.first_tag_id
    for code, index in targets.items():
        if index >= vocabulary_size:
            raise VoxlateError(f"{folder}: token {shown(index)} of {code} is not an id below {vocabulary_size}")
        if index < first:
            raise VoxlateError(
                f"{folder}: token {shown(index)} of {code} is not a language tag; expected an id from {first} to "
                f"{vocabulary_size - 1}"
            )
    return targets


def normalizes_waveforms(folder: Path) -> bool:
    """Return whether waveforms are normalized, from the config of the feature extractor or processor."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        if entry_exists(folder / name):
            raw = read_json(folder / name, "")
            settings = raw.get("feature_extractor", raw)
            if not isinstance(settings, dict):
                raise VoxlateError(f"{folder / name}: feature_extractor is {shown(settings)}; expected an object")
            rate = settings.get("sampling_rate", PREPROCESSOR["sampling_rate"])
            if isinstance(rate, bool) or rate != PREPROCESSOR["sampling_rate"]:
                raise VoxlateError(f"{folder / name}: sampling_rate is {shown(rate)}; expected 16000 samples a second")
            normalize = settings.get("do_normalize", True)
            if not isinstance(normalize, bool):
                raise VoxlateError(f"{folder / name}: do_normalize is {shown(normalize)}; expected true or false")
            return normalize
    return True


def _generation_config(tokenizer: Tokenizer, max_positions: int, targets: Mapping[str, int]) -> dict[str, Any]:
    return {
        "bos_token_id": tokenizer.bos_id,
        "decoder_start_token_id": tokenizer.eos_id,
        "early_stopping": True,
        "eos_token_id": tokenizer.eos_id,
        "forced_bos_token_id": next(iter(targets.values()), None),
        "forced_eos_token_id": tokenizer.eos_id,
        "max_length": min(200, max_positions),
        "num_beams": 5,
        "pad_token_id": tokenizer.pad_id,
    }


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
