"""Estimate the cost of the recipes from a measured speed: hours on 1, 8 and 64 GPUs, memory per GPU, and price.

    python eval/speed/cost.py [--gpu H100] [--share 0.06] [--price 2.5] [RECIPE ...]

The FLOPs of an update follow from the shapes: three times the forward pass for trained layers, four times with gradient
checkpointing, once for the frozen convolutions. They are divided by a share of the GPU's peak rate, by default the one
that training reached on an H100 (`measured_share`). Communication is estimated from the bandwidth between GPUs, and
overlaps with the backward pass.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speed.build_full_size import SIZES
from speed.roofline import convolution_flops, count_work
from speed.synthetic import clip_seconds
from voxlate.config.schema import TrainConfig, read_config
from voxlate.published_models import hub_id

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "recipes" / "covost2"
# bfloat16 FLOP/s without sparsity, bytes of memory, bytes/s between GPUs of a machine, from the vendors' data sheets.
GPUS = {"A100": (312e12, 80e9, 300e9), "H100": (989e12, 80e9, 450e9), "H200": (989e12, 141e9, 450e9)}
# Seconds of audio per second of training the 300M model with mBART in batches of 240 s, without gradient checkpointing,
# on one H100 80GB (PyTorch 2.11, commit 2fa6e9b). Other sizes and GPUs were not measured.
MEASURED_SPEED = 492.0
_NETWORK = 50e9  # bytes/s between machines: 400 Gbit/s per GPU
_GPUS_PER_MACHINE = 8
_ADAPTER_PARAMETERS = {"strided": 19e6, "conformer": 46e6}
# Encoders by the end of their Hub ids: XLS-R size, factor on its FLOPs, and number of parameters.
ENCODERS = {
    "xls-r-300m": ("300m", 1.0, 315e6),
    "xlsr-53": ("300m", 1.0, 315e6),
    "large-lv60": ("300m", 1.0, 315e6),
    "wavlm-large": ("300m", 1.0, 315e6),
    "w2v-bert-2.0": ("300m", 1.85, 580e6),  # a second feed-forward block and a convolution in each layer
    "seamless-m4t-v2-large": ("300m", 1.85, 589e6),  # w2v-BERT 2.0 and a feed-forward block
    "xls-r-1b": ("1b", 1.0, 963e6),
    "omniasr-w2v-1b": ("1b", 1.0, 962e6),
    "xls-r-2b": ("2b", 1.0, 2159e6),
}
# Decoders by the end of their Hub ids: layers, factor on the FLOPs of mBART's layers, vocabulary, number of parameters.
DECODERS = {
    "-mmt": (12, 1.0, 250_054, 459e6),  # mBART-50
    "nllb-200-distilled-600m": (12, 1.0, 256_206, 464e6),
    "seamless-m4t-v2-large": (24, 3.0, 256_102, 867e6),  # twice as many layers, each with twice the feed-forward width
}
_TOKENS = 22  # mean length of a CoVoST-2 sentence, with language tag and end of sentence


@dataclass(frozen=True)
class RecipeCost:
    """Compute and memory that a recipe requires."""

    recipe: str
    updates: int
    update_seconds: float  # of audio
    update_flops: float
    parameters: float
    state_bytes: float  # parameters, gradients and optimizer state
    batch_bytes: float  # activations of one batch
    sharded: bool

    def hours(self, gpus: int, flops_per_s: float, bytes_per_s: float) -> float:
        """Return the hours of the complete run on a number of GPUs."""
        computing = self.update_flops / gpus / flops_per_s
        moved = self.parameters * 4 * 2 * (gpus - 1) / gpus * (1.5 if self.sharded else 1.0)
        exchanging = moved / (bytes_per_s if gpus <= _GPUS_PER_MACHINE else _NETWORK) if gpus > 1 else 0.0
        return self.updates * max(computing, computing / 2 + exchanging) / 3600

    def memory(self, gpus: int) -> float:
        """Return the bytes of memory per GPU."""
        return self.state_bytes / (gpus if self.sharded else 1) + self.batch_bytes


def training_flops(
    size: str, factor: float = 1.0, passes: int = 3, decoder_factor: float = 1.0, vocabulary: int = 250_054
) -> float:
    """Return the FLOPs of training per second of audio; `passes` of the layers are four with gradient checkpointing.

    `factor` is that on the encoder's layers, `decoder_factor` that on the decoder's.
    """
    seconds_N = clip_seconds(2000, np.random.default_rng(0))
    stages = count_work(size, seconds_N, _TOKENS, 1, len(seconds_N), 2)
    audio_seconds = float(seconds_N.sum())
    convolutions = convolution_flops(audio_seconds)
    encoder = factor * (stages["encoder and adapter"].flops - convolutions)
    decoder = decoder_factor * (stages["decoder"].flops + stages["cross-attention keys and values"].flops)
    output = stages["output layer"].flops * vocabulary / 250_054
    return (convolutions + passes * (encoder + decoder) + 3 * output) / audio_seconds


def measured_share() -> float:
    """Return the share of an H100's peak that training reached."""
    return training_flops("300m") * MEASURED_SPEED / GPUS["H100"][0]


