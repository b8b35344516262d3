"""Settings as files: YAML upon the YAML that it is based on, and ``key=value`` overrides of both."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from voxlate.config.yaml_settings import MAX_BYTES, load_yaml, shown
from voxlate.errors import VoxlateError

_MAX_PARTS = 20  # of the key of an override
_MAX_BASES = 16  # files, each the base of another


def read_settings(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return what a file says, upon what its base says; `above` are the files whose base it is.

    VoxlateError for what cannot be read, is not YAML, or is no mapping.
    """
    named = f"{path} (the base of {above[-1]})" if above else str(path)
    try:
        with path.open("rb") as file:
            contents = file.read(MAX_BYTES + 1)
        if len(contents) > MAX_BYTES:
            raise VoxlateError(f"{named}: more than {MAX_BYTES >> 20} MiB; expected a YAML file of settings")
        raw = load_yaml(contents.decode("utf-8"))
    except OSError as error:
        raise VoxlateError(f"{named}: cannot be read ({error.strerror}); expected a YAML file of settings") from None
    except UnicodeDecodeError as error:
        raise VoxlateError(f"{named}: not UTF-8 (byte {error.start}); expected a YAML file of settings") from None
    except VoxlateError as error:
        raise VoxlateError(str(error) if str(error).startswith(named) else f"{named}: {error}") from None
    if not isinstance(raw, dict):
        got = "nothing" if raw is None else type(raw).__name__
        raise VoxlateError(f"{named}: expected settings such as 'output: runs/fr-en', got {got}")
    if "base" not in raw:
        return raw
    base = raw.pop("base")
    if not isinstance(base, str) or not base:
        raise VoxlateError(f"{named}: base is {shown(base)}, expected the path of another YAML file")
    below = path.parent / base
    if os.path.realpath(below) in map(os.path.realpath, (*above, path)):
        raise VoxlateError(f"{named}: its base {below} is based on it; expected another file, or none")
    if len(above) >= _MAX_BASES:
        raise VoxlateError(f"{named}: more than {_MAX_BASES} files, each the base of another; join some of them")
    return _merged(read_settings(below, (*above, path)), raw)


def _merged(under: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with others upon them, section by section."""
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def override_settings(raw: dict[str, Any], overrides: Sequence[str]) -> Iterator[str]:
    """Set the overrides in place; yield what is wrong with them."""
    for item in overrides:
        key, separator, text = item.partition("=")
        if not separator or not key.strip():
            yield f"override {shown(item)}: expected key=value, such as optimizer.lr=1e-4"
            continue
        try:
            value = load_yaml(text)
        except VoxlateError as error:
            reason = str(error).removeprefix("line 1: ")
            reason = "its value is not YAML; quote it" if reason.startswith("not YAML") else reason
            yield f"override {shown(item)}: {reason}"
            continue
        place, parts = raw, key.strip().split(".")
        if len(parts) > _MAX_PARTS:
            yield f"override {shown(item)}: more than {_MAX_PARTS} names; expected key=value, such as optimizer.lr=1e-4"
            continue
        for part in parts[:-1]:
            if not isinstance(place.get(part), dict):
                place[part] = {}
            place = place[part]
        place[parts[-1]] = value
