"""Schemas of the `config.json` of encoders and decoders, checked before a network is built.

Fields that change the network have types, bounds and relations here. Those of heads, losses and pretraining are
ignored, and so are keys that no config class of transformers has: published configs are full of both. transformers
checks the remaining fields of its encoders.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from transformers import AutoConfig, PreTrainedConfig
from transformers.activations import ACT2FN

from voxlate.errors import VoxlateError
from voxlate.json_files import shown
from voxlate.models import ADAPTERS, DECODERS, ENCODERS

ADAPTER = "voxlate_adapter"  # field of encoder configs whose class in transformers has no fields for our adapter
SEAMLESS_PARTS = "voxlate_seamless"  # field of a w2v-BERT config for what only SeamlessM4T's encoder has
_BASE = {*PreTrainedConfig().to_dict()}  # fields that every config of transformers has; none describes the network
_UNUSED = re.compile(
    r"(tdnn|xvector|ctc|codevector|num_codevectors?|proj_codevector|classifier|contrastive|diversity|rotary)_.*"
    r"|vocab_size|(pad|bos|eos)_token_id|num_(negatives|clusters|ctc_classes|feat_extract_layers)"
    r"|(final|feat_quantizer)_dropout|use_weighted_layer_sum|initializer_range|max_source_positions"
)


def _integer(value: object) -> object:
    """Convert a float such as 16.0 to an integer; return other values unchanged."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _activation(value: str) -> str:
    if value not in ACT2FN:
        raise ValueError("unknown activation; expected one such as gelu or relu")
    return value


_Size = Annotated[int, BeforeValidator(_integer), Field(ge=1, le=1 << 20)]
_Number = Annotated[int, BeforeValidator(_integer), Field(ge=0, le=1 << 20)]
_Layers = Annotated[int, BeforeValidator(_integer), Field(ge=1, le=1000)]
_Vocabulary = Annotated[int, BeforeValidator(_integer), Field(ge=1, le=1 << 24)]
_Sizes = Annotated[list[_Size], Field(min_length=1, max_length=32)]
_Rate = Annotated[float, Field(ge=0.0, le=1.0)]
_Activation = Annotated[str, BeforeValidator(lambda value: _activation(value) if isinstance(value, str) else value)]


