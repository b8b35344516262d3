"""Compare the memory of the loss over the vocabulary, forward and backward: voxlate and plain torch.

    python eval/speed/loss_memory.py [--tokens 2000] [--vocabulary-size 250054] [--width 1024] [--device cuda]

Each side runs in its own process. The peak is the growth of the resident set, or of a GPU's allocated memory, beyond
states, weight and labels: logits, what is computed from them, and the gradients of states and weight. Loss and
gradients of both sides are compared.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from voxlate.models.loss import smoothed_cross_entropy

_SMOOTHING = 0.1


def plain(states_ND: Tensor, weight_VD: Tensor, labels_N: Tensor) -> Tensor:
    """Return the summed loss in two calls of torch."""
    return F.cross_entropy(F.linear(states_ND, weight_VD), labels_N, label_smoothing=_SMOOTHING, reduction="sum")


def chunked(states_ND: Tensor, weight_VD: Tensor, labels_N: Tensor) -> Tensor:
    """Return the same sum computed by voxlate, in chunks of the vocabulary's logits."""
    return smoothed_cross_entropy(states_ND, weight_VD, labels_N, _SMOOTHING)


class PeakMemory:
    """Context manager that samples the resident set every millisecond, in bytes."""

    def __init__(self) -> None:
        self._page = 4096
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def now(self) -> int:
        """Return the current resident set of this process."""
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * self._page

    def __enter__(self) -> "PeakMemory":
        self.before = self.peak = self.now()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.peak = max(self.peak, self.now())

    def _watch(self) -> None:
        while not self._stop.wait(0.001):
            self.peak = max(self.peak, self.now())


def measure(side: str, arguments: argparse.Namespace) -> None:
    """Run one side; print its peak in bytes and its seconds; save loss and gradients."""
    generator = torch.Generator().manual_seed(0)
    shape = (arguments.vocabulary_size, arguments.width)
    device = torch.device(arguments.device)
    weight_VD = (torch.randn(shape, generator=generator) * 0.02).to(device).requires_grad_()
    states_ND = torch.randn((arguments.tokens, arguments.width), generator=generator).to(device).requires_grad_()
    labels_N = torch.randint(0, arguments.vocabulary_size, (arguments.tokens,), generator=generator).to(device)
    before = torch.cuda.memory_allocated() if device.type == "cuda" else 0
    started = time.perf_counter()
    with PeakMemory() as memory:
        loss = {"voxlate": chunked, "plain": plain}[side](states_ND, weight_VD, labels_N)
        (loss / arguments.tokens).backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    print(torch.cuda.max_memory_allocated() - before if before else memory.peak - memory.before, seconds)
    assert states_ND.grad is not None
    assert weight_VD.grad is not None
    torch.save([loss.detach().cpu(), states_ND.grad.cpu(), weight_VD.grad.cpu()], arguments.result)


def difference(first: Tensor, second: Tensor) -> float:
    """Return the largest absolute difference, relative to the largest absolute value."""
    return float((first - second).abs().max() / second.abs().max())


def main() -> None:
    """Run both sides and print the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--vocabulary-size", type=int, default=250_054)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--side", choices=["voxlate", "plain"], help="run only this side, in this process")
    parser.add_argument("--result", type=Path, help="file for loss and gradients of --side")
    arguments = parser.parse_args()
    if arguments.side:
        measure(arguments.side, arguments)
        return
    sizes = [
        f"--{name}={getattr(arguments, name.replace('-', '_'))}"
        for name in ("tokens", "vocabulary-size", "width", "device")
    ]
    peaks: dict[str, float] = {}
    results: dict[str, list[Tensor]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for side in ("voxlate", "plain"):
            path = Path(folder) / f"{side}.pt"
            command = [sys.executable, __file__, *sizes, "--side", side, "--result", str(path)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            peaks[side], seconds = (float(number) for number in output.split())
            results[side] = torch.load(path, weights_only=True)
            print(f"{side:8} {peaks[side] / 2**20:8.0f} MiB above its inputs   {seconds:6.1f} s", flush=True)
    print(f"plain torch uses {peaks['plain'] / peaks['voxlate']:.2f} times as much memory")
    for name, own, other in zip(("loss", "states", "weight"), results["voxlate"], results["plain"], strict=True):
        print(f"{name:8} differs by {difference(own, other):.1e} of the largest value")


if __name__ == "__main__":
    main()
