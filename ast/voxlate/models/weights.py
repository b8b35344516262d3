"""Tensor files of a model folder: safetensors first, else ``.bin`` that holds nothing but tensors."""

import errno
import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from voxlate.errors import VoxlateError
from voxlate.files import file_sha256, whole_file

_CANDIDATES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold the weights of a model folder, several where they are sharded."""
    for name in _CANDIDATES:
        path = folder / name
        if not path.is_file():
            continue
        if not name.endswith(".index.json"):
            return [path]
        shards = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
        missing = [shard for shard in shards if Path(shard).name != shard or not (folder / shard).is_file()]
        if missing:
            raise VoxlateError(f"{path}: shards are missing: {', '.join(missing[:5])}; fetch the whole model")
        return [folder / shard for shard in shards]
    raise VoxlateError(f"{folder}: no weights; expected one of {', '.join(_CANDIDATES)}")


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return all tensors of a model folder by name, memory-mapped: nothing is read before it is used."""
    tensors: dict[str, Tensor] = {}
    for path in weight_files(folder):
        tensors.update(_read_safetensors(path) if path.suffix == ".safetensors" else _read_bin(path))
    return tensors


def weights_sha256(folder: Path) -> str:
    """Return the SHA-256 of the weight files; of a single file it is the one that the Hub shows."""
    return file_sha256(*weight_files(folder))


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors whole or not at all. OSError where that fails, as on a full disk: the library has its own error.

    One entry of metadata at most: several come in any order, and the file would not be the same each time.
    """
    assert len(metadata) <= 1
    with whole_file(path) as part:
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part, metadata=metadata)
        except SafetensorError as error:
            raise OSError(errno.EIO, str(error), str(path)) from None


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except SafetensorError as error:
        raise VoxlateError(f"{path}: not a whole safetensors file ({error}); fetch it again") from None
    except OSError as error:
        raise VoxlateError(f"{path}: cannot be read ({error})") from None


def _read_bin(path: Path) -> dict[str, Tensor]:
    try:
        mapped = zipfile.is_zipfile(path)  # torch before 1.6 wrote another format, which cannot be mapped
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError:
        raise VoxlateError(
            f"{path}: holds Python objects besides tensors, which are never loaded; save it as safetensors"
        ) from None
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        raise VoxlateError(
            f"{path}: not a PyTorch weights file ({str(error).splitlines()[0]}); fetch it again"
        ) from None
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise VoxlateError(f"{path}: expected a table of tensors by name, got {type(loaded).__name__}")
    return cast("dict[str, Tensor]", loaded)
