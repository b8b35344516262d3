"""Find where the host would wait for a GPU, on a CPU: reading the value of a tensor that would be on the device, and
copying one there that is not in pinned memory.

A tensor counts as on the device if it was created on, or moved to, an explicit device, or computed from such a tensor.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_READS = {
    "item", "tolist", "numpy", "cpu", "__array__", "__bool__", "__int__", "__float__", "__index__", "__contains__",
    "nonzero", "argwhere", "masked_select", "unique", "equal", "allclose", "is_nonzero", "repeat_interleave",
}  # fmt: skip


class HostWaitError(AssertionError):
    """The host reads a value from the device, or copies one to it and waits."""


class ForbidHostWaits(TorchFunctionMode):
    """Within a ``with`` block, HostWaitError if the host reads a tensor on the device; `tensors` are those at first."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__()
        self.calls = 0
        for tensor in tensors:
            _mark(tensor)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        values = [*_flat(args), *_flat(kwargs.values())]
        marked = any(getattr(value, "is_marked", False) for value in values)
        if marked and self._reads(name, args, kwargs):
            raise HostWaitError(f"{name} reads a tensor on the device")
        moved = any(isinstance(value, torch.device) for value in values)
        if moved and not marked and self._waits_for_copy(name, kwargs):
            raise HostWaitError(f"{name} copies a tensor to the device, and waits for it")
        result = func(*args, **kwargs)
        self.calls += marked
        if moved and isinstance(result, Tensor):
            result = result.clone() if result is args[0] else result  # on a CPU, `to` returns the same tensor
        if marked or moved:
            for value in _flat([result]):
                _mark(value)
        return result

    def _reads(self, name: str, args: Any, kwargs: Any) -> bool:
        if name == "__getitem__":  # a mask selects a number of elements that the host must know
            return any(isinstance(value, Tensor) and value.dtype == torch.bool for value in _flat(args[1:]))
        if name == "ctc_loss":  # reads lengths on the host
            return any(getattr(value, "is_marked", False) for value in args[2:4])
        return name in _READS

    def _waits_for_copy(self, name: str, kwargs: Any) -> bool:
        return name in ("tensor", "as_tensor") or (name in ("to", "cuda") and not kwargs.get("non_blocking"))


def _mark(value: Any) -> None:
    if isinstance(value, Tensor):
        vars(value)["is_marked"] = True


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value
