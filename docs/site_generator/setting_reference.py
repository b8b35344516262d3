"""The reference page of the settings of a training run, from their schema."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from voxlate.config.schema import TrainConfig
from voxlate.config.sections import NewLanguage, ScratchConfig

_INTRODUCTION = """\
# Settings

This page is generated from the schema in `ast/voxlate/config`. A YAML file nests the settings by their dots:
`data.min_seconds` is `min_seconds` below `data`. On the command line, they are written with dots:
`voxlate train run.yaml data.min_seconds=0.5`. [Training](../training.md) has examples.

Paths are relative to the working directory. Unknown settings are refused.

## Run
"""
# Sections that a field of another type than a section contains.
_INNER: Mapping[str, type[BaseModel]] = {
    "model.scratch": ScratchConfig,
    "model.add_languages": NewLanguage,
}


_NAMES = {"boolean": "`true` or `false`", "string": "text"}


def settings_page() -> str:
    """Return the page in Markdown: every setting with its type, its default and its meaning."""
    return "\n".join([_INTRODUCTION, *_section(TrainConfig, "")])


def _section(model: type[BaseModel], prefix: str) -> Iterator[str]:
    schema = model.model_json_schema()
    inner: list[tuple[str, type[BaseModel]]] = []
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            inner.append((path, field.annotation))
            continue
        if path in _INNER:
            inner.append((path, _INNER[path]))
        values = describe_values(schema["properties"][name])
        default = "Required" if field.is_required() else _default(schema["properties"][name])
        meaning = " ".join((field.description or "").split())
        stated = [
            part for part in (values, default) if part and not ("Default:" in meaning and part == "Default: none")
        ]
        yield f"`{path}`\n:   {meaning}<br>*{'. '.join(stated)}.*\n"
    for path, section in inner:
        yield f"{'#' * (2 + path.count('.'))} {path}\n"
        yield f"{' '.join((section.__doc__ or '').split())}\n"
        yield from _section(section, f"{path}.{'LANGUAGE.' if section is NewLanguage else ''}")


def describe_values(schema: Mapping[str, Any]) -> str:
    """Return which values a JSON schema accepts, in words, such as "Number above 0"."""
    words = _values(schema)
    return words[:1].upper() + words[1:]


def _values(schema: Mapping[str, Any]) -> str:
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return f"{'one of ' if len(values) > 1 else ''}{', '.join(f'`{value}`' for value in values)}"
    if "anyOf" in schema:
        return " or ".join(_values(option) for option in schema["anyOf"] if option.get("type") != "null")
    if "$ref" in schema or schema.get("type") == "object":
        return "section"
    if schema["type"] == "array":
        return _array(schema)
    if schema["type"] in ("number", "integer"):
        return " ".join(["number" if schema["type"] == "number" else "whole number", *_limits(schema)])
    return "path" if schema.get("format") == "path" else _NAMES[schema["type"]]


def _array(schema: Mapping[str, Any]) -> str:
    if "prefixItems" in schema:
        items = schema["prefixItems"]
        return f"{len(items)} values, each a {_values(items[0])}"
    words = _values(schema["items"])
    return f"list, each item {words if words.startswith('one of') else f'a {words}'}"


def _limits(schema: Mapping[str, Any]) -> list[str]:
    words = {"exclusiveMinimum": "above", "minimum": "from", "exclusiveMaximum": "below", "maximum": "to"}
    return [f"{word} {schema[key]:,g}" for key, word in words.items() if key in schema and abs(schema[key]) < 2**31]


def _default(schema: Mapping[str, Any]) -> str:
    default = schema.get("default")
    shown = default if isinstance(default, str) else json.dumps(default)
    return "Default: none" if default in (None, [], {}) else f"Default: `{shown}`"
