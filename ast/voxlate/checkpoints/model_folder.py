"""Read and write transformers' SpeechEncoderDecoderModel folders: wav2vec 2.0 encoder, adapter, mBART decoder.

Strict: a tensor that is missing, unexpected or of another shape stops the reading. Configs of 2021 and of today are
read alike; what is written loads in plain transformers 5.
"""

import json
import logging
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from voxlate.checkpoints.config_json import encoder_config, mbart_config
from voxlate.checkpoints.conversion import (
    adapter_config,
    build,
    decoder_config,
    from_transformers,
    is_transformers_own,
    load_strictly,
    to_transformers,
    transformers_config,
    unties,
)
from voxlate.checkpoints.hub import find_model
from voxlate.checkpoints.lora import base_folder
from voxlate.checkpoints.weights import read_weights, write_safetensors
from voxlate.errors import VoxlateError
from voxlate.files import atomic_file, write_text
from voxlate.json_files import entry_exists, read_json, shown
from voxlate.languages import LANGUAGES, find_language
from voxlate.models import ENCODERS
from voxlate.models.adapter import LengthAdapter
from voxlate.models.decoder import DecoderConfig, MBartDecoder
from voxlate.models.encoder import PREPROCESSOR
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.published_checkpoints import published_targets
from voxlate.registry import resolve
from voxlate.tokenizer import BOS_ID, EOS_ID, PAD_ID, VOCABULARY_FILES, Tokenizer

