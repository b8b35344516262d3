"""Convert between transformers' SeamlessM4T v2 folders and our model: configs and names of weights.

Of a complete model, only the part from speech to text is read.
"""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import Tensor
from transformers import SeamlessM4Tv2Config

from voxlate.checkpoints.config_json import ADAPTER, SEAMLESS_PARTS, encoder_config, text_config
from voxlate.checkpoints.conversion import decoder_fields, identical
from voxlate.errors import VoxlateError
from voxlate.json_files import shown
from voxlate.models.conformer_adapter import ConformerAdapterConfig
from voxlate.models.speech_translator import SpeechTranslator

MODEL_TYPE = "seamless_m4t_v2"
ARCHITECTURE = "SeamlessM4Tv2ForSpeechToText"
_PREFIXES = (  # transformers' prefix, ours; the first match applies, in both directions
    ("speech_encoder.inner_layer_norm.", "adapter.layer_norm."),
    ("speech_encoder.adapter.", "adapter."),
    ("speech_encoder.", "encoder.model."),
    ("lm_head.", "decoder.lm_head."),
    ("text_decoder.", "decoder."),
)
_DECODER_PARTS = (
    (".cross_attention.", ".encoder_attn."),
    (".cross_attention_layer_norm.", ".encoder_attn_layer_norm."),
    (".ffn.fc", ".fc"),
    (".ffn_layer_norm.", ".final_layer_norm."),
)
_OTHER_PARTS = ("text_encoder.", "t2u_model.", "vocoder.")  # of a complete model: other inputs and outputs
_EMBEDDINGS = ("shared.weight", "text_decoder.embed_tokens.weight", "lm_head.weight")
_ENCODER_FIELDS = {  # field of a w2v-BERT config: of SeamlessM4T's
    "hidden_size": "hidden_size",
    "num_hidden_layers": "speech_encoder_layers",
    "num_attention_heads": "speech_encoder_attention_heads",
    "intermediate_size": "speech_encoder_intermediate_size",
    "hidden_act": "speech_encoder_hidden_act",
    "layerdrop": "speech_encoder_layerdrop",
    "layer_norm_eps": "layer_norm_eps",
    "feature_projection_input_dim": "feature_projection_input_dim",
    "position_embeddings_type": "position_embeddings_type",
    "left_max_position_embeddings": "left_max_position_embeddings",
    "right_max_position_embeddings": "right_max_position_embeddings",
    "conv_depthwise_kernel_size": "conv_depthwise_kernel_size",
    "hidden_dropout": "speech_encoder_dropout",  # the one dropout of all parts of the encoder
}
_DROPOUTS = ("attention_dropout", "activation_dropout", "feat_proj_dropout", "conformer_conv_dropout")
_ADAPTER_FIELDS = {
    "input_dim": "hidden_size",
    "output_dim": "hidden_size",
    "layers": "num_adapter_layers",
    "kernel": "adaptor_kernel_size",
    "stride": "adaptor_stride",
    "heads": "speech_encoder_attention_heads",
    "ffn_width": "speech_encoder_intermediate_size",
    "attention_dropout": "speech_encoder_dropout",
    "dropout": "adaptor_dropout",
}
_DECODER_FIELDS = {
    "vocab_size": "vocab_size",
    "d_model": "hidden_size",
    "decoder_layers": "decoder_layers",
    "decoder_attention_heads": "decoder_attention_heads",
    "decoder_ffn_dim": "decoder_ffn_dim",
    "activation_function": "activation_function",
    "max_position_embeddings": "max_position_embeddings",
    "scale_embedding": "scale_embedding",
    "tie_word_embeddings": "tie_word_embeddings",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "decoder_layerdrop": "decoder_layerdrop",
    "pad_token_id": "pad_token_id",
    "eos_token_id": "eos_token_id",
}


