"""Read and write YAML for settings, with the scalars of YAML 1.2, limits on size, and one-line errors.

YAML 1.1, which PyYAML implements, reads ``no`` as false, ``12:30`` as 750 and ``2026-01-02`` as a date. Here, as in the
core schema of YAML 1.2, these are strings, and ``1e-4`` is a number.
"""

import logging
import re
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from voxlate.errors import VoxlateError

MAX_BYTES = 2**20  # of a settings file
_MAX_DEPTH = 40  # of nested collections
_MAX_REPEATED = 2**18  # characters repeated by aliases, plus 10 for each value
_MAX_SHOWN = 120  # characters of a value in a message
_LOG = logging.getLogger(__name__)
_TAG = "tag:yaml.org,2002:"
_YAML_1_1_WORDS = {"yes", "no", "on", "off"}
_EXPONENT = r"[eE][-+]?[0-9]+"
_FLOAT = rf"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)({_EXPONENT})?|[-+]?[0-9]+{_EXPONENT}|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
_SCALARS = (  # tag, pattern of unquoted scalars, and their possible first characters
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(0|[1-9][0-9_]{0,99})|0o[0-7]{1,99}|0x[0-9a-fA-F]{1,99}", "-+0123456789"),
    ("float", _FLOAT, "-+0123456789."),
    ("merge", r"<<", "<"),
)


def load_yaml(text: str) -> Any:
    """Parse YAML into dicts, lists, strings, numbers, booleans and None. VoxlateError if it is invalid."""
    loader = None
    try:
        loader = _Loader(text)
        return loader.get_single_data()
    except _InvalidSettings as error:
        raise VoxlateError(f"{_line(error)}{error.problem}") from None
    except yaml.MarkedYAMLError as error:
        reason = ", ".join(filter(None, (error.context, error.problem)))
        raise VoxlateError(f"{_line(error)}not YAML ({truncate(reason)})") from None
    except yaml.YAMLError as error:
        raise VoxlateError(f"not YAML ({truncate(' '.join(str(error).split()))})") from None
    finally:
        if loader is not None:
            loader.dispose()


def dump_yaml(value: Any) -> str:
    """Return YAML that `load_yaml` and YAML 1.1 parsers read as the same value."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def format_value(value: object) -> str:
    """Return a value for a message, written as in YAML and truncated."""
    names = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return names[value]
    if isinstance(value, list | dict | set):
        return f"a {type(value).__name__} of {len(value)}" if len(value) > 8 else truncate(repr(value))
    return truncate(repr(value[: 2 * _MAX_SHOWN]) if isinstance(value, str) else repr(value))


def truncate(text: str) -> str:
    """Return a text for a message, truncated to 120 characters."""
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]} …"


class _InvalidSettings(yaml.MarkedYAMLError):
    """Valid YAML that is not allowed in settings."""

    def __init__(self, problem: str, node: Any) -> None:
        super().__init__(problem=problem, problem_mark=node.start_mark)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2, and limits on depth and aliases."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._size = 0  # of all values so far, including expanded aliases
        self._repeated = 0  # of the expanded aliases only
        self._sizes: dict[int, int] = {}  # of each composed node, by id()

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            node = super().compose_node(parent, index)
            size = self._sizes.get(id(node))
            if size is None:
                raise _InvalidSettings(
                    f"the anchor {truncate(str(event.anchor))} contains itself; write the values out", event
                )
            self._size, self._repeated = self._size + size, self._repeated + size
            if self._repeated > _MAX_REPEATED:
                raise _InvalidSettings("aliases repeat too much; write the values out", event)
            return node
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _InvalidSettings(f"nested more than {_MAX_DEPTH} deep; expected settings such as optimizer.lr", event)
        before = self._size
        node = super().compose_node(parent, index)
        self._size += 10 + (len(node.value) if isinstance(node, ScalarNode) else 0)
        self._sizes[id(node)] = self._size - before
        self._depth -= 1
        return node

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        if isinstance(value, str) and re.search(r"[\0\ud800-\udfff]", value):
            raise _InvalidSettings(
                f"{truncate(ascii(value))} contains a character that names and texts cannot have", node
            )
        return value

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, MappingNode):
            key_nodes: dict[str, Any] = {}
            for key, _ in node.value:
                _warn_if_ambiguous(key)
                if not isinstance(key, ScalarNode) or key.tag == f"{_TAG}merge":
                    continue
                first = key_nodes.setdefault(key.value, key)
                if first is not key:
                    line = first.start_mark.line + 1
                    raise _InvalidSettings(f"{truncate(key.value)} is given twice, first in line {line}; keep one", key)
        return super().construct_mapping(node, deep=deep)

    def construct_sequence(self, node: Any, deep: bool = False) -> list[Any]:
        if isinstance(node, SequenceNode):
            for item in node.value:
                _warn_if_ambiguous(item)
        return super().construct_sequence(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which writes no aliases and quotes strings that YAML 1.1 or 1.2 would not read as such."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _warn_if_ambiguous(node: Node) -> None:
    """Warn about an unquoted word that YAML 1.1 parsers read as a boolean."""
    if isinstance(node, ScalarNode) and node.style is None and node.value.lower() in _YAML_1_1_WORDS:
        _LOG.warning(
            "line %d: %s is read as text (%r), not as true or false; write '%s' in quotes, as other parsers differ",
            node.start_mark.line + 1, node.value, node.value, node.value,
        )  # fmt: skip


def _line(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f"line {mark.line + 1}: " if mark is not None else ""


def _number(loader: _Loader, node: Any) -> int | float:
    text = str(loader.construct_scalar(node)).replace("_", "")
    kind = node.tag.removeprefix(_TAG)
    try:
        if kind == "int":
            return int(text, 0)
        return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
    except ValueError:
        raise ConstructorError(None, None, f"{truncate(repr(text))} is not a valid {kind}", node.start_mark) from None


def _boolean(loader: _Loader, node: Any) -> bool:
    text = str(loader.construct_scalar(node)).lower()
    if text not in ("true", "false"):
        raise ConstructorError(None, None, f"{truncate(repr(text))} is neither true nor false", node.start_mark)
    return text == "true"


_Loader.yaml_implicit_resolvers = {}
for _kind, _pattern, _first in _SCALARS:
    _resolver = (f"{_TAG}{_kind}", re.compile(f"(?:{_pattern})$"), list(_first))
    _Loader.add_implicit_resolver(*_resolver)
    _Dumper.add_implicit_resolver(*_resolver)
_Loader.yaml_constructors = {
    f"{_TAG}{kind}": constructor
    for kind, constructor in {
        "bool": _boolean,
        "int": _number,
        "float": _number,
        **{kind: yaml.SafeLoader.yaml_constructors[f"{_TAG}{kind}"] for kind in ("null", "str", "seq", "map")},
    }.items()
} | {None: yaml.SafeLoader.yaml_constructors[None]}
