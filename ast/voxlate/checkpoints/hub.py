"""Find the folder of a model: a local one, or a Hub id in the cache or on the network."""

import logging
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
from voxlate.published_models import find_published, hub_id, similar_name

_LOG = logging.getLogger(__name__)
ADAPTER_CONFIG = "adapter_config.json"  # in the folder of a LoRA adapter, which has no config.json
CHECKPOINT_SUFFIX = ".pt"  # of fairseq's and fairseq2's checkpoints, which have no config.json
_SMALL_FILES = ["*.json", "sentencepiece.bpe.model"]
_SAFETENSORS = ("model*.safetensors", "adapter_model.safetensors")


def find_model(model: str | Path, *, named: str = "with --model") -> Path:
    """Return the folder of `model`: a folder, a bundled one, or ``owner/name[@revision]`` or a short name on the Hub.

    Short names are those of `published_models`. A license that forbids commercial use is reported once.

    Files missing from the Hub cache are downloaded: safetensors if the repository has them, else ``.bin``. With
    HF_HUB_OFFLINE=1 the network is not used. VoxlateError explains how to get a missing model; `named` is how the user
    names one on the command line.
    """
    name = str(model)
    folder = find_bundled(name)
    _report_license(name)
    if name and os.path.isdir(folder):  # noqa: PTH112 (the methods of Path raise for names that are too long)
        return folder
    repository, _, revision = hub_id(name).partition("@")
    if os.path.lexists(folder):
        raise VoxlateError(f"model {name!r} is a file; expected the folder with it and its config.json")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository, re.ASCII) or name.startswith((".", "/", "~")):
        similar = similar_name(name)
        hint = f"; did you mean {similar}?" if similar else "; expected a folder or a Hub id such as owner/name;"
        raise VoxlateError(f"model {name!r}: no such folder{hint} voxlate models lists short names")
    return _from_hub(repository, revision or None, named)


@lru_cache  # once for each model
def _report_license(model: str) -> None:
    known = find_published(model)
    if known is not None and known.forbids_commercial_use:
        _LOG.warning("the license of %s (%s) forbids commercial use", known.hub_id, known.license)


def find_encoder(model: str | Path, *, named: str = "with --model") -> Path:
    """Return the folder of a speech encoder, or the fairseq2 checkpoint (`.pt`) that holds one.

    `model` is as for `find_model`, or the path of a checkpoint. A folder or repository without ``config.json`` must
    have one checkpoint.
    """
    path = Path(model)
    if path.suffix == CHECKPOINT_SUFFIX:
        if not path.is_file():
            raise VoxlateError(f"{path}: no such file; expected a fairseq2 checkpoint, such as omniASR-W2V-300M.pt")
        return path
    folder = find_model(model, named=named)
    checkpoints = sorted(folder.glob(f"*{CHECKPOINT_SUFFIX}"))
    if _has_config(folder) or not checkpoints:
        return folder
    if len(checkpoints) > 1:
        raise VoxlateError(
            f"{folder}: has no config.json, and {len(checkpoints)} checkpoints; name one of them {named}"
        )
    return checkpoints[0]


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
    has_weights = _has_safetensors(folder) or any(folder.glob("*.bin"))
    if not (_has_config(folder) and has_weights) and not any(folder.glob(f"*{CHECKPOINT_SUFFIX}")):
        raise VoxlateError(f"model {repository} is incomplete on this machine (in {folder}); {advice}")
    return folder


@lru_cache(8)  # commands look up a model before importing torch, and again to load it: the network is used once
def _fetch(repository: str, revision: str | None, cache: str) -> Path:
    def fetch(*weights: str) -> Path:
        patterns = [*_SMALL_FILES, *weights]
        return Path(snapshot_download(repository, revision=revision, cache_dir=cache, allow_patterns=patterns))

    folder = fetch(*_SAFETENSORS)
    if not _has_safetensors(folder):
        folder = fetch("pytorch_model*.bin", "adapter_model.bin")
    return folder if _has_config(folder) else fetch(f"*{CHECKPOINT_SUFFIX}")


def _has_config(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("config.json", ADAPTER_CONFIG))


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
