"""Tiny random models in transformers' format, and their common vocabulary."""

import json
from pathlib import Path
from typing import Any

import sentencepiece
import tokenizers
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    MBartConfig,
    MBartForConditionalGeneration,
    SpeechEncoderDecoderConfig,
    SpeechEncoderDecoderModel,
    Wav2Vec2Config,
)

from voxlate.languages import MBART50_TAGS

PIECES = 48
VOCABULARY = PIECES + 1 + 52 + 1  # specials, pieces, mBART-50's tags, <mask>
_TEXT = [
    "the train leaves at seven",
    "we would like bread and coffee",
    "how much does it cost",
    "der zug fährt um sieben uhr",
    "je voudrais du pain et du café",
    "cuánto cuesta el billete",
]

_SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
_WAVES = {
    "conv_dim": [8, 8, 8, 8, 8, 8, 16],
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
    "initializer_range": 0.2,
    "layerdrop": 0.0,
}
_LAYER = {**_SMALL, **_WAVES, "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
_GROUP = {**_SMALL, **_WAVES, "feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
# Small versions of the published encoders: model_type, fields of the config, whether waveforms are normalized.
KINDS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "XLS-R, XLSR-53, wav2vec 2.0 LV-60": ("wav2vec2", _LAYER, True),
    "wav2vec 2.0 base": ("wav2vec2", _GROUP, True),
    "HuBERT large": ("hubert", _LAYER, True),
    "HuBERT base": ("hubert", _GROUP, True),
    "HuBERT with batch norm": ("hubert", {**_GROUP, "conv_pos_batch_norm": True}, True),
    "WavLM large": ("wavlm", {**_LAYER, "num_buckets": 16, "max_bucket_distance": 40}, True),
    "WavLM base-plus": ("wavlm", _GROUP, False),
    "w2v-BERT 2.0": (
        "wav2vec2-bert",
        {
            **_SMALL,
            "conv_depthwise_kernel_size": 7,
            "left_max_position_embeddings": 8,
            "right_max_position_embeddings": 3,
            "initializer_range": 0.2,
            "layerdrop": 0.0,
        },
        False,
    ),
}


def write_vocabulary(path: Path) -> Path:
    """Train a SentencePiece model of 48 pieces in the mBART-50 layout."""
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(_TEXT),
            model_writer=file,
            vocab_size=PIECES,
            normalization_rule_name="nmt_nfkc",
            minloglevel=2,
        )
    return path


def write_tokenizer_json(path: Path, vocabulary: Path) -> Path:
    """Write the vocabulary as transformers 5 saves it: for the tokenizers library, with specials and tags."""
    model = sentencepiece.SentencePieceProcessor(model_file=str(vocabulary))
    pieces = [(model.id_to_piece(index), model.get_score(index)) for index in range(3, model.get_piece_size())]
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    tags = [*MBART50_TAGS, "<mask>"]
    unigram = tokenizers.models.Unigram(
        [(name, 0.0) for name in specials] + pieces + [(name, 0.0) for name in tags], unk_id=3
    )
    tokenizer = tokenizers.Tokenizer(unigram)
    tokenizer.normalizer = tokenizers.normalizers.NFKC()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    tokenizer.decoder = tokenizers.decoders.Metaspace()
    tokenizer.add_special_tokens([*specials, *tags])
    tokenizer.save(str(path))
    return path


def transformers_model(
    seed: int, *, encoder: dict[str, Any] | None = None, decoder: dict[str, Any] | None = None
) -> Any:
    """Return a random `SpeechEncoderDecoderModel` in evaluation mode; dicts override config fields.

    Weights are larger than in an untrained model, so that states differ over time and hypotheses in length.
    """
    torch.manual_seed(seed)
    fields = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "conv_dim": [8, 8, 8, 8, 8, 8, 16],
        "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 4,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "conv_bias": True,
        "add_adapter": True,
        "num_adapter_layers": 3,
        "output_hidden_size": 32,
        "initializer_range": 0.2,
        "mask_time_prob": 0.075,
        "layerdrop": 0.0,
    } | (encoder or {})
    text = {
        "vocab_size": VOCABULARY,
        "d_model": 32,
        "decoder_layers": 2,
        "decoder_attention_heads": 4,
        "decoder_ffn_dim": 48,
        "activation_function": "relu",
        "scale_embedding": True,
        "max_position_embeddings": 64,
        "init_std": 0.2,
        "is_decoder": True,
        "is_encoder_decoder": False,
    } | (decoder or {})
    config = SpeechEncoderDecoderConfig(
        encoder=Wav2Vec2Config(**fields).to_dict(),
        decoder=MBartConfig(**text).to_dict() | {"add_cross_attention": True},
    )
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id, config.bos_token_id = 2, 1, 2, 0
    model = SpeechEncoderDecoderModel(config).eval()
    with torch.no_grad():  # large position embeddings prevent loops; a larger row of </s> ends some hypotheses early
        model.decoder.model.decoder.embed_positions.weight.normal_(std=2.0)
        model.decoder.model.decoder.embed_tokens.weight[2] *= 3.0
    generation = model.generation_config
    generation.decoder_start_token_id, generation.pad_token_id = 2, 1
    generation.eos_token_id, generation.bos_token_id, generation.forced_eos_token_id = 2, 0, 2
    return model


def write_model(folder: Path, vocabulary: Path, model: Any) -> Path:
    """Save a transformers model with its vocabulary and preprocessor config."""
    model.save_pretrained(folder)
    (folder / "sentencepiece.bpe.model").write_bytes(vocabulary.read_bytes())
    (folder / "preprocessor_config.json").write_text('{"do_normalize": true, "sampling_rate": 16000}')
    return folder


def waveforms(seed: int, *seconds: float) -> list[torch.Tensor]:
    """Return noise whose spectrum and loudness change over time, so that all frames differ."""
    generator = torch.Generator().manual_seed(seed)
    clips = []
    for duration in seconds:
        noise_T = torch.randn(round(duration * 16_000), generator=generator)
        swell_T = torch.sin(torch.linspace(0, 9 + 3 * duration, len(noise_T)))
        clips.append(0.1 * noise_T * swell_T + 0.05 * torch.sin(noise_T.cumsum(0) * 0.1))
    return clips


def write_encoder(folder: Path, kind: Any) -> Any:
    """Save a random speech encoder of a transformers class; return it."""
    torch.manual_seed(5)
    config = Wav2Vec2Config(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, conv_dim=[8] * 7,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=4, feat_extract_norm="layer",
        do_stable_layer_norm=True, conv_bias=True, codevector_dim=8, proj_codevector_dim=8,
    )  # fmt: skip
    model = kind(config).eval()
    model.save_pretrained(folder)
    return model


def write_kind(folder: Path, kind: str) -> None:
    """Save a random speech encoder of one of `KINDS`."""
    torch.manual_seed(5)
    name, fields, normalize = KINDS[kind]
    AutoModel.from_config(AutoConfig.for_model(name, **fields)).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": normalize}))


def write_mbart(folder: Path, vocabulary: Path) -> Any:
    """Save a random mBART with its vocabulary; return it."""
    torch.manual_seed(6)
    config = MBartConfig(
        vocab_size=VOCABULARY, d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=64,
        scale_embedding=True, activation_function="relu",
    )  # fmt: skip
    model = MBartForConditionalGeneration(config).eval()
    model.save_pretrained(folder)
    (folder / "sentencepiece.bpe.model").write_bytes(vocabulary.read_bytes())
    return model