def estimate_cost(path: Path) -> RecipeCost:
    """Estimate the cost of one recipe."""
    config: TrainConfig = read_config(path)
    model = config.model
    speech, text = (hub_id(str(model.init_from or part)).lower() for part in (model.encoder, model.decoder))
    size, factor, parameters = next(ENCODERS[name] for name in ENCODERS if speech.endswith(name))
    decoder_layers, decoder_factor, vocabulary, decoder = next(
        DECODERS[name] for name in DECODERS if text.endswith(name)
    )
    passes = 4 if config.gradient_checkpointing else 3
    flops = training_flops(size, factor, passes, decoder_factor, vocabulary)
    batch_seconds = config.data.known_batch_seconds
    update_seconds = batch_seconds * config.data.batches_per_update
    adapter = _ADAPTER_PARAMETERS["conformer" if "seamless" in speech else getattr(model, "adapter", "strided")]
    total = parameters + decoder + adapter
    width, count, _ = SIZES[size]
    attention = 4 * count * width**2 + 8 * decoder_layers * 1024**2
    trained_share = (adapter + attention) / total if config.trainable.preset == "lna-ed" else 1.0
    frames = batch_seconds * 50
    activations = 2 * frames * width * (count if config.gradient_checkpointing else 16 * count)
    inner = 2 * frames * width * 34 + batch_seconds * 3200 * 512 * 2 * 2  # one layer, and the convolutions
    return RecipeCost(
        path.stem,
        config.optimizer.max_updates,
        update_seconds,
        flops * update_seconds,
        total * trained_share,
        total * (4 + 12 * trained_share),
        activations + inner,
        config.sharded,
    )


def table(paths: list[Path], gpu: str, share: float, price: float) -> list[str]:
    """Return the lines of a Markdown table of recipes."""
    peak, memory, bandwidth = GPUS[gpu]
    lines = [
        f"| recipe | updates | PFLOP each | hours on 1 {gpu} | on 8 | on 64 | GB on each of 8 | $ on 8 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for path in paths:
        one = estimate_cost(path)
        hours = [one.hours(count, share * peak, bandwidth) for count in (1, 8, 64)]
        required = one.memory(8)
        fits = "" if required < memory else " (too much)"
        lines.append(
            f"| `{one.recipe}` | {one.updates:,} | {one.update_flops / 1e15:.2f} | {hours[0]:.1f} | {hours[1]:.1f} | "
            f"{hours[2]:.1f} | {required / 1e9:.0f}{fits} | {hours[1] * 8 * price:,.0f} |"
        )
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipes", type=Path, nargs="*", default=sorted(RECIPES.glob("*-*.yaml")))
    parser.add_argument("--gpu", choices=GPUS, default="H100")
    parser.add_argument(
        "--share", type=float, default=measured_share(), help="share of the peak FLOP/s that training reaches"
    )
    parser.add_argument("--price", type=float, default=2.5, help="price of a GPU in dollars per hour")
    arguments = parser.parse_args()
    print("\n".join(table(arguments.recipes, arguments.gpu, arguments.share, arguments.price)))


if __name__ == "__main__":
    main()
