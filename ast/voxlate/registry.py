"""Tables of "module:attribute" names, which are imported on first use."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from voxlate.errors import VoxlateError


def resolve(table: Mapping[str, str], name: str, kind: str) -> Any:
    """Return the object that `table` names, importing its module. VoxlateError calls an unknown entry a `kind`."""
    if name not in table:
        raise VoxlateError(unknown_name(kind, name, table))
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)


def unknown_name(kind: str, name: str, known: Collection[str]) -> str:
    """Return a message about an unknown name, which suggests the closest known name or lists all of them."""
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"
    return f"unknown {kind} {name!r}; {hint}"
