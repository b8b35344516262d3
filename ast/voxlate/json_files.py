"""Read untrusted JSON files, with bounded sizes and one-line errors."""

import json
import os
from pathlib import Path
from typing import Any

from voxlate.errors import VoxlateError
from voxlate.files import special_file_kind

_MAX_BYTES = 1 << 27  # the largest file of a published model, a tokenizer.json with 256,000 pieces, is 33 MB


def read_json(path: Path, hint: str) -> dict[str, Any]:
    """Return the object in a JSON file. VoxlateError names the file and the problem, with `hint` if it is missing."""
    if kind := special_file_kind(path):
        raise VoxlateError(f"{path}: {kind}, not a regular file; expected a JSON file")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise VoxlateError(f"{path}: has {path.stat().st_size:,} bytes; expected at most {_MAX_BYTES:,}")
        value = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_without_duplicates)
    except (FileNotFoundError, NotADirectoryError):
        raise VoxlateError(f"{path.parent}: no {path.name}; {hint}") from None
    except OSError as error:
        raise VoxlateError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise VoxlateError(f"{path}: not JSON (byte {error.start:,} is not UTF-8); expected text in UTF-8") from None
    except RecursionError:
        raise VoxlateError(f"{path}: nested too deeply; expected a plain JSON object") from None
    except ValueError as error:
        raise VoxlateError(f"{path}: not JSON ({shown(error)})") from None
    if not isinstance(value, dict):
        raise VoxlateError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def entry_exists(path: Path) -> bool:
    """Return whether a path exists, even as a broken link."""
    return os.path.lexists(path)


def shown(value: object) -> str:
    """Format a value or an error for a message, on one line of at most 160 characters."""
    if isinstance(value, Exception):
        text = str(value).strip() or type(value).__name__
    else:
        text = repr(value) if _is_short(value) else type(value).__name__
    text = " ".join(text.split())
    return text if len(text) <= 160 else f"{text[:159]}…"


def _is_short(value: object) -> bool:
    if isinstance(value, dict | list):
        return len(value) <= 8 and not any(isinstance(item, dict | list) for item in value)
    return not isinstance(value, int) or isinstance(value, bool) or value.bit_length() <= 256


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in pairs:
        if key in fields:
            raise ValueError(f"the key {shown(key)} occurs twice")
        fields[key] = value
    return fields
