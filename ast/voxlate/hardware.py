"""Which device and precision a model runs in."""

import torch

from voxlate.errors import VoxlateError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
DTYPE_NAMES = ("auto", *_DTYPES)


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of a name such as ``cpu``, ``cuda`` or ``cuda:1``; auto takes a GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name.lower())
        torch.zeros(1, device=device).item()  # the meta device has no values
    except (RuntimeError, AssertionError, NotImplementedError):
        gpus = "".join(f", cuda:{index}" for index in range(torch.cuda.device_count()))
        raise VoxlateError(f"device {name!r} is not usable here; expected one of auto, cpu{gpus}") from None
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the precision of a name; auto is bfloat16 on a GPU that has it, else float32."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    if name not in _DTYPES:
        raise VoxlateError(f"unknown dtype {name!r}; expected one of {', '.join(DTYPE_NAMES)}")
    return _DTYPES[name]
