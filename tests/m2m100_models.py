"""Tiny random models of NLLB, M2M-100 and SeamlessM4T v2 in transformers' format, with their vocabularies."""

import json
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    SeamlessM4Tv2Config,
    SeamlessM4Tv2ForSpeechToText,
)

from voxlate.tokenizer import Tokenizer
from voxlate.vocabulary_layouts import M2M100, NLLB

TEXTS = [
    "the train leaves at seven",
    "we would like bread and coffee",
    "how much does it cost",
    "der zug fährt um sieben uhr",
    "je voudrais du pain et du café",
    "cuánto cuesta el billete",
]
PIECES = 60
SEAMLESS_LANGUAGES = ("afr", "cym", "deu", "eng", "fra")


def write_bpe(path: Path) -> Path:
    """Train a SentencePiece model of the BPE kind, as those of NLLB, M2M-100 and SeamlessM4T are."""
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS * 3),
            model_writer=file,
            vocab_size=PIECES,
            model_type="bpe",
            normalization_rule_name="nmt_nfkc",
            minloglevel=2,
        )
    return path


def write_nllb(folder: Path) -> Any:
    """Save a random NLLB with its vocabulary; return it."""
    folder.mkdir(exist_ok=True)
    size = Tokenizer(write_bpe(folder / "sentencepiece.bpe.model"), NLLB).vocabulary_size + 2
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "NllbTokenizer"}')
    return _save(folder, size)


def write_m2m100(folder: Path) -> Any:
    """Save a random M2M-100 with its vocabulary, whose pieces have another order than in SentencePiece; return it."""
    folder.mkdir(exist_ok=True)
    write_bpe(folder / "sentencepiece.bpe.model")
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sentencepiece.bpe.model"))
    pieces = [model.id_to_piece(index) for index in range(3, PIECES)]
    names = [*M2M100.specials, *pieces[::-1][:-1]]  # one piece is not in the dictionary
    (folder / "vocab.json").write_text(json.dumps({name: index for index, name in enumerate(names)}))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "M2M100Tokenizer"}')
    return _save(folder, len(names) + len(M2M100.tags) + 8)


def write_seamless(folder: Path, *, model_class: Any = SeamlessM4Tv2ForSpeechToText, **fields: Any) -> Any:
    """Save a random SeamlessM4T v2 with its vocabulary; return it. Its encoder attends within chunks of 0.4 s."""
    folder.mkdir(exist_ok=True)
    write_bpe(folder / "sentencepiece.bpe.model")
    torch.manual_seed(4)
    config = SeamlessM4Tv2Config(**SEAMLESS | fields)
    model = model_class(config).eval()
    with torch.no_grad():  # small embeddings prevent loops; a larger row of </s> ends some hypotheses early
        model.shared.weight *= 0.2
        model.shared.weight[3] *= 2.0
    first = PIECES + 1
    ids = {name: first + index for index, name in enumerate(SEAMLESS_LANGUAGES)}
    model.generation_config.text_decoder_lang_to_code_id = ids
    model.save_pretrained(folder)
    return model


SEAMLESS: dict[str, Any] = {
    "vocab_size": PIECES + 1 + len(SEAMLESS_LANGUAGES) + 3,
    "hidden_size": 32,
    "speech_encoder_layers": 2,
    "speech_encoder_attention_heads": 4,
    "speech_encoder_intermediate_size": 48,
    "speech_encoder_chunk_size": 20,
    "speech_encoder_left_chunk_num": 1,
    "speech_encoder_layerdrop": 0.0,
    "conv_depthwise_kernel_size": 7,
    "left_max_position_embeddings": 8,
    "right_max_position_embeddings": 3,
    "decoder_layers": 2,
    "decoder_ffn_dim": 64,
    "decoder_attention_heads": 4,
    "encoder_layers": 1,
    "encoder_ffn_dim": 32,
    "encoder_attention_heads": 4,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "t2u_encoder_layers": 1,
    "t2u_decoder_layers": 1,
    "t2u_encoder_ffn_dim": 16,
    "t2u_decoder_ffn_dim": 16,
    "char_vocab_size": 30,
    "t2u_vocab_size": 30,
    "unit_hifi_gan_vocab_size": 20,
    "unit_embed_dim": 32,
    "upsample_initial_channel": 32,
    "lang_embed_dim": 8,
    "spkr_embed_dim": 8,
}


def _save(folder: Path, size: int) -> Any:
    torch.manual_seed(6)
    config = M2M100Config(
        vocab_size=size, d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=64, init_std=0.2,
    )  # fmt: skip
    model = M2M100ForConditionalGeneration(config).eval()
    with torch.no_grad():
        model.model.shared.weight *= 0.2
        model.model.shared.weight[2] *= 2.0
    model.save_pretrained(folder)
    return model
