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

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "recipes" / "covost2"
# bfloat16 FLOP/s without sparsity, bytes of memory, bytes/s between GPUs of a machine, from the vendors' data sheets.
GPUS = {"A100": (312e12, 80e9, 300e9), "H100": (989e12, 80e9, 450e9), "H200": (989e12, 141e9, 450e9)}
# Seconds of audio per second of training the 300M model with mBART in batches of 240 s, without gradient checkpointing,
# on one H100 80GB (PyTorch 2.11, commit 2fa6e9b). Other sizes and GPUs were not measured.
MEASURED_SPEED = 492.0
_NETWORK = 50e9  # bytes/s between machines: 400 Gbit/s per GPU
_GPUS_PER_MACHINE = 8
_DECODER_PARAMETERS, _ADAPTER_PARAMETERS = 459e6, 19e6
# Encoders by the end of their names: XLS-R size, factor on its FLOPs, and number of parameters.
ENCODERS = {
    "xls-r-300m": ("300m", 1.0, 315e6),
    "xlsr-53": ("300m", 1.0, 315e6),
    "large-lv60": ("300m", 1.0, 315e6),
    "wavlm-large": ("300m", 1.0, 315e6),
    "w2v-bert-2.0": ("300m", 1.85, 580e6),  # a second feed-forward block and a convolution in each layer
    "xls-r-1b": ("1b", 1.0, 963e6),
    "xls-r-2b": ("2b", 1.0, 2159e6),
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


def training_flops(size: str, factor: float = 1.0, passes: int = 3) -> float:
    """Return the FLOPs of training per second of audio; `passes` of the layers are four with gradient checkpointing."""
    seconds_N = clip_seconds(2000, np.random.default_rng(0))
    stages = count_work(size, seconds_N, _TOKENS, 1, len(seconds_N), 2)
    audio_seconds = float(seconds_N.sum())
    convolutions = convolution_flops(audio_seconds)
    encoder = factor * (stages["encoder and adapter"].flops - convolutions)
    layers = encoder + stages["decoder"].flops + stages["cross-attention keys and values"].flops
    return (convolutions + passes * layers + 3 * stages["output layer"].flops) / audio_seconds


def measured_share() -> float:
    """Return the share of an H100's peak that training reached."""
    return training_flops("300m") * MEASURED_SPEED / GPUS["H100"][0]


def estimate_cost(path: Path) -> RecipeCost:
    """Estimate the cost of one recipe."""
    config: TrainConfig = read_config(path)
    size, factor, parameters = next(ENCODERS[name] for name in ENCODERS if str(config.model.encoder).endswith(name))
    flops = training_flops(size, factor, passes=4 if config.gradient_checkpointing else 3)
    batch_seconds = config.data.known_batch_seconds
    update_seconds = batch_seconds * config.data.batches_per_update
    total = parameters + _DECODER_PARAMETERS + _ADAPTER_PARAMETERS
    trained_share = 0.35 if config.trainable.preset == "lna-ed" else 1.0
    width, count, _ = SIZES[size]
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
