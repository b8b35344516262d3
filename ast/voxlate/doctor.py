"""The report of ``voxlate doctor``: installed packages, device, precision, and a check of the audio decoder."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import torch
from huggingface_hub import constants, scan_cache_dir
from huggingface_hub.errors import CacheNotFound

import voxlate
from voxlate.audio.decoder_check import check_decoder, decoder_fingerprint
from voxlate.hardware import NEVER_RUN, SMALL_BYTES, choose_device, choose_dtype, device_name
from voxlate.published_checkpoints import PUBLISHED_TARGETS

_PACKAGES = ("torch", "transformers", "safetensors", "huggingface-hub", "sentencepiece", "av", "numpy")


def run() -> int:
    """Print the report; return 1 if the audio decoder is broken, else 0."""
    problems = check_decoder()
    for title, value in report():
        print(f"{title:16} {value}")
    for problem in problems:
        print(f"{'PROBLEM':16} audio decoder: {problem}; reinstall PyAV: pip install --force-reinstall av")
    if not problems:
        print(f"{'audio':16} ok: the built-in clip is decoded correctly")
    return 1 if problems else 0


def report() -> Iterator[tuple[str, str]]:
    """Yield the titles and values of the report."""
    yield "voxlate", f"{voxlate.__version__} on Python {platform.python_version()}, {platform.platform()}"
    yield "packages", ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    device = choose_device("auto")
    yield "device", f"{_describe(device)}; {torch.get_num_threads()} CPU threads"
    if device.type in NEVER_RUN:
        advice = "compare its results with those of --device cpu before you rely on them, and report what differs"
        yield "NOT TRIED", f"Voxlate has never been run on {NEVER_RUN[device.type]}: {advice}"
    precision = str(choose_dtype("auto", device, SMALL_BYTES)).removeprefix("torch.")
    yield "precision", f"{precision} (--dtype auto; small models on a CPU: float32)"
    yield "audio decoder", ", ".join(f"{name} {value}" for name, value in decoder_fingerprint().items())
    yield (
        "hub cache",
        f"{constants.HF_HUB_CACHE}{' (offline: HF_HUB_OFFLINE is set)' if constants.HF_HUB_OFFLINE else ''}",
    )
    yield "checkpoints", ", ".join(_cached_checkpoints()) or "none of the published ones is cached"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "MISSING"


def _describe(device: torch.device) -> str:
    name = device_name(device)
    memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0
    return f"{name}, {memory / 2**30:.0f} GiB" if memory else name


def _cached_checkpoints() -> list[str]:
    try:
        cached = {repository.repo_id for repository in scan_cache_dir().repos}
    except CacheNotFound:
        return []
    return sorted(cached & PUBLISHED_TARGETS.keys())
