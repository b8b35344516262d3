"""Choose the device and the precision that a model runs in."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from voxlate.errors import VoxlateError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
INT8 = "int8"
DTYPE_NAMES = ("auto", *_DTYPES, INT8)
_ACCELERATORS = ("cuda", "mps", "xpu")  # in the order in which "auto" prefers them
NEVER_RUN = {"mps": "GPUs of Apple (MPS)", "xpu": "GPUs of Intel (XPU)"}  # devices that nobody has run this project on
SMALL_BYTES = 200_000_000  # smaller models run in float32 on a CPU, which is fast enough


def choose_device(name: str = "auto") -> torch.device:
    """Return the device ``cpu``, ``cuda``, ``cuda:1``, …; ``auto`` is the first of cuda, mps and xpu, else the CPU.

    VoxlateError if the device cannot be used."""
    available = [kind for kind in _ACCELERATORS if _is_available(kind)]
    if name == "auto":
        return torch.device(available[0] if available else "cpu")
    try:
        device = torch.device(name.lower())
        torch.zeros(1, device=device).item()  # the meta device has no values
    except (RuntimeError, AssertionError, NotImplementedError):
        gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        gpus += [kind for kind in available if kind != "cuda"]
        expected = ", ".join(["auto", "cpu", *gpus])
        raise VoxlateError(f"device {name!r} is not usable here; expected one of {expected}") from None
    return device


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or a description of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"CPU ({platform.processor() or platform.machine()}, {os.cpu_count()} cores)"
    return torch.xpu.get_device_name(device) if device.type == "xpu" else f"{device.type.upper()} device"


def choose_dtype(name: str, device: torch.device, weight_bytes: int = 0) -> torch.dtype:
    """Return the precision by name; ``auto`` is bfloat16 if the device supports it, on a CPU only for large models.

    int8 applies to linear layers on a CPU; the returned precision applies to all other layers. VoxlateError for an
    unknown name.
    """
    if name not in DTYPE_NAMES:
        raise VoxlateError(f"unknown dtype {name!r}; expected one of {', '.join(DTYPE_NAMES)}")
    if name in _DTYPES:
        return _DTYPES[name]
    if device.type != "cpu":
        if name == INT8:
            raise VoxlateError("dtype int8 is for CPUs; use bfloat16 on a GPU")
        return torch.bfloat16 if _multiplies_bfloat16(device) else torch.float32
    prefers_bfloat16 = name == INT8 or weight_bytes >= SMALL_BYTES
    return torch.bfloat16 if prefers_bfloat16 and has_bfloat16_products() else torch.float32


def _is_available(kind: str) -> bool:
    module = torch.backends.mps if kind == "mps" else getattr(torch, kind, None)
    return bool(module is not None and module.is_available())


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether an accelerator has bfloat16; other kinds than CUDA are tried, as torch has no common question."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    try:
        ones = torch.ones(2, 2, dtype=torch.bfloat16, device=device)
        return bool((ones @ ones).tolist() == [[2.0, 2.0], [2.0, 2.0]])
    except (RuntimeError, AssertionError, TypeError):
        return False


@contextmanager
def without_cudnn_attention() -> Iterator[None]:
    """Keep torch from using cuDNN for attention, inside a `with` block or a decorated function.

    Torch prefers it on recent GPUs. But cuDNN plans each new shape, which takes far longer than the attention itself,
    and nearly every batch of speech has a new shape (meta-pytorch/torchtune#1652).
    """
    enabled = torch.backends.cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(enabled)


def has_bfloat16_products() -> bool:
    """Return whether the CPU has instructions for bfloat16 matrix products: AVX512_BF16 or AMX."""
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check() for check in checks if check is not None)
