"""Read and write the weights of a model folder: safetensors if present, else ``.bin`` files of tensors only."""

import errno
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from voxlate.checkpoints.lora import base_folder, find_adapter, merge_adapter
from voxlate.errors import VoxlateError
from voxlate.files import atomic_file, file_sha256
from voxlate.json_files import read_json, shown

_CANDIDATES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def weight_files(folder: Path) -> list[Path]:
    """Return the weight files of a model folder; for an adapter, those of its base. VoxlateError if any is missing."""
    folder = base_folder(folder)
    for name in _CANDIDATES:
        path = folder / name
        if not path.is_file():
            continue
        if not name.endswith(".index.json"):
            return [path]
        shards = sorted({*_weight_map(path).values()})
        present = {file.name for file in folder.iterdir() if file.is_file()}
        missing = [shown(shard)[1:-1] for shard in shards if shard not in present]
        if missing:
            raise VoxlateError(f"{path}: shards are missing: {', '.join(missing[:5])}; fetch the whole model")
        return [folder / shard for shard in shards]
    raise VoxlateError(f"{folder}: no weights; expected one of {', '.join(_CANDIDATES)}")


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return all tensors of a model folder by name, memory-mapped, so that they are read on access.

    For a LoRA adapter, they are those of its base with the adapter merged. VoxlateError if a file is missing or
    damaged.
    """
    adapter = find_adapter(folder)
    if adapter is not None:
        return merge_adapter(adapter, read_tensors(adapter.weights), read_weights(adapter.base))
    tensors: dict[str, Tensor] = {}
    for path in weight_files(folder):
        shard = read_tensors(path)
        repeated = sorted(tensors.keys() & shard.keys())
        if repeated:
            raise VoxlateError(f"{path}: {shown(repeated[0])} is in another shard, too; fetch the whole model")
        tensors.update(shard)
    index = next((folder / name for name in _CANDIDATES if (folder / name).is_file()), folder)
    if index.suffix == ".json":
        # An index may list more tensors: converters to safetensors omit the second of two tied ones.
        unlisted = sorted(tensors.keys() - _weight_map(index).keys())
        if unlisted:
            raise VoxlateError(
                f"{index}: does not list all tensors of its shards, such as {shown(unlisted[0])}; fetch the whole model"
            )
    return tensors


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of one ``.safetensors`` or ``.bin`` file by name, memory-mapped."""
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_bin(path)


def _weight_map(path: Path) -> dict[str, str]:
    """Return the file of each tensor of a sharded model."""
    weight_map = read_json(path, "").get("weight_map")
    suffix = f".{path.name.split('.')[1]}"  # of the shards: .safetensors or .bin
    if (
        not isinstance(weight_map, dict)
        or not weight_map
        or not all(isinstance(shard, str) for shard in weight_map.values())
    ):
        raise VoxlateError(f'{path}: expected {{"weight_map": {{"TENSOR": "FILE", …}}}}; fetch it again')
    other = next((shard for shard in weight_map.values() if Path(shard).suffix != suffix), None)
    if other is not None:
        raise VoxlateError(f"{path}: names the shard {shown(other)}; expected files that end in {suffix}")
    return cast("dict[str, str]", weight_map)


def weights_sha256(folder: Path) -> str:
    """Return the SHA-256 of the weight files; for a single file, it is the one that the Hub shows.

    For a LoRA adapter, it is that of its base; `adapter_recipe` has that of the adapter.
    """
    return file_sha256(*weight_files(folder))


def adapter_recipe(folder: Path) -> dict[str, object]:
    """Return the folder, SHA-256 and base of a LoRA adapter; an empty dict for the folder of a model."""
    adapter = find_adapter(folder)
    return {} if adapter is None else adapter.recipe()


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors atomically. OSError on failure, such as a full disk, instead of safetensors' own error.

    `metadata` has one entry at most: several are written in random order, and files would differ each time.
    """
    assert len(metadata) <= 1
    with atomic_file(path) as part:
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part, metadata=metadata)
        except SafetensorError as error:
            raise OSError(errno.EIO, str(error), str(path)) from None


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except SafetensorError as error:
        raise VoxlateError(f"{path}: an incomplete safetensors file ({shown(error)}); fetch it again") from None
    except OSError as error:
        raise VoxlateError(f"{path}: cannot be read ({shown(error)})") from None
    except Exception as error:  # unknown types and damaged files raise exceptions of many kinds
        raise VoxlateError(f"{path}: holds tensors that cannot be read ({shown(error)}); fetch it again") from None


def _read_bin(path: Path) -> dict[str, Tensor]:
    try:
        mapped = zipfile.is_zipfile(path)  # the format of torch before 1.6 cannot be mapped
        if mapped:
            check_archive(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except VoxlateError:
        raise
    except pickle.UnpicklingError:
        raise VoxlateError(
            f"{path}: holds Python objects other than tensors, which are never loaded; save it as safetensors"
        ) from None
    except Exception as error:  # damaged files raise various exceptions
        raise VoxlateError(f"{path}: not a PyTorch weights file ({shown(error)}); fetch it again") from None
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise VoxlateError(f"{path}: expected a table of tensors by name, got {type(loaded).__name__}")
    if not all(isinstance(name, str) for name in loaded):
        raise VoxlateError(f"{path}: expected a table of tensors by name, got other keys")
    tensors = dict(loaded)
    check_plain(path, tensors.items())
    return cast("dict[str, Tensor]", tensors)


def check_archive(path: Path) -> None:
    """VoxlateError if an archive has compressed files: torch writes none, and would map the compressed bytes."""
    with zipfile.ZipFile(path) as archive:
        if any(item.compress_type != zipfile.ZIP_STORED or item.flag_bits & 1 for item in archive.infolist()):
            raise VoxlateError(f"{path}: has compressed files, which torch.save does not write; fetch it again")


def check_plain(path: Path, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """VoxlateError for a tensor that is sparse, quantized, without values, or larger than the file."""
    size = path.stat().st_size
    for name, tensor in tensors:
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            kind = "quantized" if tensor.is_quantized else str(tensor.layout).removeprefix("torch.")
            where = f"{path}: {shown(name)} is a {kind} tensor on {tensor.device.type}"
            raise VoxlateError(f"{where}; expected plain tensors; save it as safetensors")
        if tensor.numel() * tensor.element_size() > size:
            raise VoxlateError(
                f"{path}: {shown(name)} is {tuple(tensor.shape)}, more than the {size:,} bytes of the file hold"
            )
