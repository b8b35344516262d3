"""Which device and precision a model runs in."""

import torch

from voxlate.errors import VoxlateError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
INT8 = "int8"
DTYPE_NAMES = ("auto", *_DTYPES, INT8)
SMALL_BYTES = 200_000_000  # models below it keep to float32 on a CPU: they are fast enough


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of a name such as ``cpu``, ``cuda`` or ``cuda:1``; auto takes a GPU where there is one.

    From then on torch leaves no attention to cuDNN, which it prefers on recent GPUs: for each new shape, and nearly
    every batch of speech is one, it builds a plan, far longer than the attention takes (meta-pytorch/torchtune#1652).
    """
    torch.backends.cuda.enable_cudnn_sdp(False)
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
    """Return the precision of a name. auto is bfloat16 where the device has it, on a CPU for large models only.

    int8 is a matter of linear layers on a CPU: this is the precision of all that is around them.
    """
    if name not in DTYPE_NAMES:
        raise VoxlateError(f"unknown dtype {name!r}; expected one of {', '.join(DTYPE_NAMES)}")
    if name in _DTYPES:
        return _DTYPES[name]
    if device.type == "cuda":
        if name == INT8:
            raise VoxlateError("dtype int8 is for CPUs; on a GPU take bfloat16")
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    wanted = name == INT8 or weight_bytes >= SMALL_BYTES
    return torch.bfloat16 if wanted and has_bfloat16_products() else torch.float32


def has_bfloat16_products() -> bool:
    """Return whether the processor multiplies matrices in bfloat16: AVX512_BF16 or AMX."""
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check() for check in checks if check is not None)
