"""Find the folder of a model: a local one, or a Hub id in the cache or on the network."""

import os
import re
from functools import lru_cache
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from voxlate.bundled import find_bundled
from voxlate.errors import VoxlateError

ADAPTER_CONFIG = "adapter_config.json"  # in the folder of a LoRA adapter, which has no config.json
_SMALL_FILES = ["*.json", "sentencepiece.bpe.model"]
_SAFETENSORS = ("model*.safetensors", "adapter_model.safetensors")


def find_model(model: str | Path, *, named: str = "with --model") -> Path:
    """Return the folder of `model`: a folder, a bundled one, or ``owner/name[@revision]`` on the Hub.

    Files missing from the Hub cache are downloaded: safetensors if the repository has them, else ``.bin``. With
    HF_HUB_OFFLINE=1 the network is not used. VoxlateError explains how to get a missing model; `named` is how the user
    names one on the command line.
    """
    name = str(model)
    folder = find_bundled(name)
    if name and os.path.isdir(folder):  # noqa: PTH112 (the methods of Path raise for names that are too long)
        return folder
    repository, _, revision = name.partition("@")
    if os.path.lexists(folder):
        raise VoxlateError(f"model {name!r} is a file; expected the folder with it and its config.json")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository, re.ASCII) or name.startswith((".", "/", "~")):
        raise VoxlateError(f"model {name!r}: no such folder; expected a folder or a Hub id such as owner/name")
    return _from_hub(repository, revision or None, named)


def _from_hub(repository: str, revision: str | None, named: str) -> Path:
    option = f" --revision {revision}" if revision else ""
    advice = f"run `hf download {repository}{option}` on a machine with network access"
    try:
        folder = _fetch(repository, revision, constants.HF_HUB_CACHE)
    except GatedRepoError:
        raise VoxlateError(
            f"model {repository} is gated; ask for access on its Hub page, then `hf auth login`"
        ) from None
    except RevisionNotFoundError:
        raise VoxlateError(f"model {repository} has no revision {revision!r} on the Hub") from None
    except RepositoryNotFoundError:
        raise VoxlateError(f"model {repository}: no such folder here and no such repository on the Hub") from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        reason = "HF_HUB_OFFLINE forbids downloading it" if constants.HF_HUB_OFFLINE else _reason(error)
        raise VoxlateError(
            f"model {repository} is not on this machine and {reason}; {advice}, copy the folder here, "
            f"and name it {named}"
        ) from None
    has_config = any((folder / name).is_file() for name in ("config.json", ADAPTER_CONFIG))
    if not has_config or not (_has_safetensors(folder) or any(folder.glob("*.bin"))):
        raise VoxlateError(f"model {repository} is incomplete on this machine (in {folder}); {advice}")
    return folder


@lru_cache(8)  # commands look up a model before importing torch, and again to load it: the network is used once
def _fetch(repository: str, revision: str | None, cache: str) -> Path:
    def fetch(*weights: str) -> Path:
        patterns = [*_SMALL_FILES, *weights]
        return Path(snapshot_download(repository, revision=revision, cache_dir=cache, allow_patterns=patterns))

    folder = fetch(*_SAFETENSORS)
    return folder if _has_safetensors(folder) else fetch("pytorch_model*.bin", "adapter_model.bin")


def _has_safetensors(folder: Path) -> bool:
    return any(any(folder.glob(pattern)) for pattern in _SAFETENSORS)


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error
    line = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    return f"the Hub cannot be reached ({line[:120]})"


def hub_revision(folder: Path) -> str | None:
    """Return the commit of a folder in the Hub cache, None for other folders."""
    parts = folder.parts
    return parts[-1] if len(parts) > 2 and parts[-2] == "snapshots" and parts[-3].startswith("models--") else None
