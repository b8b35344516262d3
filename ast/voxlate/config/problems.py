"""Describe the problems of settings, one line each."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from voxlate.config.renamed_keys import old_names
from voxlate.config.yaml_settings import format_value, truncate

_MAX_PROBLEMS = 20  # in one message


def describe_errors(error: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    """Yield a line for each of pydantic's errors in settings of the class `model`."""
    for problem in error.errors(include_url=False):
        where = ".".join(truncate(str(part)) for part in problem["loc"])
        kind, got = problem["type"], problem["input"]
        if kind == "extra_forbidden":
            yield f"{where}: unknown setting{_suggestion(problem['loc'], model)}"
        elif kind == "missing":
            yield f"{where}: missing"
        elif kind == "invalid_key" or problem["loc"][-1:] == ("[key]",):
            section = where.removesuffix(".[key]")
            yield f"{section}: expected text as a name, got {format_value(got)}{_quoting_hint(got)}"
        elif isinstance(got, dict | BaseModel) and kind == "value_error":
            message = problem["msg"].removeprefix("Value error, ")
            yield f"{where}: {message}" if where else message
        else:
            hint = _quoting_hint(got) if kind in ("string_type", "path_type") else ""
            message = "expected a path" if kind == "path_type" else problem["msg"].removeprefix("Value error, ")
            yield f"{where}: {message}, got {format_value(got)}{hint}"


def list_problems(problems: Sequence[str]) -> str:
    """Return a message with the number of problems, followed by one line for each of the first ones."""
    count = f"{len(problems)} problem{'s' * (len(problems) > 1)}"
    more = len(problems) - _MAX_PROBLEMS
    return "\n  ".join([count, *problems[:_MAX_PROBLEMS], *([f"and {more} more"] if more > 0 else [])])


def _quoting_hint(value: object) -> str:
    """Return advice for a value that YAML did not read as text."""
    if isinstance(value, bool | int | float):
        return f"; write it in quotes if it is text: '{format_value(value)}'"
    return "; give a value, or write 'null' in quotes if it is text" if value is None else ""


def _suggestion(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """Suggest the setting that an unknown one resembles, or list all settings of its section."""
    fields: Mapping[str, Any] = model.model_fields
    for part in location[:-1]:
        annotation = getattr(fields.get(str(part)), "annotation", None)
        fields = getattr(annotation, "model_fields", {})
    names = {**old_names(location[:-1]), **{name: name for name in fields}}
    close = get_close_matches(str(location[-1])[:100], names, n=1)
    return f"; did you mean {names[close[0]]}?" if close else f"; expected one of {', '.join(fields)}" if fields else ""
