"""Compute what the recipes cost: hours on 1, 8 and 64 GPUs, memory for each, money. Nothing is measured here.

    python eval/speed/cost.py [--gpu H100] [--share 0.35] [--price 2.5] [RECIPE ...]

Counted are the FLOPs of an update from the shapes, three times those of the forward pass for what learns, four times
with gradient checkpointing, once for the frozen convolutions; divided by a share of the GPU's peak. What processes
exchange is counted by the bandwidth between them and hidden behind the backward pass as far as that lasts.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speed.build_full_size import SIZES
from speed.roofline import front_flops, work
from speed.synthetic import clip_seconds
from voxlate.config.schema import TrainConfig, read_config

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "recipes" / "covost2"
# bfloat16 FLOP/s without sparsity, bytes of memory, and bytes/s between GPUs of a machine, of the makers' data sheets.
GPUS = {"A100": (312e12, 80e9, 300e9), "H100": (989e12, 80e9, 450e9), "H200": (989e12, 141e9, 450e9)}
_NETWORK = 50e9  # bytes/s between machines: 400 Gbit/s for each GPU
_MACHINE = 8  # GPUs of one machine
_DECODER_PARAMETERS, _ADAPTER_PARAMETERS = 459e6, 19e6
# Encoders by the end of their names: the shape whose FLOPs they have, times a factor, and parameters.
ENCODERS = {
    "xls-r-300m": ("300m", 1.0, 315e6),
    "xlsr-53": ("300m", 1.0, 315e6),
    "large-lv60": ("300m", 1.0, 315e6),
    "wavlm-large": ("300m", 1.0, 315e6),
    "w2v-bert-2.0": ("300m", 1.85, 580e6),  # a second feed-forward block and a convolution in each layer
    "xls-r-1b": ("1b", 1.0, 963e6),
    "xls-r-2b": ("2b", 1.0, 2159e6),
}
_TOKENS = 22  # of a CoVoST-2 sentence with its tag and end


@dataclass(frozen=True)
class Cost:
    """What a recipe needs."""

    recipe: str
    updates: int
    update_seconds: float  # of sound
    update_flops: float
    parameters: float
    state_bytes: float  # parameters, gradients and optimiser state
    batch_bytes: float  # activations of one batch
    sharded: bool

    def hours(self, gpus: int, flops_per_s: float, bytes_per_s: float) -> float:
        """Return the hours of the whole run on some GPUs."""
        computing = self.update_flops / gpus / flops_per_s
        moved = self.parameters * 4 * 2 * (gpus - 1) / gpus * (1.5 if self.sharded else 1.0)
        exchanging = moved / (bytes_per_s if gpus <= _MACHINE else _NETWORK) if gpus > 1 else 0.0
        return self.updates * max(computing, computing / 2 + exchanging) / 3600

    def memory(self, gpus: int) -> float:
        """Return the bytes that each GPU holds."""
        return self.state_bytes / (gpus if self.sharded else 1) + self.batch_bytes


def cost(path: Path) -> Cost:
    """Count what one recipe needs."""
    config: TrainConfig = read_config(path)
    size, factor, parameters = next(ENCODERS[name] for name in ENCODERS if str(config.model.encoder).endswith(name))
    seconds_N = clip_seconds(2000, np.random.default_rng(0))
    stages = work(size, seconds_N, _TOKENS, 1, len(seconds_N), 2)
    sound = float(seconds_N.sum())
    front = front_flops(sound)
    learning = 4 if config.gradient_checkpointing else 3
    encoder = factor * (stages["encoder and adapter"].flops - front)
    layers = encoder + stages["decoder"].flops + stages["cross-attention keys and values"].flops
    flops = (front + learning * layers + 3 * stages["output layer"].flops) / sound
    update_seconds = config.data.batch_seconds * config.data.batches_per_update
    total = parameters + _DECODER_PARAMETERS + _ADAPTER_PARAMETERS
    learnt = 0.35 if config.trainable.preset == "lna-ed" else 1.0
    width, count, _ = SIZES[size]
    frames = config.data.batch_seconds * 50
    kept = 2 * frames * width * (count if config.gradient_checkpointing else 16 * count)
    inner = 2 * frames * width * 34 + config.data.batch_seconds * 3200 * 512 * 2 * 2  # a layer; the convolutions
    return Cost(
        path.stem,
        config.optimizer.updates,
        update_seconds,
        flops * update_seconds,
        total * learnt,
        total * (4 + 12 * learnt),
        kept + inner,
        config.sharded,
    )


def table(paths: list[Path], gpu: str, share: float, price: float) -> list[str]:
    """Return the lines of a Markdown table."""
    peak, memory, bandwidth = GPUS[gpu]
    lines = [
        f"| recipe | updates | PFLOP each | hours on 1 {gpu} | on 8 | on 64 | GB on each of 8 | $ on 8 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for path in paths:
        one = cost(path)
        hours = [one.hours(count, share * peak, bandwidth) for count in (1, 8, 64)]
        held = one.memory(8)
        fits = "" if held < memory else " (too much)"
        lines.append(
            f"| `{one.recipe}` | {one.updates:,} | {one.update_flops / 1e15:.2f} | {hours[0]:.1f} | {hours[1]:.1f} | "
            f"{hours[2]:.1f} | {held / 1e9:.0f}{fits} | {hours[1] * 8 * price:,.0f} |"
        )
    return lines


def main() -> None:
    """Parse the command line, print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipes", type=Path, nargs="*", default=sorted(RECIPES.glob("*-*.yaml")))
    parser.add_argument("--gpu", choices=GPUS, default="H100")
    parser.add_argument("--share", type=float, default=0.35, help="of the peak that training reaches")
    parser.add_argument("--price", type=float, default=2.5, help="dollars for an hour of a GPU")
    arguments = parser.parse_args()
    print("\n".join(table(arguments.recipes, arguments.gpu, arguments.share, arguments.price)))


if __name__ == "__main__":
    main()
