"""Build the data, model and objective of a training run from its settings."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from voxlate.checkpoints.ctc_files import copy_ctc_rows
from voxlate.checkpoints.hub import find_encoder, find_model
from voxlate.checkpoints.model_folder import Checkpoint, load_checkpoint
from voxlate.checkpoints.new_adapter import AdapterSettings
from voxlate.checkpoints.new_language import add_language
from voxlate.checkpoints.scratch import random_model
from voxlate.checkpoints.warm_start import start_model
from voxlate.config.schema import TrainConfig
from voxlate.config.sections import RegularizationConfig
from voxlate.data.augmentation import Augmentation
from voxlate.data.batch_sampler import BatchSampler, ClipJoining, UtteranceCost
from voxlate.data.batching import BatchMaker, ctc_text
from voxlate.data.corpus import Corpus, LengthLimits, Sampling, make_sampling, read_corpus, read_teacher
from voxlate.errors import VoxlateError
from voxlate.languages import find_language
from voxlate.models.ctc_head import CtcHead
from voxlate.training.corpus_statistics import measure_statistics
from voxlate.training.objective import Objective

_ENCODER_FIELDS = {  # setting: field of transformers' config
    "encoder_dropout": "hidden_dropout",
    "encoder_attention_dropout": "attention_dropout",
    "encoder_activation_dropout": "activation_dropout",
    "encoder_layerdrop": "layerdrop",
    "mask_time_prob": "mask_time_prob",
    "mask_time_length": "mask_time_length",
    "mask_feature_prob": "mask_feature_prob",
    "mask_feature_length": "mask_feature_length",
}
_DECODER_FIELDS = {
    "decoder_dropout": "dropout",
    "decoder_attention_dropout": "attention_dropout",
    "decoder_activation_dropout": "activation_dropout",
    "decoder_layerdrop": "decoder_layerdrop",
}


@dataclass(frozen=True)
class TrainingData:
    """Training and validation data of a run."""

    train: Corpus
    dev: Corpus | None
    sampling: Sampling
    batch_sampler: BatchSampler


def read_data(config: TrainConfig) -> TrainingData:
    """Read all manifests. VoxlateError lists every problem of every manifest."""
    settings = config.data
    limits = LengthLimits(settings.min_seconds, settings.max_seconds, settings.max_target_characters)
    problems: list[str] = []
    train = dev = None
    try:
        teacher = read_teacher(settings.teacher)
        paths = [*settings.train, *settings.replay]
        train = read_corpus(paths, directions=settings.directions, limits=limits, teacher=teacher)
        if teacher and not any(name in teacher for manifest in train.manifests for name in manifest.column("id")):
            problems.append(f"data.teacher: none of its ids, such as {next(iter(teacher))!r}, occurs in data.train")
    except VoxlateError as error:
        problems.append(str(error))
    if settings.dev:
        try:
            dev = read_corpus(settings.dev, directions=settings.directions, limits=None)
        except VoxlateError as error:
            problems.append(str(error))
    if problems or train is None:
        raise VoxlateError("\n".join(dict.fromkeys(problems)))  # train and dev may report the same missing file
    sampling = make_sampling(
        train,
        temperature=settings.sampling_temperature,
        by_hours=settings.sample_by == "hours",
        first_replayed=len(settings.train) if settings.replay else None,
        replay_share=settings.replay_share,
    )
    batch_sampler = BatchSampler(
        train.seconds_N,
        train.tokens_N,
        sampling.group_N,
        sampling.shares_G,
        UtteranceCost(settings.quadratic_seconds, settings.token_seconds),
        settings.known_batch_seconds,
        settings.buckets,
        config.seed,
    )
    return TrainingData(train, dev, sampling, batch_sampler)


def build_model(config: TrainConfig, data: TrainingData) -> Checkpoint:
    """Return the model to train, in float32 on the CPU, with a token for every target language of the data.

    VoxlateError if a model cannot be loaded, or a language has no token.
    """
    settings = config.model
    for name in ("init_from", "encoder", "decoder"):
        if (model := getattr(settings, name)) is not None:
            find = find_encoder if name == "encoder" else find_model
            find(model, named=f"as model.{name}")
    fields = _config_fields(config.regularization)
    torch.manual_seed(config.seed)  # for new weights: the adapter, or a model from scratch
    adapter = AdapterSettings(
        settings.adapter, settings.num_adapter_layers, settings.adapter_kernel_size, settings.adapter_stride
    )
    if settings.init_from is not None:
        checkpoint = load_checkpoint(settings.init_from, fields=fields)
    elif settings.scratch is not None:
        scratch = settings.scratch
        checkpoint = random_model(
            scratch.vocabulary,
            {**scratch.encoder, **fields["encoder"]},
            {**scratch.decoder, **fields["decoder"]},
            encoder_type=scratch.encoder_type,
            decoder_type=scratch.decoder_type,
            normalize_waveform=scratch.normalize_waveform,
            adapter=adapter,
        )
    else:
        assert settings.encoder is not None
        assert settings.decoder is not None
        checkpoint = start_model(
            settings.encoder,
            settings.decoder,
            adapter=adapter,
            fields=fields,
        )
    for code, new in settings.add_languages.items():
        checkpoint = add_language(checkpoint, code, init_from=new.init_from, token=new.token)
    required = {*data.train.target_languages(), *(data.dev.target_languages() if data.dev else [])}
    targets = _assign_tokens(checkpoint, settings.language_tokens, required)
    if (
        settings.init_from is None
    ):  # mBART-50 has 52 tags and NLLB 202, but the model can translate only into languages it is trained on
        trained = required | {find_language(code).code for code in settings.add_languages}
        targets = {code: token for code, token in targets.items() if code in trained}
    _check_targets(checkpoint.name, targets, required)
    return replace(
        checkpoint,
        targets=targets,
        directions=data.train.directions,
        statistics=measure_statistics(data.train, checkpoint.tokenizer),
    )


def build_objective(
    config: TrainConfig, checkpoint: Checkpoint, data: TrainingData
) -> tuple[Objective, dict[str, int]]:
    """Return model and losses as one module, and the CTC label of each character (empty without CTC).

    VoxlateError if CTC is enabled, but no utterance has a transcript.
    """
    characters: dict[str, int] = {}
    ctc = None
    if config.loss.ctc_weight > 0:
        characters = ctc_characters(data.train)
        torch.manual_seed(config.seed)
        ctc = CtcHead(checkpoint.model.encoder.output_dim, len(characters) + 1)
        copy_ctc_rows(ctc, characters, checkpoint.folder)
    if config.gradient_checkpointing:
        checkpoint.model.checkpoint_gradients()
    return Objective(checkpoint.model, ctc, config.loss.label_smoothing).train(), characters


def build_batch_makers(
    config: TrainConfig, data: TrainingData, checkpoint: Checkpoint, characters: Mapping[str, int]
) -> tuple[BatchMaker, BatchMaker | None]:
    """Return the makers of training batches, with augmentation, and of dev batches if there is dev data."""
    normalize = checkpoint.model.encoder.normalize_waveform
    train = BatchMaker(
        data.train,
        checkpoint.tokenizer,
        checkpoint.targets,
        normalize,
        characters,
        _build_augmentation(config),
        max_tokens=checkpoint.model.decoder.config.max_positions,
    )
    dev = BatchMaker(data.dev, checkpoint.tokenizer, checkpoint.targets, normalize) if data.dev else None
    return train, dev


def build_batch_sampler(config: TrainConfig, data: TrainingData, max_tokens: int) -> BatchSampler:
    """Return the batch sampler with augmentation: joined clips of up to `max_tokens` target tokens, slower speech."""
    settings = config.augmentation
    joining = ClipJoining(settings.join_share, config.data.max_seconds, max_tokens) if settings.join_share else None
    return replace(data.batch_sampler, joining=joining, max_stretch=1 / min([1.0, *settings.speeds]))


def ctc_characters(corpus: Corpus) -> dict[str, int]:
    """Return the CTC label, from 1, of each character of the source texts. VoxlateError if there are no texts."""
    characters: set[str] = set().union(*map(ctc_text, corpus.texts("source_text")))
    if not characters:
        raise VoxlateError(
            "loss.ctc_weight is above 0, but no utterance has a source_text; add transcripts or set it to 0"
        )
    return {character: label for label, character in enumerate(sorted(characters), start=1)}


def _build_augmentation(config: TrainConfig) -> Augmentation | None:
    """Return the augmentation of waveforms, or None if it is off."""
    settings = config.augmentation
    if not settings.is_on:
        return None
    return Augmentation(
        tuple(settings.speeds), settings.noise_share, settings.noise_snr, config.seed, config.data.max_seconds
    )


def _config_fields(settings: RegularizationConfig) -> dict[str, dict[str, Any]]:
    """Return the fields of transformers' configs of encoder and decoder that the settings change."""
    encoder: dict[str, Any] = {}
    decoder: dict[str, Any] = {}
    for name, value in settings.model_dump(exclude_none=True).items():
        if name in _ENCODER_FIELDS:
            encoder[_ENCODER_FIELDS[name]] = value
        else:
            decoder[_DECODER_FIELDS[name]] = value
    if encoder.get("mask_time_prob") or encoder.get("mask_feature_prob"):
        encoder["apply_spec_augment"] = True
    return {"encoder": encoder, "decoder": decoder}


