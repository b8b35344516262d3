"""Read fairseq's speech translation checkpoints (`.pt`): the format in which XLS-R was first published.

Names are those of fairseq's xm_transformer (facebookresearch/fairseq, examples/wav2vec/xlsr).
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from voxlate.checkpoints.conversion import identical, load_strictly
from voxlate.checkpoints.model_folder import Checkpoint
from voxlate.checkpoints.pickled_checkpoints import IgnoredObject, read_pickled, rename_tensors
from voxlate.checkpoints.wav2vec2_shapes import count_layers, wav2vec2_config
from voxlate.errors import VoxlateError
from voxlate.json_files import shown
from voxlate.models.adapter import AdapterConfig, LengthAdapter
from voxlate.models.decoder import DecoderConfig
from voxlate.models.mbart import MBartDecoder
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.models.wav2vec2 import Wav2Vec2Encoder
from voxlate.published_checkpoints import PUBLISHED_TARGETS
from voxlate.tokenizer import Tokenizer

_W2V = "encoder.w2v_encoder.w2v_model."
_NAMES = (  # patterns of fairseq's names, and ours
    (rf"{_W2V}feature_extractor\.conv_layers\.(\d+)\.0\.", r"encoder.model.feature_extractor.conv_layers.\1.conv."),
    (
        rf"{_W2V}feature_extractor\.conv_layers\.(\d+)\.2\.1\.",
        r"encoder.model.feature_extractor.conv_layers.\1.layer_norm.",
    ),
    (rf"{_W2V}feature_extractor\.conv_layers\.0\.2\.", "encoder.model.feature_extractor.conv_layers.0.layer_norm."),
    (rf"{_W2V}post_extract_proj\.", "encoder.model.feature_projection.projection."),
    (rf"{_W2V}layer_norm\.", "encoder.model.feature_projection.layer_norm."),
    (rf"{_W2V}mask_emb$", "encoder.model.masked_spec_embed"),
    (rf"{_W2V}encoder\.pos_conv\.0\.", "encoder.model.encoder.pos_conv_embed.conv."),
    (rf"{_W2V}encoder\.layers\.(\d+)\.self_attn\.", r"encoder.model.encoder.layers.\1.attention."),
    (rf"{_W2V}encoder\.layers\.(\d+)\.self_attn_layer_norm\.", r"encoder.model.encoder.layers.\1.layer_norm."),
    (rf"{_W2V}encoder\.layers\.(\d+)\.fc1\.", r"encoder.model.encoder.layers.\1.feed_forward.intermediate_dense."),
    (rf"{_W2V}encoder\.layers\.(\d+)\.fc2\.", r"encoder.model.encoder.layers.\1.feed_forward.output_dense."),
    (rf"{_W2V}encoder\.layers\.(\d+)\.final_layer_norm\.", r"encoder.model.encoder.layers.\1.final_layer_norm."),
    (rf"{_W2V}encoder\.layer_norm\.", "encoder.model.encoder.layer_norm."),
    (r"encoder\.w2v_encoder\.proj\.", "adapter.proj."),
    (r"encoder\.w2v_proj_ln\.", "adapter.proj_layer_norm."),
    (r"encoder\.adaptor\.layers\.(\d+)\.(?=weight|bias)", r"adapter.layers.\1.conv."),
    (r"decoder\.", "decoder."),
)
# Tensors of pretraining, and buffers that fairseq saves with the weights.
_UNUSED = re.compile(
    rf"{_W2V}(quantizer|project_q|project_inp|final_proj|target_glu)\b|(.*\.)?version$|.*_float_tensor$"
)


def load_fairseq(path: Path, vocabulary: Path) -> Checkpoint:
    """Load a fairseq checkpoint, with mBART-50's vocabulary, which is a separate file.

    The target languages are those of the published checkpoint with this file name, if there is one, else all of
    mBART-50's. VoxlateError if the file is damaged, is another kind of model, or holds classes that could run code.
    """
    tensors, stored = read_pickled(path)
    renamed = _our_names(path, tensors)
    settings = dict(_settings(stored))
    tokenizer = Tokenizer(vocabulary)
    try:
        with torch.device("meta"):
            model = _build(path, renamed, settings)
    except VoxlateError:
        raise
    except Exception as error:  # networks raise various exceptions for invalid configs
        raise VoxlateError(f"{path}: does not describe a valid network ({shown(error)}); fetch it again") from None
    load_strictly(model, renamed, torch.float32, str(path))
    if tokenizer.vocabulary_size != model.decoder.config.vocabulary_size:
        raise VoxlateError(
            f"{vocabulary}: has {tokenizer.vocabulary_size:,} ids, expected the vocabulary of the model, with "
            f"{model.decoder.config.vocabulary_size:,}"
        )
    targets = _targets(path.name) or tokenizer.target_ids()
    return Checkpoint(str(path), path.parent, model.eval(), tokenizer, targets)


def _our_names(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = rename_tensors(path, tensors, _NAMES, _UNUSED)
    head, embedding = renamed.pop("decoder.output_projection.weight", None), renamed.get("decoder.embed_tokens.weight")
    if head is not None and (embedding is None or not identical(head, embedding)):
        raise VoxlateError(f"{path}: input and output embeddings differ; expected tied ones, as in mBART-50")
    return renamed


def _settings(value: object, depth: int = 0) -> Iterator[tuple[str, object]]:
    """Yield the names and values of all scalar settings, at any depth of fairseq's configuration."""
    if depth > 12:
        return
    inner = value.__dict__ if isinstance(value, IgnoredObject) else value
    if isinstance(inner, dict):
        for name, item in inner.items():
            node = item.__dict__.get("_val") if isinstance(item, IgnoredObject) and "_val" in item.__dict__ else item
            if isinstance(node, (int, float, str)):
                yield str(name), node
            elif (not isinstance(node, Tensor) and name != "model") or (
                name == "model" and isinstance(node, IgnoredObject)
            ):
                yield from _settings(node, depth + 1)


