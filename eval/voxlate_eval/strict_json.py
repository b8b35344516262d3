"""Strict reading of text and JSON from outside: valid UTF-8, finite numbers, or a one-line error message."""

import json
import math
import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from voxlate_eval import EvaluationError


def read_text(path: Path) -> str:
    """Return a text file without its byte order mark. Raises EvaluationError if it is not UTF-8 text."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read ({error.strerror})") from None
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise EvaluationError(f"{path}: is UTF-16, expected UTF-8; save it as UTF-8")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path}: not UTF-8 (byte {error.start:,}); save it as UTF-8") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise EvaluationError(f"{path}:{line}: holds a NUL character, expected text; save it as UTF-8 text")
    return text.removeprefix("\ufeff")


def as_lines(text: str) -> list[str]:
    r"""Return the lines of a text. Only \n ends a line, and it is optional after the last one."""
    lines = text.split("\n")
    return [line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]


def parse_objects(
    path: Path, text: str, expected: str = "one object on each line", line: int = 1
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the JSON objects of a text, each with its first line number. An object may span several lines.

    `line` is the number of the text's first line in its file. Raises EvaluationError with the line of anything else.
    """
    position, first = 0, line
    while True:
        blank = _BLANK.match(text, position)
        start = blank.end() if blank else position
        line += text.count("\n", position, start)
        position = start
        if position == len(text):
            return
        try:
            found, end = _parse(text, position)
        except json.JSONDecodeError as error:
            place, reason = first + error.lineno - 1, f"{error.msg}, column {error.colno}"
            raise EvaluationError(f"{path}:{place}: not JSON ({reason}); expected {expected}") from None
        except ValueError as error:
            raise EvaluationError(f"{path}:{line}: not JSON ({error}); expected {expected}") from None
        if not isinstance(found, dict):
            raise EvaluationError(f"{path}:{line}: is {type_name(found)}, expected {expected}")
        yield line, found
        line += text.count("\n", position, end)
        position = end


def read_object(path: Path) -> dict[str, Any]:
    """Return the only JSON object of a file. Raises EvaluationError if it contains anything else."""
    objects = [found for _, found in parse_objects(path, read_text(path), "one JSON object")]
    if len(objects) != 1:
        raise EvaluationError(f"{path}: holds {len(objects)} JSON objects, expected one")
    return objects[0]


def shorten(text: str) -> str:
    """Return text for a message: on one line, cut to 80 characters."""
    text = one_line(text[:_LONGEST])
    return f"{text}…" if len(text) >= _LONGEST else text


def path_text(path: Path) -> str:
    """Return a path as valid Unicode text; bytes that are not UTF-8 become backslash escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def one_line(text: str) -> str:
    """Replace line breaks, other control characters and runs of spaces by single spaces."""
    return " ".join("".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text).split())


def type_name(value: object) -> str:
    """Return the type of a JSON value for an error message."""
    names: dict[type, str] = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list"}
    return "null" if value is None else names.get(type(value), "an object")


def is_number(value: object) -> bool:
    """Return whether a JSON value is a finite number in the range of a float."""
    try:
        return type(value) in (int, float) and math.isfinite(float(value))  # type: ignore[arg-type]
    except OverflowError:
        return False


def _parse(text: str, position: int) -> tuple[Any, int]:
    """Return the JSON value at a position, and its end. Raises ValueError if it is invalid or nested too deeply."""
    try:
        found, end = _DECODER.raw_decode(text, position)
        if _is_deep(found):
            raise RecursionError
        if "\\u" in text[position:end]:
            json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("unpaired surrogate, \\ud800 to \\udfff") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return found, end


def _is_deep(value: Any) -> bool:
    """Return whether lists and objects are nested more than 100 levels deep, which may exhaust the stack later."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            item
            for outer in level
            if isinstance(outer, (dict, list))
            for item in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


_DEEPEST = 100
_LONGEST = 80
_BLANK = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
