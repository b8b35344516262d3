"""Tables of "module:attribute" names, resolved when they are used."""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from voxlate.errors import VoxlateError


def resolve(table: Mapping[str, str], name: str, kind: str) -> Any:
    """Return the object that `table` names, importing its module. `kind` says in errors what the table holds."""
    if name not in table:
        close = get_close_matches(name, table, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(table))}"
        raise VoxlateError(f"unknown {kind} {name!r}; {hint}")
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)
