"""Convert names of weights and fields of configs between transformers' SpeechEncoderDecoderModel and our model."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import AutoConfig, SpeechEncoderDecoderConfig

from voxlate.checkpoints.config_json import ADAPTER, SEAMLESS_PARTS
from voxlate.errors import VoxlateError
from voxlate.json_files import shown
from voxlate.models import ADAPTERS
from voxlate.models.adapter import AdapterConfig
from voxlate.models.conformer_adapter import ConformerAdapterConfig
from voxlate.models.decoder import DecoderConfig
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.registry import resolve

_PREFIXES = (  # transformers' prefix, ours; the first match applies, in both directions
    ("encoder.adapter.", "adapter."),
    ("encoder.", "encoder.model."),
    ("decoder.lm_head.", "decoder.lm_head."),
    ("decoder.model.decoder.", "decoder."),
    ("enc_to_dec_proj.", "enc_to_dec_proj."),
)
_OUTPUTS = (  # output and input embeddings of a SpeechEncoderDecoderModel, and of SeamlessM4T
    ("decoder.lm_head.weight", "decoder.model.decoder.embed_tokens.weight"),
    ("lm_head.weight", "shared.weight"),
    ("lm_head.weight", "text_decoder.embed_tokens.weight"),
)
_OLD_WEIGHT_NORM = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_Module = TypeVar("_Module", bound=nn.Module)


def from_transformers(tensors: Mapping[str, Tensor], *, tied: bool, where: str = "the weights") -> dict[str, Tensor]:
    """Return the tensors under our names. Of tied embeddings, either or both may be present; one is kept."""
    renamed = {_our_name(name): tensor for name, tensor in modern_names(tensors).items()}
    head, embedding = renamed.get("decoder.lm_head.weight"), renamed.get("decoder.embed_tokens.weight")
    if tied and head is not None:
        if embedding is not None and not identical(head, embedding):
            raise VoxlateError(f"{where}: decoder.lm_head and decoder.embed_tokens differ, but the config ties them")
        renamed["decoder.embed_tokens.weight"] = renamed.pop("decoder.lm_head.weight")
    return renamed


def has_untied_output(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether output embeddings differ from the input embeddings, as after merging an adapter of either."""
    return any(
        head in tensors and embedding in tensors and not identical(tensors[head], tensors[embedding])
        for head, embedding in _OUTPUTS
    )


def identical(first: Tensor, second: Tensor) -> bool:
    """Return whether two tensors have the same type, shape and values."""
    return first.dtype == second.dtype and torch.equal(first, second)


def to_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of our model under transformers' names."""
    return {
        next(theirs + name.removeprefix(ours) for theirs, ours in _PREFIXES if name.startswith(ours)): tensor
        for name, tensor in tensors.items()
    }


def build(
    make: Callable[[], _Module], folder: Path, tensors: Mapping[str, Tensor], layers: Mapping[str, int]
) -> _Module:
    """Build a module from a folder's `config.json` on the meta device, without memory for weights.

    `layers` has the numbers of layers in the config by name. VoxlateError if one exceeds the number of tensors: a
    network from a damaged config could take forever to build.
    """
    for name, count in layers.items():
        if count > len(tensors):
            raise VoxlateError(
                f"{folder / 'config.json'}: {name} is {count}, but the weights hold {len(tensors)} tensors in all; "
                "expected the config of these weights"
            )
    try:
        with torch.device("meta"):
            return make()
    except VoxlateError:
        raise
    except Exception as error:  # networks raise various exceptions for invalid configs
        raise VoxlateError(f"{folder / 'config.json'}: does not describe a valid network ({shown(error)})") from None


def linear(tensors: Mapping[str, Tensor], name: str, width: int, dtype: torch.dtype, path: Path) -> nn.Linear:
    """Return the linear layer `name`, with inputs of `width`. VoxlateError if its tensors are missing or do not fit."""
    weight, bias = tensors.get(f"{name}.weight"), tensors.get(f"{name}.bias")
    if weight is None or bias is None:
        raise VoxlateError(f"{path}: has no {name}.weight and {name}.bias; expected a linear layer")
    if weight.dim() != 2 or not len(weight) or weight.shape[1] != width or bias.shape != weight.shape[:1]:
        raise VoxlateError(
            f"{path}: {name} has a weight of {tuple(weight.shape)} and a bias of {tuple(bias.shape)}; expected "
            f"(labels, {width}) and (labels,)"
        )
    with torch.device("meta"):
        layer = nn.Linear(width, len(weight))
    load_strictly(layer, {"weight": weight, "bias": bias}, dtype, f"{path}: {name}")
    return layer