def _build(path: Path, tensors: Mapping[str, Tensor], settings: Mapping[str, object]) -> SpeechTranslator:
    """Build the network from the shapes of its tensors, and from fairseq's settings for the numbers of heads."""
    prefix = "encoder.model."
    speech = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    try:
        encoder = wav2vec2_config(speech, _heads(settings, "encoder_attention_heads"))
        embedding = tensors["decoder.embed_tokens.weight"]
        decoder_ffn_width = tensors["decoder.layers.0.fc1.weight"].shape[0]
        positions = tensors["decoder.embed_positions.weight"].shape[0]
    except KeyError as error:
        raise VoxlateError(
            f"{path}: has no {error.args[0]}; expected a wav2vec 2.0 encoder and an mBART decoder"
        ) from None
    decoder = DecoderConfig(
        vocabulary_size=embedding.shape[0],
        width=embedding.shape[1],
        layers=count_layers(tensors, r"decoder\.layers\.(\d+)\."),
        heads=_heads(settings, "decoder_attention_heads"),
        ffn_width=decoder_ffn_width,
        activation=str(settings.get("activation_fn", "relu")),
        max_positions=positions - MBartDecoder.POSITION_OFFSET,
    )
    adapter_layers = count_layers(tensors, r"adapter\.layers\.(\d+)\.")
    adapter = AdapterConfig(encoder.hidden_size, decoder.width, adapter_layers)
    return SpeechTranslator(Wav2Vec2Encoder(encoder), LengthAdapter(adapter), MBartDecoder(decoder))


def _heads(settings: Mapping[str, object], name: str) -> int:
    heads = settings.get(name, 16)  # as in all XLS-R encoders and in mBART
    return heads if isinstance(heads, int) else 16


def _targets(name: str) -> Mapping[str, int] | None:
    """Return the targets of a published checkpoint by its file name, such as xls_r_300m_en_15.pt; else None."""
    for direction, repository in (
        ("21_en", "facebook/wav2vec2-xls-r-300m-21-to-en"),
        ("en_15", "facebook/wav2vec2-xls-r-300m-en-to-15"),
        ("22_16", "facebook/wav2vec2-xls-r-2b-22-to-16"),
    ):
        if direction in name:
            return PUBLISHED_TARGETS[repository]
    return None