LANGUAGES_FILE = "languages.json"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A model with what belongs to it: its tokenizer, and the token id of each target language it knows.

    `name` is what the user called it, `folder` where it lies; of a LoRA adapter, which lies in `adapter`, where its
    base does.
    """

    name: str
    folder: Path
    model: SpeechTranslator
    tokenizer: Tokenizer
    targets: Mapping[str, int]
    adapter: Path | None = None
    directions: Collection[str] = ()  # that it was trained on, where that is known

    def target_id(self, language: str) -> int:
        """Return the tag id of a target language. VoxlateError names those that the model has."""
        found = find_language(language)
        if found.code not in self.targets:
            raise VoxlateError(
                f"{self.name} does not translate into {found.name} ({found.code}); it has "
                f"{', '.join(sorted(self.targets))}; if it has a token for it, name that with --language-token "
                f"{found.code}=ID or in {LANGUAGES_FILE} next to its config.json"
            )
        return self.targets[found.code]


def load_checkpoint(
    model: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    slots: Mapping[str, int | str] | None = None,
    fields: Mapping[str, Mapping[str, Any]] | None = None,
) -> Checkpoint:
    """Read a folder or Hub id, in evaluation mode. Weights already in `dtype` on the CPU stay memory-mapped.

    `slots` overrides target languages' token ids, each by id or by mBART tag: ``{"lv": 250016}``, ``{"lv": "lv_LV"}``;
    `fields` overrides fields of the config's ``encoder`` and ``decoder``, such as ``{"decoder": {"dropout": 0.2}}``.
    """
    found = find_model(model)
    folder = base_folder(found)
    config = _read_config(folder, fields or {})
    encoder, decoder = config.encoder, config.decoder
    listed = _listed_targets(folder)
    tokenizer = read_tokenizer(folder, decoder.vocab_size, added=(listed or {}).values())
    targets = _read_targets(folder, listed, tokenizer, decoder.vocab_size, slots or {})
    stored = read_weights(found)
    if found != folder and unties(stored):
        decoder.tie_word_embeddings = False
    tensors = from_transformers(stored, tied=decoder.tie_word_embeddings, where=str(folder))
    layers = {
        "encoder.num_hidden_layers": encoder.num_hidden_layers,
        "encoder's adapter layers": adapter_config(encoder).layers,
        "decoder.decoder_layers": decoder.decoder_layers,
    }
    normalize = normalizes(folder)
    translator = build(lambda: _build(config, normalize_waveform=normalize), folder, tensors, layers)
    load_strictly(translator, tensors, dtype, str(folder))
    adapter = None if found == folder else found
    return Checkpoint(str(model), folder, translator.to(device).eval(), tokenizer, targets, adapter)


def save_checkpoint(
    folder: str | Path,
    model: SpeechTranslator,
    tokenizer: Tokenizer,
    targets: Mapping[str, int],
    tensors: Mapping[str, Tensor] | None = None,
    directions: Collection[str] = (),
) -> None:
    """Write a folder that `load_checkpoint` and transformers' `SpeechEncoderDecoderModel.from_pretrained` read.

    `tensors` are the weights under our names, where the model itself does not hold them whole and plain.
    VoxlateError where an id of the decoder is neither the tokenizer's nor a target's: nobody could say what it is.
    """
    folder = Path(folder)
    write_description(folder, model, tokenizer, targets, directions)
    tensors = to_transformers(model.state_dict() if tensors is None else tensors)
    write_safetensors(folder / "model.safetensors", tensors, {"format": "pt"})


def write_description(
    folder: Path,
    model: SpeechTranslator,
    tokenizer: Tokenizer,
    targets: Mapping[str, int],
    directions: Collection[str] = (),
) -> None:
    """Write all files of a model folder but its weights; raise as `save_checkpoint` does."""
    unnamed = _unnamed_ids(tokenizer, model.decoder.config.vocabulary_size, targets.values())
    if unnamed:
        raise VoxlateError(f"{folder}: no target has id {unnamed[0]} of the decoder; expected one for each added id")
    config = transformers_config(model)
    if not is_transformers_own(model):
        _LOG.warning(
            "%s is for Voxlate alone: plain transformers has no adapter like its on a %s encoder",
            folder,
            model.encoder.config.model_type,
        )
    write_text(folder / "config.json", config.to_json_string(use_diff=False))
    write_text(folder / "generation_config.json", _json(_generation_config(model.decoder.config, targets)))
    write_text(
        folder / "preprocessor_config.json",
        _json({"do_normalize": model.encoder.normalize_waveform, **model.encoder.PREPROCESSOR}),
    )
    write_text(folder / "tokenizer_config.json", _json(_tokenizer_config(tokenizer, targets)))
    known = {"directions": sorted(directions)} if directions else {}
    write_text(folder / LANGUAGES_FILE, _json({"targets": dict(targets), **known}))
    name = "tokenizer.json" if tokenizer.path.suffix == ".json" else "sentencepiece.bpe.model"
    with atomic_file(folder / name) as part:
        shutil.copyfile(tokenizer.path, part)


def read_description(folder: Path) -> Checkpoint:
    """Return what `write_description` wrote; the model is on the meta device, without weights."""
    config = _read_config(folder, {})
    listed = _listed_targets(folder)
    tokenizer = read_tokenizer(folder, config.decoder.vocab_size, added=(listed or {}).values())
    targets = _read_targets(folder, listed, tokenizer, config.decoder.vocab_size, {})
    with torch.device("meta"):
        translator = _build(config, normalize_waveform=normalizes(folder))
    return Checkpoint(str(folder), folder, translator.eval(), tokenizer, targets, directions=listed_directions(folder))


def _build(config: Any, *, normalize_waveform: bool) -> SpeechTranslator:
    encoder_class = resolve(ENCODERS, config.encoder.model_type, "speech encoder")
    adapter = adapter_config(config.encoder)
    width = config.decoder.d_model
    return SpeechTranslator(
        encoder_class(config.encoder, normalize_waveform=normalize_waveform),
        LengthAdapter(adapter),
        MBartDecoder(decoder_config(config.decoder)),
        nn.Linear(adapter.output_dim, width) if adapter.output_dim != width else None,
    )


def _read_config(folder: Path, fields: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return the configs of the encoder and of the decoder, as `encoder` and `decoder`."""
    path = folder / "config.json"
    raw = read_json(path, "expected the folder of a SpeechEncoderDecoderModel")
    decoder = raw.get("decoder")
    kinds = (raw.get("model_type"), decoder.get("model_type") if isinstance(decoder, dict) else None)
    if kinds != ("speech-encoder-decoder", "mbart"):
        raise VoxlateError(
            f"{folder}: a {shown(kinds[0])} model with decoder {shown(kinds[1])}; expected 'speech-encoder-decoder' "
            "with 'mbart'"
        )
    for key, expected in (("decoder_start_token_id", EOS_ID), ("pad_token_id", PAD_ID), ("eos_token_id", EOS_ID)):
        if raw.get(key) not in (None, expected):
            raise VoxlateError(f"{path}: {key} is {shown(raw[key])}, expected {expected} (the mBART-50 layout)")
    return SimpleNamespace(
        encoder=encoder_config(raw.get("encoder"), path, fields.get("encoder", {}), "encoder"),
        decoder=mbart_config(decoder, path, fields.get("decoder", {}), "decoder"),
    )