def load_strictly(module: nn.Module, tensors: Mapping[str, Tensor], dtype: torch.dtype, where: str) -> None:
    """Load tensors into a module built on the meta device. VoxlateError if a name, shape or dtype does not fit."""
    expected = module.state_dict()
    tensors = dict(tensors)
    for name in [name for name in tensors.keys() - expected.keys() if name.endswith("masked_spec_embed")]:
        del tensors[name]  # pretrained encoders have it even if their config disables masking
    for name in [name for name in expected.keys() - tensors.keys() if name.endswith("masked_spec_embed")]:
        tensors[name] = torch.zeros(expected[name].shape)  # the model was trained without masking
    shapes = [
        f"{name} is {tuple(tensors[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    kinds = [
        f"{name} is {str(tensors[name].dtype).removeprefix('torch.')}, expected float32, float16 or bfloat16"
        for name, tensor in expected.items()
        if name in tensors and tensor.is_floating_point() and tensors[name].dtype not in _FLOATS
    ]
    problems = {
        "missing": sorted(expected.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - expected.keys()),
        "with the wrong shape": shapes,
        "with the wrong dtype": kinds,
    }
    if any(problems.values()):
        listed = "; ".join(
            f"{len(names)} {kind}: {', '.join(_printable(name) for name in names[:5])}{', …' if len(names) > 5 else ''}"
            for kind, names in problems.items()
            if names
        )
        raise VoxlateError(f"{where}: the weights do not fit the config; {listed}")
    module.load_state_dict({name: tensor.to(dtype) for name, tensor in tensors.items()}, assign=True)


def _printable(name: str) -> str:
    """Return a tensor name, which may be damaged, in printable form and at most 160 characters."""
    printable = name if name.isprintable() else ascii(name)
    return printable if len(printable) <= 160 else f"{printable[:159]}…"


def modern_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of weight norm as in current versions of torch."""
    renamed = {}
    for name, tensor in tensors.items():
        stem, _, suffix = name.rpartition(".")
        renamed[f"{stem}.{_OLD_WEIGHT_NORM[suffix]}" if suffix in _OLD_WEIGHT_NORM else name] = tensor
    return renamed


def _our_name(name: str) -> str:
    for theirs, ours in _PREFIXES:
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return f"[{name}]"  # unknown: reported as unexpected


def transformers_config(model: SpeechTranslator) -> SpeechEncoderDecoderConfig:
    """Return the config from which transformers builds the same network, if it can (see `transformers_lacks`)."""
    adapter, shape = model.adapter.config, model.decoder.config
    encoder = {name: value for name, value in model.encoder.config.to_dict().items() if name != ADAPTER}
    if not _has_standard_adapter(model):
        encoder |= {ADAPTER: {**asdict(adapter), "kind": model.adapter.KIND}}
    elif model.encoder.ADAPTER_KIND is not None:
        encoder |= {
            "add_adapter": adapter.layers > 0,
            "num_adapter_layers": adapter.layers or 3,
            "adapter_kernel_size": adapter.kernel,
            "adapter_stride": adapter.stride,
            "output_hidden_size": adapter.output_dim,
        }
    if isinstance(adapter, ConformerAdapterConfig):
        encoder["adapter_act"] = adapter.activation
    decoder = AutoConfig.for_model(model.decoder.MODEL_TYPE, **decoder_fields(shape)).to_dict()
    decoder |= {"is_decoder": True, "is_encoder_decoder": False, "add_cross_attention": True}
    config = SpeechEncoderDecoderConfig(encoder=encoder, decoder=decoder)
    config.architectures = ["SpeechEncoderDecoderModel"]
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = shape.eos_id, shape.pad_id, shape.eos_id
    config.tie_word_embeddings = False
    config.dtype = str(model.dtype).removeprefix("torch.")
    return config


def decoder_fields(shape: DecoderConfig) -> dict[str, Any]:
    """Return the fields of transformers' config of a text decoder."""
    return {
        "vocab_size": shape.vocabulary_size,
        "d_model": shape.width,
        "decoder_layers": shape.layers,
        "decoder_attention_heads": shape.heads,
        "decoder_ffn_dim": shape.ffn_width,
        "activation_function": shape.activation,
        "max_position_embeddings": shape.max_positions,
        "scale_embedding": shape.scale_embedding,
        "tie_word_embeddings": shape.tie_embeddings,
        "dropout": shape.dropout,
        "attention_dropout": shape.attention_dropout,
        "activation_dropout": shape.activation_dropout,
        "decoder_layerdrop": shape.layerdrop,
        "pad_token_id": shape.pad_id,
        "eos_token_id": shape.eos_id,
    }


