"""Slurm's YAML files (topology.yaml, namespace.yaml, ...), without loss: their values with their places.

As with conf_text, an edit changes only the characters of the value that it replaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpctools.slurm.conf_text import Edit

if TYPE_CHECKING:
    from yaml.nodes import Node

# Written as it is, such a word is text and nothing else in YAML.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.\[\]-]*(?:,[A-Za-z0-9_.\[\]-]+)*")
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


@dataclass(frozen=True)
class Value:
    """A value in its place. value: text of a scalar, a tuple of Values, or a mapping of Values by key.

    kind: "str", "int", "bool", "float", "null" (what YAML takes a scalar for), "list" or "map".
    """

    value: str | tuple[Value, ...] | Mapping[str, Value]
    kind: str
    path: str
    line: int
    start: int
    end: int

    def get(self, key: str) -> Value | None:
        """The value under key; None where there is none, or this is no mapping."""
        return self.value.get(key) if isinstance(self.value, Mapping) else None

    @property
    def items(self) -> tuple[Value, ...]:
        return self.value if isinstance(self.value, tuple) else ()

    @property
    def text(self) -> str:
        """The text of a scalar; "" for what is none."""
        return self.value if isinstance(self.value, str) else ""

    def walk(self) -> Iterator[tuple[str, Value]]:
        """Each (key, value) of all mappings below; one that aliases name often once."""
        seen: set[int] = set()
        stack: list[Value] = [self]
        while stack:
            value = stack.pop()
            if id(value) in seen:
                continue
            seen.add(id(value))
            if isinstance(value.value, Mapping):
                yield from value.value.items()
                stack.extend(value.value.values())
            stack.extend(value.items)


@dataclass(frozen=True)
class YamlFile:
    """One file. root: None where it is empty or no YAML; error: (line, what is wrong) in the latter case.

    repeated: keys that stand twice in one mapping, with the line of the second.
    """

    path: str
    text: str
    root: Value | None
    error: tuple[int, str] | None = None
    repeated: tuple[tuple[int, str], ...] = field(default=())

    @property
    def line(self) -> int:
        return 1

    def to_bytes(self) -> bytes:
        return self.text.encode("utf-8", "surrogateescape")


def parse(data: bytes, path: str = "") -> YamlFile:
    """The file that data is; any bytes are one, though perhaps one with an error."""
    import yaml

    text = data.decode("utf-8", "surrogateescape")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        repeated: list[tuple[int, str]] = []
        value = _value(root, path, repeated, {}) if root else None
        return YamlFile(path, text, value, None, tuple(repeated))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        return YamlFile(path, text, None, (mark.line + 1 if mark else 1, str(what)))
    except (RecursionError, ValueError) as error:
        what = "is nested too deeply" if isinstance(error, RecursionError) else str(error)
        return YamlFile(path, text, None, (1, what))


def set_value(value: Value, text: str) -> Edit:
    """The edit that gives a scalar another text, quoted where YAML would take it for something else."""
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    plain = plain or re.fullmatch(r"0|[1-9][0-9]*", text) and value.kind == "int"
    # JSON's strings are YAML's, line ends and all.
    import json

    return Edit(value.start, value.end, text if plain else json.dumps(text))


def _value(node: Node, path: str, repeated: list[tuple[int, str]], met: dict[int, Value]) -> Value:
    """met: an alias is the node that it names, read once however often it stands."""
    from yaml.nodes import MappingNode, ScalarNode, SequenceNode

    if id(node) in met:
        return met[id(node)]
    start, end = node.start_mark, node.end_mark
    place = (path, start.line + 1, start.index, end.index)
    if isinstance(node, ScalarNode):
        found = Value(str(node.value), node.tag.rpartition(":")[2], *place)
    elif isinstance(node, SequenceNode):
        found = Value(tuple(_value(item, path, repeated, met) for item in node.value), "list", *place)
    else:
        assert isinstance(node, MappingNode)  # noqa: S101 - for the type checker: there are three kinds
        values: dict[str, Value] = {}
        for key, below in node.value:
            name = str(key.value) if isinstance(key, ScalarNode) else "?"
            if name in values:
                repeated.append((key.start_mark.line + 1, name))
            values[name] = _value(below, path, repeated, met)
        found = Value(values, "map", *place)
    met[id(node)] = found
    return found