def _assign_tokens(checkpoint: Checkpoint, tokens: dict[str, str | int], required: set[str]) -> dict[str, int]:
    """Return the token of each target language: those of the checkpoint, overridden by tags or ids of the settings.

    A language whose token is reassigned is no longer a target, unless it is required. VoxlateError if an id is invalid.
    """
    assigned = {
        find_language(code).code: checkpoint.tokenizer.tag_id(token) if isinstance(token, str) else token
        for code, token in tokens.items()
    }
    size = checkpoint.model.decoder.config.vocabulary_size
    invalid = [f"{code}: {token}" for code, token in assigned.items() if not 0 <= token < size]
    if invalid:
        raise VoxlateError(
            f"model.language_tokens: {', '.join(invalid)}; expected token ids from 0 to {size - 1}, or tags like es_XX"
        )
    unchanged = {
        code: token
        for code, token in checkpoint.targets.items()
        if code not in assigned and (token not in assigned.values() or code in required)
    }
    return unchanged | assigned


def _check_targets(name: str, targets: dict[str, int], required: set[str]) -> None:
    """Raise VoxlateError if a required language has no token, or two languages have the same."""
    missing = sorted(required - targets.keys())
    if missing:
        raise VoxlateError(
            f"{name} has no token for {', '.join(missing)}; add one with --add-language {missing[0]} "
            f"--init-from LANGUAGE, or reuse one with model.language_tokens={{{missing[0]}: es_XX}}"
        )
    languages: dict[int, str] = {}
    for code, token in targets.items():
        if token in languages:
            raise VoxlateError(f"{code} and {languages[token]} share token {token}; give one of them another token")
        languages[token] = code
