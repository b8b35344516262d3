"""Between transformers' SpeechEncoderDecoderModel and our model: names of tensors, fields of configs."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from transformers import MBartConfig, SpeechEncoderDecoderConfig

from voxlate.errors import VoxlateError
from voxlate.models.adapter import AdapterConfig
from voxlate.models.decoder import DecoderConfig
from voxlate.models.translator import SpeechTranslator
from voxlate.text import BOS_ID, EOS_ID, PAD_ID

_PREFIXES = (  # transformers' prefix, ours; in both directions the first that fits is taken
    ("encoder.adapter.", "adapter."),
    ("encoder.", "encoder.model."),
    ("decoder.lm_head.", "decoder.lm_head."),
    ("decoder.model.decoder.", "decoder."),
    ("enc_to_dec_proj.", "bridge."),
)
_ADAPTER = "voxlate_adapter"  # field of an encoder's config, where transformers has none for ours
_OLD_WEIGHT_NORM = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}


def from_transformers(tensors: Mapping[str, Tensor], *, tied: bool) -> dict[str, Tensor]:
    """Return the tensors under our names; of tied embeddings either one may be there, and only one is kept."""
    renamed = {_our_name(name): tensor for name, tensor in modern_names(tensors).items()}
    head, embedding = renamed.get("decoder.lm_head.weight"), renamed.get("decoder.embed_tokens.weight")
    if tied and head is not None:
        if embedding is not None and not torch.equal(head, embedding):
            raise VoxlateError(
                "decoder.lm_head and decoder.embed_tokens differ, but the config says that they are tied"
            )
        renamed["decoder.embed_tokens.weight"] = renamed.pop("decoder.lm_head.weight")
    return renamed


def to_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of our model under transformers' names."""
    return {
        next(theirs + name.removeprefix(ours) for theirs, ours in _PREFIXES if name.startswith(ours)): tensor
        for name, tensor in tensors.items()
    }


def fill(module: nn.Module, tensors: Mapping[str, Tensor], dtype: torch.dtype, where: str) -> None:
    """Put tensors into a module built on the meta device. VoxlateError for any name or shape that does not fit."""
    wanted = module.state_dict()
    tensors = dict(tensors)
    for name in [name for name in tensors.keys() - wanted.keys() if name.endswith("masked_spec_embed")]:
        del tensors[name]  # every pretrained encoder has it, though it is unused where the config turns masking off
    shapes = [
        f"{name} is {tuple(tensors[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    problems = {
        "missing": sorted(wanted.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - wanted.keys()),
        "of another shape": shapes,
    }
    if any(problems.values()):
        listed = "; ".join(
            f"{len(names)} {kind}: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"
            for kind, names in problems.items()
            if names
        )
        raise VoxlateError(f"{where}: the weights do not fit the config; {listed}")
    module.load_state_dict({name: tensor.to(dtype) for name, tensor in tensors.items()}, assign=True)


def modern_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with weight norm under the names that torch gives it today."""
    renamed = {}
    for name, tensor in tensors.items():
        stem, _, suffix = name.rpartition(".")
        renamed[f"{stem}.{_OLD_WEIGHT_NORM[suffix]}" if suffix in _OLD_WEIGHT_NORM else name] = tensor
    return renamed


def _our_name(name: str) -> str:
    for theirs, ours in _PREFIXES:
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return f"[{name}]"  # no place of ours: reported as unexpected


def transformers_config(model: SpeechTranslator) -> SpeechEncoderDecoderConfig:
    """Return the config under which transformers builds the same network."""
    adapter, shape = model.adapter.config, model.decoder.config
    encoder = {name: value for name, value in model.encoder.config.to_dict().items() if name != _ADAPTER}
    if not is_transformers_own(model):
        encoder |= {_ADAPTER: asdict(adapter)}
    elif model.encoder.HAS_ADAPTER:
        encoder |= {
            "add_adapter": adapter.layers > 0,
            "num_adapter_layers": adapter.layers or 3,
            "adapter_kernel_size": adapter.kernel,
            "adapter_stride": adapter.stride,
            "output_hidden_size": adapter.output_dim,
        }
    decoder = MBartConfig(
        vocab_size=shape.vocabulary_size,
        d_model=shape.width,
        decoder_layers=shape.layers,
        decoder_attention_heads=shape.heads,
        decoder_ffn_dim=shape.ffn_width,
        activation_function=shape.activation,
        max_position_embeddings=shape.max_positions,
        scale_embedding=shape.scale_embedding,
        tie_word_embeddings=shape.tie_embeddings,
        dropout=shape.dropout,
        attention_dropout=shape.attention_dropout,
        activation_dropout=shape.activation_dropout,
        decoder_layerdrop=shape.layerdrop,
        is_decoder=True,
        is_encoder_decoder=False,
    )
    config = SpeechEncoderDecoderConfig(encoder=encoder, decoder=decoder.to_dict() | {"add_cross_attention": True})
    config.architectures = ["SpeechEncoderDecoderModel"]
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = EOS_ID, PAD_ID, EOS_ID
    config.bos_token_id, config.tie_word_embeddings = BOS_ID, False
    config.dtype = str(model.dtype).removeprefix("torch.")
    return config


def is_transformers_own(model: SpeechTranslator) -> bool:
    """Return whether plain transformers can hold the model: it has adapters like ours for some encoders only."""
    return model.encoder.HAS_ADAPTER or model.adapter.config.layers == 0


def adapter_config(encoder: Any) -> AdapterConfig:
    """Return the adapter that an encoder's config asks for, one without layers where it has none."""
    ours = getattr(encoder, _ADAPTER, None)
    if ours:
        return AdapterConfig(**ours)
    if not getattr(encoder, "add_adapter", False):
        return AdapterConfig(encoder.hidden_size, encoder.hidden_size, layers=0)
    return AdapterConfig(
        encoder.hidden_size,
        encoder.output_hidden_size,
        encoder.num_adapter_layers,
        encoder.adapter_kernel_size,
        encoder.adapter_stride,
    )


def decoder_config(config: Any) -> DecoderConfig:
    """Return the shape of the decoder that a transformers MBartConfig describes."""
    if config.activation_function not in ("gelu", "relu"):
        raise VoxlateError(f"decoder activation {config.activation_function!r} is not known; expected gelu or relu")
    return DecoderConfig(
        vocabulary_size=config.vocab_size,
        width=config.d_model,
        layers=config.decoder_layers,
        heads=config.decoder_attention_heads,
        ffn_width=config.decoder_ffn_dim,
        activation=config.activation_function,
        max_positions=config.max_position_embeddings,
        scale_embedding=config.scale_embedding,
        tie_embeddings=config.tie_word_embeddings,
        dropout=config.dropout,
        attention_dropout=config.attention_dropout,
        activation_dropout=config.activation_dropout,
        layerdrop=config.decoder_layerdrop,
    )
