"""Build a model of a published size with random weights, to measure memory and speed without the real weights.

    python eval/speed/build_full_size.py FOLDER --vocabulary sentencepiece.bpe.model [--size 300m]
    python eval/speed/build_full_size.py FOLDER --size seamless-v2-large

The second one has a made-up vocabulary, and is written in bfloat16. The models have the published architecture and file
layout. Their translations are meaningless.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from transformers import SeamlessM4Tv2Config, Wav2Vec2Config

from speed.synthetic_vocabulary import write_vocabulary
from voxlate.checkpoints.conversion import adapter_config, decoder_config
from voxlate.checkpoints.model_folder import save_checkpoint
from voxlate.checkpoints.seamless import read_seamless_config
from voxlate.models.adapter import AdapterConfig, LengthAdapter
from voxlate.models.conformer_adapter import ConformerAdapter
from voxlate.models.decoder import DecoderConfig
from voxlate.models.m2m100 import M2M100Decoder
from voxlate.models.mbart import MBartDecoder
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.models.w2vbert import Wav2Vec2BertEncoder
from voxlate.models.wav2vec2 import Wav2Vec2Encoder
from voxlate.published_checkpoints import PUBLISHED_TARGETS
from voxlate.tokenizer import Tokenizer
from voxlate.vocabulary_layouts import SEAMLESS

# Hidden width, layers and feed-forward width of the XLS-R encoders (Babu et al. 2021, and the published configs).
SEAMLESS_LARGE = "seamless-v2-large"
SEAMLESS_PIECES, SEAMLESS_LANGUAGES, SEAMLESS_UNUSED = 256_000, 98, 3
SIZES = {"300m": (1024, 24, 4096), "1b": (1280, 48, 5120), "2b": (1920, 48, 7680)}


def random_model(width: int, layers: int, decoder: DecoderConfig, *, convolution_width: int = 512) -> SpeechTranslator:
    """Return a randomly initialized model with an encoder of a width and a number of layers, for XLS-R's settings.

    No layer is skipped in training: in transformers, `layerdrop` would also apply to the strides of the adapter.
    """
    encoder = Wav2Vec2Config(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=16,
        intermediate_size=4 * width,
        conv_dim=[convolution_width] * 7,
        num_conv_pos_embedding_groups=16,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        conv_bias=True,
        mask_time_prob=0.075,
        layerdrop=0.0,
    )
    return SpeechTranslator(
        Wav2Vec2Encoder(encoder), LengthAdapter(AdapterConfig(width, decoder.width)), MBartDecoder(decoder)
    )


def build(size: str) -> SpeechTranslator:
    """Return a randomly initialized model of a published size: 793M, 1441M or 2639M parameters, or SeamlessM4T v2's."""
    if size == SEAMLESS_LARGE:
        return build_seamless(SeamlessM4Tv2Config())
    width, layers, _ = SIZES[size]
    return random_model(width, layers, DecoderConfig())


def build_seamless(config: SeamlessM4Tv2Config) -> SpeechTranslator:
    """Return the speech-to-text part of a SeamlessM4T v2, randomly initialized."""
    described = read_seamless_config(config.to_dict(), Path("config.json"), {})
    adapter: Any = adapter_config(described.encoder)
    return SpeechTranslator(
        Wav2Vec2BertEncoder(described.encoder),
        ConformerAdapter(adapter),
        M2M100Decoder(decoder_config(described.decoder)),
    )


def save_seamless(folder: Path, model: SpeechTranslator, *, pieces: int = SEAMLESS_PIECES) -> None:
    """Write SeamlessM4T v2's folder in bfloat16, with a made-up vocabulary. One of its languages is German."""
    vocabulary = write_vocabulary(folder / "made-up.model", pieces)
    tags = ("__deu__", *(f"__x{number}__" for number in range(1, SEAMLESS_LANGUAGES)))
    tokenizer = Tokenizer(vocabulary, SEAMLESS.with_tags(tags), unused=SEAMLESS_UNUSED)
    save_checkpoint(folder, model.bfloat16(), tokenizer, {"de": tokenizer.tag_id("__deu__")})
    vocabulary.unlink()


def main() -> None:
    """Build and save the model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--vocabulary", type=Path, help="the 250,000-piece mBART SentencePiece model")
    parser.add_argument("--size", choices=[*SIZES, SEAMLESS_LARGE], default="300m")
    arguments = parser.parse_args()
    if arguments.size != SEAMLESS_LARGE and arguments.vocabulary is None:
        parser.error(f"--size {arguments.size} needs --vocabulary")
    torch.manual_seed(0)
    model = build(arguments.size)
    if arguments.size == SEAMLESS_LARGE:
        save_seamless(arguments.folder, model)
    else:
        targets = PUBLISHED_TARGETS["facebook/wav2vec2-xls-r-300m-en-to-15"]
        save_checkpoint(arguments.folder, model, Tokenizer(arguments.vocabulary), targets)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{arguments.folder}: {parameters / 1e6:.3f}M parameters")


if __name__ == "__main__":
    main()
