"""Append to files of JSON lines, and check the types of their fields.

The checks return the value, and raise TypeError if it has another type.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path


def append_json_lines(path: Path, lines: Sequence[object]) -> None:
    """Append lines to a file with one write, after half a line of a killed process on a line of their own.

    OSError if the file cannot be written.
    """
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    with os.fdopen(descriptor, "ab+", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            data = b"\n" + data
        file.write(data)


def as_text(value: object) -> str:
    """Return a string."""
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def as_integer(value: object) -> int:
    """Return an integer."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(value)
    return value


def as_number(value: object) -> float:
    """Return an integer or a float."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(value)
    return value


def as_list(value: object) -> list[object]:
    """Return a list."""
    if not isinstance(value, list):
        raise TypeError(value)
    return value


def as_texts(value: object) -> tuple[str, ...]:
    """Return a list of strings, as a tuple."""
    return tuple(map(as_text, as_list(value)))
