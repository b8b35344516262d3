"""From settings to what the loop needs: corpora, the model, its losses, what is printed before training."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from voxlate.checkpoints.ctc_files import copy_ctc_rows
from voxlate.checkpoints.hub import find_model
from voxlate.checkpoints.model_folder import Checkpoint, listed_directions, load_checkpoint
from voxlate.checkpoints.new_language import add_language
from voxlate.checkpoints.scratch import random_model
from voxlate.checkpoints.warm_start import start_model
from voxlate.config.schema import RegularizationConfig, TrainConfig
from voxlate.data.augmentation import Augmentation
from voxlate.data.batch_sampler import BatchSampler, Cost, Joins
from voxlate.data.batching import ctc_text
from voxlate.data.corpus import Corpus, Limits, Sampling, make_sampling, read_corpus, read_teacher
from voxlate.errors import VoxlateError
from voxlate.languages import find_language
from voxlate.models.ctc_head import CtcHead
from voxlate.tokenizer import UNK_ID, Tokenizer
from voxlate.training.objective import Objective

_ENCODER_FIELDS = {  # our setting: the field of transformers' config
    "encoder_dropout": "hidden_dropout",
    "encoder_attention_dropout": "attention_dropout",
    "encoder_activation_dropout": "activation_dropout",
    "encoder_layerdrop": "layerdrop",
    "time_masking": "mask_time_prob",
    "time_mask_frames": "mask_time_length",
    "channel_masking": "mask_feature_prob",
    "channel_mask_width": "mask_feature_length",
}
_DECODER_FIELDS = {
    "decoder_dropout": "dropout",
    "decoder_attention_dropout": "attention_dropout",
    "decoder_activation_dropout": "activation_dropout",
    "decoder_layerdrop": "decoder_layerdrop",
}


@dataclass(frozen=True)
class Data:
    """What a run trains and validates on."""

    train: Corpus
    dev: Corpus | None
    sampling: Sampling
    plan: BatchSampler


def read_data(config: TrainConfig) -> Data:
    """Read all manifests and plan the batches. VoxlateError names every problem of every manifest."""
    settings = config.data
    limits = Limits(settings.min_seconds, settings.max_seconds, settings.max_target_characters)
    problems: list[str] = []
    train = dev = None
    try:
        teacher = read_teacher(settings.teacher)
        paths = [*settings.train, *settings.replay]
        train = read_corpus(paths, directions=settings.directions, limits=limits, teacher=teacher)
        if teacher and not any(name in teacher for manifest in train.manifests for name in manifest.column("id")):
            problems.append(f"data.teacher: has none of the ids of data.train, such as {next(iter(teacher))!r}")
    except VoxlateError as error:
        problems.append(str(error))
    if settings.dev:
        try:
            dev = read_corpus(settings.dev, directions=settings.directions, limits=None)
        except VoxlateError as error:
            problems.append(str(error))
    if problems or train is None:
        raise VoxlateError("\n".join(dict.fromkeys(problems)))  # both may name a file that is not there
    sampling = make_sampling(
        train,
        temperature=settings.temperature,
        by_hours=settings.sample_by == "hours",
        first_replayed=len(settings.train) if settings.replay else None,
        replay_share=settings.replay_share,
    )
    cost = Cost(settings.quadratic_seconds, settings.token_seconds)
    plan = BatchSampler(
        train.seconds_N,
        train.tokens_N,
        sampling.group_N,
        sampling.shares_G,
        cost,
        settings.batch_seconds,
        settings.buckets,
        config.seed,
    )
    return Data(train, dev, sampling, plan)


def build_model(config: TrainConfig, data: Data) -> Checkpoint:
    """Return the model to train, in float32 on the CPU, with a slot for every target language of the data."""
    settings = config.model
    for name in ("init_from", "encoder", "decoder"):
        if (model := getattr(settings, name)) is not None:
            find_model(model, named=f"as model.{name}")
    fields = _fields(config.regularization)
    torch.manual_seed(config.seed)  # for what is new: adapter, scratch weights, CTC head
    if settings.init_from is not None:
        checkpoint = load_checkpoint(settings.init_from, fields=fields)
    elif settings.scratch is not None:
        scratch = settings.scratch
        checkpoint = random_model(
            scratch.vocabulary,
            {**scratch.encoder, **fields["encoder"]},
            {**scratch.decoder, **fields["decoder"]},
            encoder_type=scratch.encoder_type,
            normalize_waveform=scratch.normalize_waveform,
            adapter_layers=settings.adapter_layers,
            adapter_kernel=settings.adapter_kernel,
            adapter_stride=settings.adapter_stride,
        )
    else:
        assert settings.encoder is not None
        assert settings.decoder is not None
        checkpoint = start_model(
            settings.encoder,
            settings.decoder,
            adapter_layers=settings.adapter_layers,
            adapter_kernel=settings.adapter_kernel,
            adapter_stride=settings.adapter_stride,
            fields=fields,
        )
    for code, new in settings.add_languages.items():
        checkpoint = add_language(checkpoint, code, init_from=new.init_from, token=new.slot)
    wanted = {*data.train.target_languages(), *(data.dev.target_languages() if data.dev else [])}
    targets = _with_slots(checkpoint, settings.slots, wanted)
    if settings.init_from is None:  # mBART-50 has 52 tags, but the model will know what it is taught
        taught = wanted | {find_language(code).code for code in settings.add_languages}
        targets = {code: token for code, token in targets.items() if code in taught}
    _check_targets(checkpoint.name, targets, wanted)
    return replace(checkpoint, targets=targets, directions=data.train.directions)


def forgets(config: TrainConfig, checkpoint: Checkpoint, data: Data) -> str | None:
    """Return a warning of what the model that is fine-tuned will forget; None if all is trained or replayed."""
    if config.model.init_from is None:
        return None
    trained = {*data.train.directions}
    known = {*listed_directions(checkpoint.folder)}
    lost = ", ".join(sorted(known - trained)) if known else "any other direction that it knows"
    if not lost or (config.data.replay and not known):
        return None
    return (
        f"training {config.model.init_from} on {', '.join(sorted(trained))} alone will make it forget {lost}; add "
        "data of what it should keep to data.replay"
    )


def build_objective(config: TrainConfig, checkpoint: Checkpoint, data: Data) -> tuple[Objective, dict[str, int]]:
    """Return model and losses as one module, and the characters of the CTC head (none without one)."""
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


def build_augmentation(config: TrainConfig) -> Augmentation | None:
    """Return what changes the sound, if anything does."""
    own = config.augmentation
    if not own.is_on:
        return None
    return Augmentation(tuple(own.speeds), own.noise_share, own.noise_snr, config.seed, config.data.max_seconds)


def build_plan(config: TrainConfig, data: Data, max_tokens: int) -> BatchSampler:
    """Return the plan of batches with what augmentation joins and slows down; a text has at most `max_tokens`."""
    own = config.augmentation
    joins = Joins(own.join_share, config.data.max_seconds, max_tokens) if own.join_share else None
    return replace(data.plan, joins=joins, slowest=1 / min([1.0, *own.speeds]))


def ctc_characters(corpus: Corpus) -> dict[str, int]:
    """Return the characters of the source texts with their labels, from 1. VoxlateError if there are no texts."""
    found: set[str] = set().union(*map(ctc_text, corpus.texts("source_text")))
    if not found:
        raise VoxlateError(
            "loss.ctc_weight is above 0, but no utterance has a source_text; add transcripts or set it to 0"
        )
    return {character: label for label, character in enumerate(sorted(found), start=1)}


def unknown_characters(corpus: Corpus, tokenizer: Tokenizer) -> tuple[str, int]:
    """Return the characters to be learnt that the vocabulary lacks, and how many translations have them."""
    texts = [*(corpus.teacher.values() or corpus.texts("target_text"))]
    lacking = {character for character in set().union(*texts) if UNK_ID in tokenizer.encode(character)}
    return "".join(sorted(lacking)), sum(not lacking.isdisjoint(text) for text in texts) if lacking else 0


def parameter_table(objective: nn.Module) -> list[tuple[str, int, int]]:
    """Return part, parameters, and how many of them learn, for each part of the model and for all."""
    rows: dict[str, list[int]] = {}
    for name, parameter in objective.named_parameters():
        part = name.removeprefix("translator.").split(".")[0]
        for key in (part, "all"):
            counts = rows.setdefault(key, [0, 0])
            counts[0] += parameter.numel()
            counts[1] += parameter.numel() * parameter.requires_grad
    rows["all"] = rows.pop("all")
    return [(part, total, learning) for part, (total, learning) in rows.items()]


def memory_estimate(config: TrainConfig, objective: Objective, processes: int) -> dict[str, float]:
    """Estimate the GiB of each process: weights, gradients and moments exactly, activations roughly.

    Activations: of every transformer layer about 34 values of its width per frame, and 44 per token where it also
    attends to the speech (after Korthikanti et al. 2022), in the precision of training; with gradient checkpointing
    its input alone. A batch has `batch_seconds` of sound and three tokens a second.
    """
    parts = parameter_table(objective)[-1]
    share = processes if config.sharded else 1
    bytes_each = 4 if config.precision == "float32" else 2
    encoder, decoder = objective.translator.encoder, objective.translator.decoder
    frames = config.data.batch_seconds * 50
    layers = int(encoder.config.num_hidden_layers)
    per_frame = encoder.output_dim * (1 if config.gradient_checkpointing else 34)
    tokens = config.data.batch_seconds * 3
    per_token = decoder.config.width * (1 if config.gradient_checkpointing else 44)
    activations = (frames * layers * per_frame + tokens * decoder.config.layers * per_token) * bytes_each
    front_end = config.data.batch_seconds * 3200 * 512 * bytes_each * (12 if config.trainable.feature_encoder else 2)
    return {
        "weights": parts[1] * 4 / share / 2**30,
        "gradients": parts[2] * 4 / share / 2**30,
        "moments": parts[2] * 8 / share / 2**30,
        "activations": (activations + front_end) / 2**30,
    }


def _fields(settings: RegularizationConfig) -> dict[str, dict[str, Any]]:
    """Return what the settings change in the configs of encoder and decoder."""
    given = settings.model_dump(exclude_none=True)
    encoder = {field: given[name] for name, field in _ENCODER_FIELDS.items() if name in given}
    if encoder.get("mask_time_prob") or encoder.get("mask_feature_prob"):
        encoder["apply_spec_augment"] = True
    return {
        "encoder": encoder,
        "decoder": {field: given[name] for name, field in _DECODER_FIELDS.items() if name in given},
    }


def _with_slots(checkpoint: Checkpoint, slots: dict[str, str | int], wanted: set[str]) -> dict[str, int]:
    """Return the targets with slots named by the user; a language that one of them displaces is no target any more."""
    named = {
        find_language(code).code: checkpoint.tokenizer.tag_id(slot) if isinstance(slot, str) else slot
        for code, slot in slots.items()
    }
    ids = checkpoint.model.decoder.config.vocabulary_size
    wrong = [f"{code}: {token}" for code, token in named.items() if not 0 <= token < ids]
    if wrong:
        raise VoxlateError(
            f"model.slots: {', '.join(wrong)}; expected token ids from 0 to {ids - 1}, or tags like es_XX"
        )
    kept = {
        code: token
        for code, token in checkpoint.targets.items()
        if code not in named and (token not in named.values() or code in wanted)
    }
    return kept | named


def _check_targets(name: str, targets: dict[str, int], wanted: set[str]) -> None:
    missing = sorted(wanted - targets.keys())
    if missing:
        raise VoxlateError(
            f"{name} has no token for {', '.join(missing)}; give it a new one with --add-language {missing[0]} "
            f"--init-from LANGUAGE, or name one to use with model.slots={{{missing[0]}: es_XX}}"
        )
    taken: dict[int, str] = {}
    for code, token in targets.items():
        if token in taken:
            raise VoxlateError(f"{code} and {taken[token]} share the token {token}; give one of them another slot")
        taken[token] = code