def read_seamless_config(raw: Mapping[str, Any], path: Path, fields: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return an object with the attributes `encoder` and `decoder`, which are configs, from a `config.json` (`raw`).

    VoxlateError names the file, the field, and its actual and expected values.
    """
    merged = SeamlessM4Tv2Config().to_dict() | raw
    if merged["add_adapter"] is not True:
        raise VoxlateError(f"{path}: add_adapter is {shown(merged['add_adapter'])}; expected true: SeamlessM4T has one")
    if merged["decoder_start_token_id"] != merged["eos_token_id"]:
        raise VoxlateError(
            f"{path}: decoder_start_token_id is {shown(merged['decoder_start_token_id'])}; expected eos_token_id "
            f"{shown(merged['eos_token_id'])}"
        )
    encoder = {name: merged[theirs] for name, theirs in _ENCODER_FIELDS.items()}
    encoder |= dict.fromkeys(_DROPOUTS, merged["speech_encoder_dropout"])
    encoder |= {
        "model_type": "wav2vec2-bert",
        "apply_spec_augment": False,
        "mask_time_prob": 0.0,
        "add_adapter": True,
        "use_intermediate_ffn_before_adapter": True,
        SEAMLESS_PARTS: {
            "chunk_frames": merged["speech_encoder_chunk_size"] or 1 << 20,
            "left_chunks": merged["speech_encoder_left_chunk_num"],
        },
        ADAPTER: {
            "kind": "conformer",
            "final_norm": True,
            "activation_dropout": merged["adaptor_dropout"],
            "ffn_dropout": merged["adaptor_dropout"],
            **{name: merged[theirs] for name, theirs in _ADAPTER_FIELDS.items()},
        },
    }
    decoder = {name: merged[theirs] for name, theirs in _DECODER_FIELDS.items()}
    return SimpleNamespace(
        encoder=encoder_config(encoder, path, fields.get("encoder", {}), "speech encoder"),
        decoder=text_config({**decoder, "model_type": "m2m_100"}, path, fields.get("decoder", {}), "text decoder"),
    )


def is_seamless(model: SpeechTranslator) -> bool:
    """Return whether transformers' SeamlessM4Tv2ForSpeechToText can hold a model."""
    adapter, encoder, decoder = model.adapter.config, model.encoder.config, model.decoder
    if getattr(encoder, SEAMLESS_PARTS, None) is None or not isinstance(adapter, ConformerAdapterConfig):
        return False
    same_shape = (adapter.input_dim, adapter.output_dim, adapter.heads, adapter.ffn_width, adapter.activation) == (
        *(encoder.hidden_size, decoder.config.width),
        *(encoder.num_attention_heads, encoder.intermediate_size, "relu"),
    )
    one_width = decoder.config.width == encoder.hidden_size and adapter.final_norm
    return decoder.MODEL_TYPE == "m2m_100" and same_shape and one_width


def seamless_config(model: SpeechTranslator, bos_id: int) -> SeamlessM4Tv2Config:
    """Return the config from which transformers builds the same network; see `is_seamless`."""
    adapter, encoder = model.adapter.config, model.encoder.config
    parts = getattr(encoder, SEAMLESS_PARTS)
    decoder = decoder_fields(model.decoder.config)
    fields = {theirs: getattr(encoder, name) for name, theirs in _ENCODER_FIELDS.items()}
    fields |= {theirs: getattr(adapter, name) for name, theirs in _ADAPTER_FIELDS.items()}
    fields |= {theirs: decoder[name] for name, theirs in _DECODER_FIELDS.items()}
    config = SeamlessM4Tv2Config(
        **fields,
        speech_encoder_chunk_size=parts["chunk_frames"],
        speech_encoder_left_chunk_num=parts["left_chunks"],
        decoder_start_token_id=model.decoder.config.eos_id,
        bos_token_id=bos_id,
    )
    config.architectures = [ARCHITECTURE]
    config.dtype = str(model.dtype).removeprefix("torch.")
    return config


def from_seamless(tensors: Mapping[str, Tensor], *, tied: bool, where: str) -> dict[str, Tensor]:
    """Return the tensors from speech to text under our names. Of tied embeddings, any may be present."""
    parts = {name: tensor for name, tensor in tensors.items() if not name.startswith(_OTHER_PARTS)}
    embeddings = {name: parts.pop(name) for name in _EMBEDDINGS if name in parts}
    renamed = {_our_name(name): tensor for name, tensor in parts.items()}
    output = None if tied else embeddings.pop("lm_head.weight", None)
    if output is not None:
        renamed["decoder.lm_head.weight"] = output
    for name, tensor in embeddings.items():
        first = renamed.setdefault("decoder.embed_tokens.weight", tensor)
        if not identical(first, tensor):
            raise VoxlateError(f"{where}: {name} differs from the other embeddings, but the config ties them")
    return renamed


def to_seamless(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of our model under transformers' names, without the embedding of masked frames."""
    renamed = {_their_name(name): tensor for name, tensor in tensors.items() if not name.endswith("masked_spec_embed")}
    embedding = renamed.pop("text_decoder.embed_tokens.weight")
    if "lm_head.weight" in renamed:  # not tied
        return {**renamed, "shared.weight": embedding, "text_decoder.embed_tokens.weight": embedding.clone()}
    return {**renamed, "shared.weight": embedding}


def _our_name(name: str) -> str:
    for theirs, ours in _PREFIXES:
        if name.startswith(theirs):
            return ours + _replaced(name.removeprefix(theirs), 0, ours)
    return f"[{name}]"  # unknown: reported as unexpected


def _their_name(name: str) -> str:
    theirs, ours = next(pair for pair in _PREFIXES if name.startswith(pair[1]))
    return theirs + _replaced(name.removeprefix(ours), 1, ours)


def _replaced(name: str, direction: int, ours: str) -> str:
    """Rename the parts of a decoder layer, from transformers' names (direction 0) or to them (1)."""
    if ours == "decoder." and name.startswith("layers."):
        for pair in _DECODER_PARTS:
            name = name.replace(pair[direction], pair[1 - direction])
    return name
