"""The one switch for the faster parts of models, on the CPU and on GPUs."""

from torch import nn

from voxlate.models.cpu.install import Weights, install_cpu_path
from voxlate.models.gpu.gpu_path import install_gpu_path


def install_fast_path(model: nn.Module, weights: Weights = "shared") -> None:
    """Install the parts for the device that a model is on, in place; `weights` is for CPUs (see `install_cpu_path`)."""
    install_cpu_path(model, weights)
    install_gpu_path(model)
