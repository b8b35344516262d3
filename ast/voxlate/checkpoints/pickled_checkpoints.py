"""Read the `.pt` files of fairseq and fairseq2: pickles of tensors and settings, from which only tensors are loaded.

fairseq's files refer to its own settings and to those of omegaconf. Their classes are replaced by empty ones, and any
other class is refused before anything is loaded.
"""

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from voxlate.checkpoints.conversion import modern_names
from voxlate.checkpoints.weights import check_archive, check_plain
from voxlate.errors import VoxlateError
from voxlate.json_files import shown

_HARMLESS = re.compile(
    r"argparse\.Namespace|(omegaconf|fairseq|hydra)\.[\w.]+|typing\.Any|collections\.defaultdict"
    r"|(builtins|__builtin__)\.(dict|list|tuple|set|int|float|str|bool|object|NoneType)"
    r"|numpy(\._?core)?\.(multiarray\.scalar|dtype|float64|float32|int64)|numpy\.dtypes\.\w+|_codecs\.encode"
)


class IgnoredObject:
    """A stand-in for an object of another library, which only stores its arguments and attributes."""

    def __init__(self, *arguments: object, **_: object) -> None:
        self.arguments = arguments

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


def read_pickled(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors by name, memory-mapped where the format allows it, and everything that the file holds.

    VoxlateError if the file is missing, is damaged, holds no table of tensors, or refers to code.
    """
    if not path.is_file():
        raise VoxlateError(f"{path}: no such file")
    stored = _load(path)
    tensors = stored.get("model", stored)
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in tensors.items()
    ):
        raise VoxlateError(f"{path}: has no table of tensors under 'model'; expected a fairseq checkpoint")
    check_plain(path, tensors.items())
    return tensors, stored


def rename_tensors(
    path: Path, tensors: Mapping[str, Tensor], names: Sequence[tuple[str, str]], unused: re.Pattern[str]
) -> dict[str, Tensor]:
    """Return the tensors under our names: `names` has patterns and their replacements, of which the first one applies.

    Those that match `unused` are left out. VoxlateError lists other tensors that no pattern matches.
    """
    renamed: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in tensors.items():
        if unused.match(name):
            continue
        new = next((re.sub(pattern, ours, name) for pattern, ours in names if re.match(pattern, name)), None)
        if new is None or new in renamed:
            unknown.append(name)
        else:
            renamed[new] = tensor
    if unknown:
        more = ", …" if len(unknown) > 5 else ""
        raise VoxlateError(f"{path}: {len(unknown)} unknown tensors: {', '.join(unknown[:5])}{more}")
    return modern_names(renamed)


def _load(path: Path) -> dict[str, Any]:
    try:
        mapped = zipfile.is_zipfile(path)  # the format of torch before 1.6 cannot be mapped
        check_archive(path)
        names = get_unsafe_globals_in_checkpoint(path)
        refused = [name for name in names if not _HARMLESS.fullmatch(name)]
        if refused:
            raise VoxlateError(
                f"{path}: refers to {', '.join(refused[:3])}, which no fairseq checkpoint needs; it is not loaded"
            )
        stand_ins: list[Any] = [(type(name.rpartition(".")[2], (IgnoredObject,), {}), name) for name in names]
        with safe_globals(stand_ins):
            stored = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except VoxlateError:
        raise
    except Exception as error:
        raise VoxlateError(f"{path}: not a readable checkpoint ({shown(error)}); fetch it again") from None
    if not isinstance(stored, dict):
        raise VoxlateError(f"{path}: holds a {type(stored).__name__}, expected a fairseq checkpoint")
    return stored
