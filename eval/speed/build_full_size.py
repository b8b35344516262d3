"""Build a model of a published size with random weights, to measure memory and speed without the real weights.

    python eval/speed/build_full_size.py FOLDER --vocabulary sentencepiece.bpe.model [--size 300m]

The model has the published architecture and file layout. Its translations are meaningless.
"""

import argparse
from pathlib import Path

import torch
from transformers import Wav2Vec2Config

from voxlate.checkpoints.model_folder import save_checkpoint
from voxlate.models.adapter import AdapterConfig, LengthAdapter
from voxlate.models.decoder import DecoderConfig
from voxlate.models.mbart import MBartDecoder
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.models.wav2vec2 import Wav2Vec2Encoder
from voxlate.published_checkpoints import PUBLISHED_TARGETS
from voxlate.tokenizer import Tokenizer

# Hidden width, layers and feed-forward width of the XLS-R encoders (Babu et al. 2021, and the published configs).
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
    """Return a randomly initialized model of a published size: 793M, 1441M or 2639M parameters."""
    width, layers, _ = SIZES[size]
    return random_model(width, layers, DecoderConfig())


def main() -> None:
    """Build and save the model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--vocabulary", type=Path, required=True, help="the 250,000-piece mBART SentencePiece model")
    parser.add_argument("--size", choices=SIZES, default="300m")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model = build(arguments.size)
    targets = PUBLISHED_TARGETS["facebook/wav2vec2-xls-r-300m-en-to-15"]
    save_checkpoint(arguments.folder, model, Tokenizer(arguments.vocabulary), targets)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{arguments.folder}: {parameters / 1e6:.3f}M parameters")


if __name__ == "__main__":
    main()