def read_tokenizer(folder: Path, vocabulary_size: int, *, added: Collection[int] = ()) -> Tokenizer:
    """Return the tokenizer of a model folder; VoxlateError where it is missing or another model's.

    Of the decoder's ids it makes all but those `added` after ``<mask>`` for new target languages.
    """
    path = next((folder / name for name in VOCABULARY_FILES if entry_exists(folder / name)), None)
    if path is None:
        expected = " or ".join(VOCABULARY_FILES)
        raise VoxlateError(f"{folder}: no {expected}; copy it from the mBART-50 checkpoint that the model came from")
    tokenizer = Tokenizer(path)
    if tokenizer.vocabulary_size > vocabulary_size or _unnamed_ids(tokenizer, vocabulary_size, added):
        raise VoxlateError(
            f"{path}: makes {tokenizer.vocabulary_size} ids, but the decoder has {vocabulary_size}; "
            "it belongs to another model"
        )
    return tokenizer


def _unnamed_ids(tokenizer: Tokenizer, vocabulary_size: int, added: Collection[int]) -> list[int]:
    return [index for index in range(tokenizer.vocabulary_size, vocabulary_size) if index not in added]


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
            raise VoxlateError(f"{path}: {language.name} ({language.code}) occurs twice; expected one id of it")
        if not isinstance(index, int) or isinstance(index, bool):
            raise VoxlateError(f"{path}: the id of {code} is {shown(index)}; expected a whole number such as 250003")
        targets[language.code] = index
    return targets


def listed_directions(folder: Path) -> list[str]:
    """Return the directions that a model was trained on as far as its folder tells: none where it does not."""
    if not entry_exists(folder / LANGUAGES_FILE):
        return []
    found = read_json(folder / LANGUAGES_FILE, "").get("directions")
    return [str(name) for name in found] if isinstance(found, list) else []


def _read_targets(
    folder: Path,
    listed: dict[str, int] | None,
    tokenizer: Tokenizer,
    vocabulary_size: int,
    slots: Mapping[str, int | str],
) -> dict[str, int]:
    """Return code → id: as listed in the folder, else from the published card, else every mBART-50 language."""
    targets = listed if listed is not None else published_targets(str(folder.resolve()))
    if targets is None:
        targets = {language.code: tokenizer.tag_id(language.mbart_tag) for language in LANGUAGES if language.mbart_tag}
    for code, slot in slots.items():
        index = tokenizer.tag_id(slot) if isinstance(slot, str) else slot
        targets[find_language(code).code] = index
    first = tokenizer.tag_id(tokenizer.tags[0])
    for code, index in targets.items():
        if index >= vocabulary_size:
            raise VoxlateError(f"{folder}: slot {shown(index)} of {code} is not an id below {vocabulary_size}")
        if index < first:
            raise VoxlateError(
                f"{folder}: slot {shown(index)} of {code} is no language tag; expected an id from {first} to "
                f"{vocabulary_size - 1}"
            )
    return targets


def normalizes(folder: Path) -> bool:
    """Return whether waveforms are normalized, from the feature extractor's file or the joint processor's."""
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


def _tokenizer_config(tokenizer: Tokenizer, targets: Mapping[str, int]) -> dict[str, Any]:
    """Return what transformers' tokenizer needs to know: ids after ``<mask>`` are tags too, and no text."""
    config: dict[str, Any] = {"tokenizer_class": "MBart50Tokenizer"}
    added = {index: code for code, index in targets.items() if index >= tokenizer.vocabulary_size}
    if added:
        # Named as M2M-100 does: mBART's own es_XX may be another language's slot, and then es needs another name.
        config["added_tokens_decoder"] = {
            str(index): {"content": f"__{added[index]}__", "special": True} for index in sorted(added)
        }
    return config


def _generation_config(shape: DecoderConfig, targets: Mapping[str, int]) -> dict[str, Any]:
    return {
        "bos_token_id": BOS_ID,
        "decoder_start_token_id": EOS_ID,
        "early_stopping": True,
        "eos_token_id": EOS_ID,
        "forced_bos_token_id": next(iter(targets.values()), None),
        "forced_eos_token_id": EOS_ID,
        "max_length": min(200, shape.max_positions),
        "num_beams": 5,
        "pad_token_id": PAD_ID,
    }


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
