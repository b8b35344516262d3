"""Identify the source code and a model's files, for the recipes of results."""

import hashlib
import json
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from voxlate.files import file_sha256


@lru_cache(1)
def source_commit() -> str | None:
    """Return the installed or checked-out commit, followed by + if files differ from it; None if it is unknown."""
    return _installed_commit() or checked_out_commit(Path(__file__).resolve().parent)


# Files besides the weights that the outputs of a model depend on.
_SETTINGS = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "sentencepiece.bpe.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "ctc.safetensors",
    "segmenter.safetensors",
    "training.json",
)


def settings_sha256(folder: Path) -> str:
    """Return the SHA-256 of the names and contents of a model folder's configs, vocabulary, and heads."""
    digest = hashlib.sha256()
    for name in _SETTINGS:
        if (folder / name).is_file():
            digest.update(f"{name} {file_sha256(folder / name)}\n".encode())
    return digest.hexdigest()


def _installed_commit() -> str | None:
    """Return the commit that pip recorded when it installed from a repository (PEP 610)."""
    try:
        record = distribution("voxlate").read_text("direct_url.json")
        return str(json.loads(record)["vcs_info"]["commit_id"]) if record else None
    except (PackageNotFoundError, KeyError, ValueError):
        return None


def checked_out_commit(package: Path) -> str | None:
    """Return the commit of the git working tree that tracks the package, or None if none does."""
    try:
        tracked = _git(package, "ls-files", "__init__.py")
        commit = _git(package, "rev-parse", "HEAD")
        changed = _git(package, "status", "--porcelain", "--untracked-files=no", ".")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}{'+' if changed else ''}" if tracked else None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
