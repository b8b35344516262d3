"""Settings as files: YAML files, each of which may build on another, and ``key=value`` overrides."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from voxlate.bundled import find_bundled
from voxlate.config.renamed_keys import rename_keys
from voxlate.config.yaml_settings import MAX_BYTES, format_value, load_yaml
from voxlate.errors import VoxlateError

_MAX_KEY_PARTS = 20  # of an override
_MAX_BASES = 16  # length of a chain of base files


def read_settings(path: Path, *, warn: bool = True, derived: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return the settings of a file, merged into those of its base file.

    `derived` are the files that build on this one, in order. Old keys are renamed, with a warning unless `warn` is
    False. VoxlateError if a file cannot be read, is not YAML, or is not a mapping.
    """
    name = f"{path} (the base of {derived[-1]})" if derived else str(path)
    try:
        with path.open("rb") as file:
            contents = file.read(MAX_BYTES + 1)
        if len(contents) > MAX_BYTES:
            raise VoxlateError(f"{name}: more than {MAX_BYTES >> 20} MiB; expected a YAML file of settings")
        raw = load_yaml(contents.decode("utf-8"))
        if not isinstance(raw, dict):
            got = "nothing" if raw is None else type(raw).__name__
            raise VoxlateError(f"{name}: expected settings such as 'output_dir: runs/fr-en', got {got}")
        raw = rename_keys(raw, str(path) if warn else None)
    except OSError as error:
        raise VoxlateError(f"{name}: cannot be read ({error.strerror}); expected a YAML file of settings") from None
    except UnicodeDecodeError as error:
        raise VoxlateError(f"{name}: not UTF-8 (byte {error.start}); expected a YAML file of settings") from None
    except VoxlateError as error:
        raise VoxlateError(str(error) if str(error).startswith(name) else f"{name}: {error}") from None
    if "base" not in raw:
        return raw
    base = raw.pop("base")
    if not isinstance(base, str) or not base:
        raise VoxlateError(f"{name}: base is {format_value(base)}, expected the path of another YAML file")
    base_path = path.parent / base
    if not base_path.exists() and find_bundled(base).exists():
        base_path = find_bundled(base)
    if os.path.realpath(base_path) in map(os.path.realpath, (*derived, path)):
        raise VoxlateError(f"{name}: its base {base_path} is based on it; expected another file, or none")
    if len(derived) >= _MAX_BASES:
        raise VoxlateError(f"{name}: more than {_MAX_BASES} files, each the base of another; join some of them")
    return _merge(read_settings(base_path, warn=warn, derived=(*derived, path)), raw)


def _merge(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with changes applied, recursively for sections."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def apply_overrides(raw: dict[str, Any], overrides: Sequence[str]) -> Iterator[str]:
    """Apply ``key=value`` overrides in place; yield a line for each invalid one."""
    given_keys: dict[str, str] = {}  # current name of each overridden setting -> key as given
    for item in overrides:
        shown = format_value(item)
        key, separator, text = item.partition("=")
        key = key.strip()
        parts = key.split(".")
        if not separator or not key:
            yield f"override {shown}: expected key=value, such as optimizer.lr=1e-4"
            continue
        if len(parts) > _MAX_KEY_PARTS:
            yield f"override {shown}: more than {_MAX_KEY_PARTS} names; expected key=value, such as optimizer.lr=1e-4"
            continue
        try:
            value = load_yaml(text)
        except VoxlateError as error:
            reason = str(error).removeprefix("line 1: ")
            reason = "its value is not YAML; quote it" if reason.startswith("not YAML") else reason
            yield f"override {shown}: {reason}"
            continue
        for part in reversed(parts):
            value = {part: value}
        try:
            parts, value = _unnest(rename_keys(value, f"override {shown}"), len(parts))
        except VoxlateError as error:
            yield f"override {shown}: {error}"
            continue
        new = ".".join(parts)
        if given_keys.setdefault(new, key) != key:
            yield f"override {shown}: {key} and {given_keys[new]} are the same setting; keep {new}"
            continue
        section = raw
        for part in parts[:-1]:
            if not isinstance(section.get(part), dict):
                section[part] = {}
            section = section[part]
        section[parts[-1]] = value


def _unnest(nested: Any, depth: int) -> tuple[list[str], Any]:
    """Return the keys on the way to a value at `depth` in mappings of one key each, and the value."""
    parts = []
    for _ in range(depth):
        [(part, nested)] = nested.items()
        parts.append(part)
    return parts, nested
