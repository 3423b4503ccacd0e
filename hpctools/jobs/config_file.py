"""YAML files of settings, read so that every key and value knows its line.

Scalars stay the text that was written: YAML 1.1 would make 90 minutes of "1:30" and a truth value
of "no". What a setting means is said by its reader, not by YAML.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpctools.errors import Problem

if TYPE_CHECKING:
    from yaml.nodes import Node, SequenceNode

# Deeper is a mistake, or an alias that stands within itself.
_DEEPEST = 20


@dataclass(frozen=True)
class Entry:
    """A value and the line that it stands in, from 1: text, nothing (None), or further entries.

    items: the texts of a list, whose value is None; None where it is no list.
    """

    value: str | None | Mapping[str, Entry]
    line: int
    items: tuple[str, ...] | None = None

    @property
    def entries(self) -> Mapping[str, Entry]:
        """The entries of a map; none for anything else."""
        return self.value if isinstance(self.value, Mapping) else {}


def read(
    path: Path, problems: list[Problem], lists: Collection[str] = (), maps: Collection[str] = ()
) -> Mapping[str, Entry]:
    """The entries of a YAML file; what is wrong with it is added to problems.

    Keys are told apart without regard to - and _: both become _. lists: the keys at whose second level
    lists of texts may stand; elsewhere they are problems. maps: keys, of the second level as defaults.env,
    of maps that may be written as a list of words NAME or NAME=VALUE.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    if path.exists() and not path.is_file() and not path.is_dir():
        problems.append(Problem(str(path), "is no regular file"))  # a FIFO would never end
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=loader)
    except OSError as error:
        problems.append(Problem(str(path), f"cannot be read: {error.strerror}"))
        return {}
    except UnicodeDecodeError as error:
        problems.append(Problem(str(path), f"is not UTF-8 text (byte {error.start})"))
        return {}
    except yaml.YAMLError as error:
        problems.append(_syntax(path, error))
        return {}
    if root is None:
        return {}
    entry = _entry(root, path, problems, 0, lists, maps)
    if not isinstance(entry.value, Mapping):
        problems.append(Problem(f"{path}:{entry.line}", "is no map of settings", "nodes: 4"))
    return entry.entries


def _syntax(path: Path, error: Exception) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return Problem(f"{path}:{mark.line + 1}" if mark else str(path), f"is not YAML: {what}")


def _entry(
    node: Node,
    path: Path,
    problems: list[Problem],
    depth: int,
    lists: Collection[str] = (),
    maps: Collection[str] = (),
) -> Entry:
    from yaml.nodes import MappingNode, ScalarNode, SequenceNode

    line = node.start_mark.line + 1
    if isinstance(node, ScalarNode):
        # "" in quotes is text, an empty place or ~ is nothing.
        nothing = node.tag == "tag:yaml.org,2002:null"
        return Entry(None if nothing else str(node.value), line)
    if isinstance(node, SequenceNode) and depth == 2 and lists:
        texts = tuple(str(one.value) for one in node.value if isinstance(one, ScalarNode))
        if len(texts) == len(node.value):
            return Entry(None, line, texts)
    if not isinstance(node, MappingNode) or depth > _DEEPEST:
        what = "is nested too deeply" if depth > _DEEPEST else "is a list; text is expected"
        problems.append(Problem(f"{path}:{line}", what))
        return Entry(None, line)
    found: dict[str, Entry] = {}
    for key_node, value_node in node.value:
        key_line = key_node.start_mark.line + 1
        if not isinstance(key_node, ScalarNode):
            problems.append(Problem(f"{path}:{key_line}", "a key is not text"))
            continue
        # Deeper down keys are names of the user's own: variables, options of sbatch.
        key = key_node.value.replace("-", "_") if depth == 0 else key_node.value
        if key in found:
            problems.append(_again(path, key_node.value, key_line, found[key].line))
            continue
        if key in maps and isinstance(value_node, SequenceNode):
            found[key] = _words(value_node, path, problems)
            continue
        inner = [one.removeprefix(f"{key}.") for one in maps if one.startswith(f"{key}.")]
        entry = _entry(value_node, path, problems, depth + 1, lists if depth or key in lists else (), inner)
        found[key] = Entry(entry.value, key_line if entry.value is None else entry.line, entry.items)
    return Entry(found, line)


def _words(node: SequenceNode, path: Path, problems: list[Problem]) -> Entry:
    """The map that a list of words NAME or NAME=VALUE stands for."""
    from yaml.nodes import ScalarNode

    found: dict[str, Entry] = {}
    for one in node.value:
        line = one.start_mark.line + 1
        if not isinstance(one, ScalarNode):
            problems.append(Problem(f"{path}:{line}", "is no text, NAME or NAME=VALUE"))
            continue
        name, equals, text = one.value.partition("=")
        if name in found:
            problems.append(_again(path, name, line, found[name].line))
        else:
            found[name] = Entry(text if equals else None, line)
    return Entry(found, node.start_mark.line + 1)


def _again(path: Path, name: str, line: int, first: int) -> Problem:
    return Problem(f"{path}:{line}", f"{name} stands here again; the first is in line {first}")
