"""YAML as settings: the plain values of YAML 1.2, bounded in size, and every fault of a text in one line.

YAML 1.1, which PyYAML reads, takes ``no`` for false, ``12:30`` for 750 and ``2026-01-02`` for a date. Here, as in the
core schema of YAML 1.2, these are texts, and ``1e-4`` is a number.
"""

import logging
import re
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from voxlate.errors import VoxlateError

MAX_BYTES = 2**20  # of a file of settings
_MAX_DEPTH = 40  # of nested collections
_MAX_REPEATED = 2**18  # characters that aliases repeat, with 10 for each value
_MAX_SHOWN = 120  # characters of a value in a message
_LOG = logging.getLogger(__name__)
_TAG = "tag:yaml.org,2002:"
_YAML_1_1_WORDS = {"yes", "no", "on", "off"}
_EXPONENT = r"[eE][-+]?[0-9]+"
_FLOAT = rf"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)({_EXPONENT})?|[-+]?[0-9]+{_EXPONENT}|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
_PLAIN = (  # tag, pattern of a plain value, and the characters that it can begin with
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(0|[1-9][0-9_]{0,99})|0o[0-7]{1,99}|0x[0-9a-fA-F]{1,99}", "-+0123456789"),
    ("float", _FLOAT, "-+0123456789."),
    ("merge", r"<<", "<"),
)


def load_yaml(text: str) -> Any:
    """Return what a text of YAML holds: dicts, lists, texts, numbers, booleans and None. VoxlateError for any fault."""
    loader = None
    try:
        loader = _Loader(text)
        return loader.get_single_data()
    except _NotSettings as error:
        raise VoxlateError(f"{_place(error)}{error.problem}") from None
    except yaml.MarkedYAMLError as error:
        said = ", ".join(filter(None, (error.context, error.problem)))
        raise VoxlateError(f"{_place(error)}not YAML ({cut(said)})") from None
    except yaml.YAMLError as error:
        raise VoxlateError(f"not YAML ({cut(' '.join(str(error).split()))})") from None
    finally:
        if loader is not None:
            loader.dispose()


def dump_yaml(value: Any) -> str:
    """Return YAML that `load_yaml`, and readers of YAML 1.1, read as the same value."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def shown(value: object) -> str:
    """Return a value as a message shows it: as YAML names it, and cut where it is long."""
    names = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return names[value]
    if isinstance(value, list | dict | set):
        return f"a {type(value).__name__} of {len(value)}" if len(value) > 8 else cut(repr(value))
    return cut(repr(value[: 2 * _MAX_SHOWN]) if isinstance(value, str) else repr(value))


def cut(text: str) -> str:
    """Return the beginning of a text that is too long for a message."""
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]} …"


class _NotSettings(yaml.MarkedYAMLError):
    """YAML that no settings need."""

    def __init__(self, problem: str, node: Any) -> None:
        super().__init__(problem=problem, problem_mark=node.start_mark)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the plain values of YAML 1.2, and bounds on depth and aliases."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._size = self._repeated = 0  # of all values so far, aliases counted in full, and of those alone
        self._sizes: dict[int, int] = {}  # of each finished node, by its identity

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            node = super().compose_node(parent, index)
            size = self._sizes.get(id(node))
            if size is None:
                raise _NotSettings(f"the anchor {cut(str(event.anchor))} contains itself; write the values out", event)
            self._size, self._repeated = self._size + size, self._repeated + size
            if self._repeated > _MAX_REPEATED:
                raise _NotSettings("aliases repeat too much; write the values out", event)
            return node
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _NotSettings(f"nested more than {_MAX_DEPTH} deep; expected settings such as optimizer.lr", event)
        before = self._size
        node = super().compose_node(parent, index)
        self._size += 10 + (len(node.value) if isinstance(node, ScalarNode) else 0)
        self._sizes[id(node)] = self._size - before
        self._depth -= 1
        return node

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        if isinstance(value, str) and re.search(r"[\0\ud800-\udfff]", value):
            raise _NotSettings(f"{cut(ascii(value))} holds a character that no name or text can have", node)
        return value

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, MappingNode):
            given: dict[str, Any] = {}
            for key, _ in node.value:
                _warn_of_word(key)
                if not isinstance(key, ScalarNode) or key.tag == f"{_TAG}merge":
                    continue
                first = given.setdefault(key.value, key)
                if first is not key:
                    line = first.start_mark.line + 1
                    raise _NotSettings(f"{cut(key.value)} is given twice, first in line {line}; keep one", key)
        return super().construct_mapping(node, deep=deep)

    def construct_sequence(self, node: Any, deep: bool = False) -> list[Any]:
        if isinstance(node, SequenceNode):
            for item in node.value:
                _warn_of_word(item)
        return super().construct_sequence(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, that quotes what either version of YAML would not read as text, and writes no aliases."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _warn_of_word(node: Node) -> None:
    if isinstance(node, ScalarNode) and node.style is None and node.value.lower() in _YAML_1_1_WORDS:
        _LOG.warning(
            "line %d: %s is read as text (%r), not as true or false; write '%s' in quotes, for other readers of YAML",
            node.start_mark.line + 1, node.value, node.value, node.value,
        )  # fmt: skip


def _place(error: yaml.MarkedYAMLError) -> str:
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
        raise ConstructorError(None, None, f"{cut(repr(text))} is no {kind}", node.start_mark) from None


def _boolean(loader: _Loader, node: Any) -> bool:
    text = str(loader.construct_scalar(node)).lower()
    if text not in ("true", "false"):
        raise ConstructorError(None, None, f"{cut(repr(text))} is neither true nor false", node.start_mark)
    return text == "true"


_Loader.yaml_implicit_resolvers = {}
for _kind, _pattern, _first in _PLAIN:
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
