"""Choose the device and the precision that a model runs in."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from voxlate.errors import VoxlateError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
INT8 = "int8"
DTYPE_NAMES = ("auto", *_DTYPES, INT8)
SMALL_BYTES = 200_000_000  # smaller models run in float32 on a CPU, which is fast enough


def choose_device(name: str = "auto") -> torch.device:
    """Return the device ``cpu``, ``cuda``, ``cuda:1``, …; ``auto`` is a GPU if available, else the CPU.

    VoxlateError if the device cannot be used."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name.lower())
        torch.zeros(1, device=device).item()  # the meta device has no values
    except (RuntimeError, AssertionError, NotImplementedError):
        gpus = "".join(f", cuda:{index}" for index in range(torch.cuda.device_count()))
        raise VoxlateError(f"device {name!r} is not usable here; expected one of auto, cpu{gpus}") from None
    return device


def choose_dtype(name: str, device: torch.device, weight_bytes: int = 0) -> torch.dtype:
    """Return the precision by name; ``auto`` is bfloat16 if the device supports it, on a CPU only for large models.

    int8 applies to linear layers on a CPU; the returned precision applies to all other layers. VoxlateError for an
    unknown name.
    """
    if name not in DTYPE_NAMES:
        raise VoxlateError(f"unknown dtype {name!r}; expected one of {', '.join(DTYPE_NAMES)}")
    if name in _DTYPES:
        return _DTYPES[name]
    if device.type == "cuda":
        if name == INT8:
            raise VoxlateError("dtype int8 is for CPUs; use bfloat16 on a GPU")
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    prefers_bfloat16 = name == INT8 or weight_bytes >= SMALL_BYTES
    return torch.bfloat16 if prefers_bfloat16 and has_bfloat16_products() else torch.float32


def to_device(values: Sequence[int] | Tensor, device: torch.device) -> Tensor:
    """Return a tensor, or a list of whole numbers, on a device; a GPU gets it without waiting for its earlier work."""
    tensor = values if isinstance(values, Tensor) else torch.tensor(values, dtype=torch.long)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


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