def transformers_lacks(model: SpeechTranslator) -> str | None:
    """Return the part of a model that transformers' SpeechEncoderDecoderModel does not have; None if it has all."""
    kind = model.encoder.config.model_type
    if model.decoder.MODEL_TYPE != "mbart":
        return f"{model.decoder.MODEL_TYPE} decoder for a SpeechEncoderDecoderModel"
    if getattr(model.encoder.config, SEAMLESS_PARTS, None) is not None:
        return "encoder of SeamlessM4T for a SpeechEncoderDecoderModel"
    return None if _has_standard_adapter(model) else f"such adapter for a {kind} encoder"


def _has_standard_adapter(model: SpeechTranslator) -> bool:
    """Return whether the encoder's config describes the adapter, if there is any."""
    adapter, kind, encoder = model.adapter.config, model.encoder.ADAPTER_KIND, model.encoder.config
    if adapter.layers == 0:
        return True
    if not isinstance(adapter, ConformerAdapterConfig):
        return kind == model.adapter.KIND
    shape = adapter.heads, adapter.ffn_width, adapter.norm_eps
    same = shape == (encoder.num_attention_heads, encoder.intermediate_size, encoder.layer_norm_eps)
    return kind == model.adapter.KIND and same and not adapter.final_norm


def adapter_class(config: AdapterConfig) -> Any:
    """Return the class of adapters with such a config."""
    return resolve(ADAPTERS, "conformer" if isinstance(config, ConformerAdapterConfig) else "strided", "adapter")


def adapter_config(encoder: Any) -> AdapterConfig:
    """Return the adapter described by an encoder's config, with no layers if it describes none."""
    own_fields = getattr(encoder, ADAPTER, None)
    if own_fields:
        names = {"input_dim", "output_dim", "layers", "kernel", "stride"}
        kind = own_fields.get("kind", "strided")
        fields = {name: value for name, value in own_fields.items() if name != "kind"}
        return (
            ConformerAdapterConfig(**fields)
            if kind == "conformer"
            else AdapterConfig(**{name: fields[name] for name in names})
        )
    if not getattr(encoder, "add_adapter", False):
        return AdapterConfig(encoder.hidden_size, encoder.hidden_size, layers=0)
    sizes = encoder.hidden_size, encoder.output_hidden_size or encoder.hidden_size, encoder.num_adapter_layers
    strides = encoder.adapter_kernel_size, encoder.adapter_stride
    if encoder.model_type == "wav2vec2-bert":
        return replace(conformer_of(encoder, *sizes, *strides), activation=encoder.adapter_act)
    return AdapterConfig(*sizes, *strides)


def conformer_of(
    encoder: Any, input_dim: int, output_dim: int, layers: int, kernel: int, stride: int
) -> ConformerAdapterConfig:
    """Return the config of a conformer adapter with heads, width and dropout of a w2v-BERT 2.0 encoder's config."""
    return ConformerAdapterConfig(
        input_dim,
        output_dim,
        layers,
        kernel,
        stride,
        heads=encoder.num_attention_heads,
        ffn_width=encoder.intermediate_size,
        norm_eps=encoder.layer_norm_eps,
        dropout=getattr(encoder, "conformer_conv_dropout", encoder.hidden_dropout),
        attention_dropout=encoder.attention_dropout,
        activation_dropout=encoder.activation_dropout,
        ffn_dropout=encoder.hidden_dropout,
    )


def decoder_config(config: Any) -> DecoderConfig:
    """Return the hyperparameters in transformers' config of a decoder. VoxlateError for unsupported activations."""
    if config.activation_function not in ("gelu", "relu"):
        raise VoxlateError(f"decoder activation {config.activation_function!r} is not supported; expected gelu or relu")
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
        pad_id=config.pad_token_id,
        eos_id=config.eos_token_id,
    )