class _Fields(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


class _AdapterFields(_Fields):
    model_config = ConfigDict(extra="forbid")

    input_dim: _Size
    output_dim: _Size
    layers: Annotated[int, BeforeValidator(_integer), Field(ge=0, le=1000)]
    kernel: _Size
    stride: _Layers
    kind: str = "strided"
    # Of the conformer adapter.
    heads: _Size = 16
    ffn_width: _Size = 4096
    activation: _Activation = "relu"
    norm_eps: Annotated[float, Field(gt=0.0, le=1.0)] = 1e-5
    final_norm: bool = False
    dropout: _Rate = 0.1
    attention_dropout: _Rate = 0.0
    activation_dropout: _Rate = 0.1
    ffn_dropout: _Rate = 0.1

    @model_validator(mode="after")
    def _check_kind(self) -> "_AdapterFields":
        if self.kind not in ADAPTERS:
            raise ValueError(f"unknown kind of adapter {shown(self.kind)}; known: {', '.join(ADAPTERS)}")
        if self.kind == "conformer":
            _check_divisible("output_dim", self.output_dim, "heads", self.heads)
        return self


class _SeamlessFields(_Fields):
    model_config = ConfigDict(extra="forbid")

    chunk_frames: _Size
    left_chunks: Annotated[int, BeforeValidator(_integer), Field(ge=-1, le=1 << 20)]


class _EncoderFields(_Fields):
    hidden_size: _Size
    num_hidden_layers: _Layers
    num_attention_heads: _Size
    intermediate_size: _Size
    hidden_act: _Activation
    hidden_dropout: _Rate
    activation_dropout: _Rate
    attention_dropout: _Rate
    feat_proj_dropout: _Rate
    layerdrop: _Rate
    layer_norm_eps: Annotated[float, Field(gt=0.0, le=1.0)]
    apply_spec_augment: bool
    mask_time_prob: _Rate
    mask_time_length: _Size
    mask_time_min_masks: _Number
    mask_feature_prob: _Rate
    mask_feature_length: _Size
    mask_feature_min_masks: _Number = 0  # WavLM has none
    # Only some families have these fields.
    feat_extract_norm: Literal["group", "layer"] = "group"
    feat_extract_activation: _Activation = "gelu"
    conv_dim: _Sizes = [1]
    conv_stride: _Sizes = [1]
    conv_kernel: _Sizes = [1]
    conv_bias: bool = False
    num_conv_pos_embeddings: _Size = 1
    num_conv_pos_embedding_groups: _Size = 1
    conv_pos_batch_norm: bool = False
    do_stable_layer_norm: bool = False
    feat_proj_layer_norm: bool = True
    num_buckets: Annotated[int, BeforeValidator(_integer), Field(ge=4, le=1 << 20)] = 320
    max_bucket_distance: _Size = 800
    add_adapter: bool = False
    adapter_kernel_size: _Size = 3
    adapter_stride: _Layers = 2
    num_adapter_layers: _Layers = 3
    output_hidden_size: _Size | None = None
    adapter_attn_dim: _Size | None = None
    adapter_act: _Activation = "relu"
    use_intermediate_ffn_before_adapter: bool = False
    feature_projection_input_dim: _Size = 160
    position_embeddings_type: Literal["relative_key"] | None = None
    left_max_position_embeddings: _Number = 64
    right_max_position_embeddings: _Number = 8
    conv_depthwise_kernel_size: _Size = 31
    conformer_conv_dropout: _Rate = 0.0
    voxlate_adapter: _AdapterFields | None = None
    voxlate_seamless: _SeamlessFields | None = None

    @model_validator(mode="after")
    def _check_sizes(self) -> "_EncoderFields":
        lengths = [len(self.conv_dim), len(self.conv_stride), len(self.conv_kernel)]
        if len({*lengths}) > 1:
            raise ValueError(f"conv_dim, conv_stride and conv_kernel have {lengths} values; expected as many of each")
        if any(stride > kernel for stride, kernel in zip(self.conv_stride, self.conv_kernel, strict=True)):
            raise ValueError("a conv_stride is greater than its conv_kernel: samples would be skipped")
        _check_divisible("hidden_size", self.hidden_size, "num_attention_heads", self.num_attention_heads)
        _check_divisible(
            "hidden_size", self.hidden_size, "num_conv_pos_embedding_groups", self.num_conv_pos_embedding_groups
        )
        if self.max_bucket_distance <= self.num_buckets // 4:
            raise ValueError("max_bucket_distance is not above a quarter of num_buckets")
        if self.voxlate_adapter is not None and self.voxlate_adapter.input_dim != self.hidden_size:
            raise ValueError(f"{ADAPTER}.input_dim is not hidden_size")
        return self


class _DecoderFields(_Fields):
    vocab_size: _Vocabulary
    d_model: _Size
    decoder_layers: _Layers
    decoder_attention_heads: _Size
    decoder_ffn_dim: _Size
    max_position_embeddings: _Size
    activation_function: str
    scale_embedding: bool
    tie_word_embeddings: bool
    dropout: _Rate
    attention_dropout: _Rate
    activation_dropout: _Rate
    decoder_layerdrop: _Rate
    pad_token_id: _Number = 1
    eos_token_id: _Number = 2

    @model_validator(mode="after")
    def _check_sizes(self) -> "_DecoderFields":
        _check_divisible("d_model", self.d_model, "decoder_attention_heads", self.decoder_attention_heads)
        return self


def _check_divisible(name: str, size: int, divisor_name: str, divisor: int) -> None:
    if size % divisor:
        raise ValueError(f"{name} {size} is not a multiple of {divisor_name} {divisor}")


def encoder_config(raw: object, path: Path, changed: Mapping[str, Any], part: str = "") -> Any:
    """Return transformers' config of the speech encoder in a `config.json` (`raw`), or in its part "encoder".

    `changed` overrides fields. VoxlateError names the file, the field, and its actual and expected values.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("model_type"), str):
        raise VoxlateError(f"{path}: {part or 'it'} has no model_type; expected the config of a speech encoder")
    if raw["model_type"] not in ENCODERS:
        names = ", ".join(sorted(ENCODERS))
        raise VoxlateError(f"{path}: unknown speech encoder {shown(raw['model_type'])}; known: {names}")
    all_defaults = AutoConfig.for_model(raw["model_type"]).to_dict()
    defaults = {name: value for name, value in all_defaults.items() if not _UNUSED.fullmatch(name)}
    if "output_hidden_size" in defaults:
        defaults["output_hidden_size"] = None  # which means hidden_size
    defaults |= {name: None for name in (ADAPTER, SEAMLESS_PARTS) if raw.get(name) is not None}
    fields = _merged(defaults, raw, changed)
    checked = _checked(_EncoderFields, fields, path, part).model_dump()
    return _instantiate(lambda: AutoConfig.for_model(raw["model_type"], **_with_checked(fields, checked)), path, part)


def text_config(raw: object, path: Path, changed: Mapping[str, Any], part: str = "") -> Any:
    """Return transformers' config of the text decoder in a `config.json` (`raw`), or in its part "decoder".

    Its model_type is by default mBART's.
    """
    if not isinstance(raw, dict):
        raise VoxlateError(f"{path}: {part or 'it'} is {shown(raw)}; expected the config of a text decoder")
    kind = raw.get("model_type", "mbart")
    if not isinstance(kind, str) or kind not in DECODERS:
        raise VoxlateError(f"{path}: unknown text decoder {shown(kind)}; known: {', '.join(sorted(DECODERS))}")
    defaults = AutoConfig.for_model(kind)
    fields = _merged(defaults.to_dict(), raw, changed)
    if kind != "mbart":  # whose ids are always the same
        fields |= {name: raw.get(name, getattr(defaults, name)) for name in ("pad_token_id", "eos_token_id")}
    checked = _checked(_DecoderFields, fields, path, part).model_dump()
    used = {name: fields[name] for name in checked.keys() & fields.keys()}  # other fields are not used
    return _instantiate(lambda: AutoConfig.for_model(kind, **_with_checked(used, checked)), path, part)


def architectures(raw: Mapping[str, Any], path: Path) -> list[str]:
    """Return the class names in a config's `architectures`; an empty list if there are none."""
    names = raw.get("architectures") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise VoxlateError(f"{path}: architectures is {shown(names)}; expected a list of class names")
    return names


def _merged(defaults: Mapping[str, Any], raw: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: value for name, value in defaults.items() if name not in _BASE}
    return {**fields, **{name: raw[name] for name in fields.keys() & raw.keys()}, **changed}


def _with_checked(fields: Mapping[str, Any], checked: Mapping[str, Any]) -> dict[str, Any]:
    return {**fields, **{name: checked[name] for name in fields.keys() & checked.keys()}}


_Model = TypeVar("_Model", bound=_Fields)


def _checked(model: type[_Model], fields: Mapping[str, Any], path: Path, part: str) -> _Model:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        problems = []
        for problem in error.errors():
            name = ".".join(str(key) for key in (part, *problem["loc"]) if key != "")
            problems.append(f"{name}: {describe_problem(problem)}" if name else describe_problem(problem))
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise VoxlateError(f"{path}: {'; '.join(problems[:3])}{more}") from None


def describe_problem(problem: Mapping[str, Any]) -> str:
    """Return the message of a pydantic error: the expected and the actual value."""
    message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    message = re.sub(r" or instance of \w+", "", message)
    message = message.replace("a valid boolean", "true or false")
    return message if isinstance(problem["input"], dict) else f"{message}, got {shown(problem['input'])}"


def _instantiate(make: Callable[[], Any], path: Path, part: str) -> Any:
    try:
        return make()
    except Exception as error:
        raise VoxlateError(f"{path}: {part + ': ' if part else ''}{shown(error)}") from None
