"""Settings from all the places where they can stand, each with where it comes from.

    command line > HPCTOOLS_* > hpctools.yaml beside the target > $XDG_CONFIG_HOME/hpctools/config.yaml
    > SBATCH_* > the site's defaults > defaults

A layer is flat: "nodes", "env.NCCL_DEBUG", "set.a.b", "sbatch-option.licenses". So a map is merged
entry by entry, and the first layer that names an entry wins.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpctools.errors import ParseError, Problem
from hpctools.jobs.nearest import nearest, unknown
from hpctools.jobs.options import BY_NAME, ENTRY_NAMES, OPTIONS, Option
from hpctools.jobs.readers import OWNED, Value

if TYPE_CHECKING:
    from hpctools.jobs.config_file import Entry

# As they may stand in a file.
MAPS = tuple(name for option in OPTIONS if option.many for name in {option.key, option.name})
COMMAND_LINE, ARGUMENT, DEFAULT = "command line", "argument", "default"


@dataclass(frozen=True)
class Given:
    """A setting's text, None for an entry without one (--env K), and where it stands."""

    text: str | None
    origin: str


@dataclass(frozen=True)
class Setting:
    """A setting's value, None where it is not set; where it stands, and in which layer from 0."""

    value: Value | None
    origin: str
    layer: int


Layer = Mapping[str, Given]


@dataclass(frozen=True)
class Settings:
    """All settings that are set, by their flat names."""

    values: Mapping[str, Setting]

    def value(self, name: str) -> Value | None:
        """A setting's value, None where it is not set."""
        found = self.values.get(name)
        return found.value if found else None

    def text(self, name: str) -> str | None:
        """The value of a setting that is text."""
        found = self.value(name)
        return None if found is None else str(found)

    def number(self, name: str) -> int | None:
        """The value of a setting that is a number."""
        found = self.value(name)
        return found if isinstance(found, int) else None

    def layer(self, name: str) -> int:
        """The layer that a setting comes from; the lower it is the stronger."""
        found = self.values.get(name)
        return found.layer if found else 1 << 30

    def entries(self, name: str) -> dict[str, str | None]:
        """The entries of a map."""
        start = f"{name}."
        return {
            flat.removeprefix(start): None if setting.value is None else str(setting.value)
            for flat, setting in self.values.items()
            if flat.startswith(start)
        }

    def where(self, name: str) -> str:
        """How a problem names a setting: --nodes, $HPCTOOLS_NODES, hpctools.yaml:3: nodes."""
        found = self.values.get(name)
        return place(name, found.origin if found else DEFAULT)


def place(name: str, origin: str) -> str:
    """How a problem names a setting that comes from origin."""
    option, _, entry = name.partition(".")
    key = BY_NAME[option].key
    if origin.startswith("$"):
        return origin
    if origin == ARGUMENT:
        return f"{key}={entry}"
    if origin in (COMMAND_LINE, DEFAULT):
        return f"--{option} {entry}".rstrip()
    return f"{origin}: {key}{'.' if entry else ''}{entry}"


def given(values: Mapping[str, object], origin: str, problems: list[Problem]) -> Layer:
    """The layer of what a caller gave: by key or name, text, numbers, flags, maps, "K=V" words.

    None and empty ones are not given. An unknown name is a problem.
    """
    layer: dict[str, Given] = {}
    for key, value in values.items():
        name = key.replace("_", "-")
        option = BY_NAME.get(name)
        if option is None:
            problems.append(unknown(f"{key}=", "setting", key, (one.key for one in OPTIONS)))
        elif value is None or value is False and not option.flag:
            continue
        elif option.many:
            layer.update(_entries(name, value, origin))
        else:
            layer[name] = Given(str(value), origin)
    return layer


def _entries(name: str, value: object, origin: str) -> Iterable[tuple[str, Given]]:
    if isinstance(value, Mapping):
        for entry, text in value.items():
            yield f"{name}.{entry}", Given(None if text is None else str(text), origin)
    elif isinstance(value, Sequence):
        for word in value:
            entry, equals, text = str(word).partition("=")
            yield f"{name}.{entry}", Given(text if equals else None, origin)


def variables(environ: Mapping[str, str], problems: list[Problem]) -> Layer:
    """The layer of HPCTOOLS_* variables. One that is nearly the name of a setting is a problem, and one of
    a map, which has none.
    """
    maps = {f"HPCTOOLS_{option.key.upper()}": option.name for option in OPTIONS if option.many}
    known = {option.environment: option.name for option in OPTIONS if not option.many}
    layer = {}
    for variable in environ:
        if variable in known:
            layer[known[variable]] = Given(environ[variable], f"${variable}")
        elif variable in maps:
            name = maps[variable]
            message = f"is not read: --{name} is repeatable and has no variable"
            problems.append(Problem(f"${variable}", message, f"{BY_NAME[name].key} in hpctools.yaml"))
        elif variable.startswith("HPCTOOLS_") and (near := nearest(variable, known, 0.9)):
            problems.append(Problem(f"${variable}", "is no variable of hpctools", f"did you mean {near}?"))
    return layer


def sbatch_variables(environ: Mapping[str, str]) -> Layer:
    """The layer of a user's SBATCH_* defaults that are settings of ours, too."""
    return {
        option.name: Given(environ[option.variable], f"${option.variable}")
        for option in OPTIONS
        if option.variable and environ.get(option.variable)
    }


def file(path: Path, problems: list[Problem]) -> Layer:
    """The layer of a YAML file of settings; empty if there is none."""
    if not os.path.lexists(path):
        return {}
    from hpctools.jobs import config_file

    return of_entries(config_file.read(path, problems, maps=MAPS), str(path), problems)


def of_entries(entries: Mapping[str, Entry], path: str, problems: list[Problem]) -> Layer:
    """The layer of settings that were read from a file. Unknown keys are problems."""
    layer: dict[str, Given] = {}
    for key, entry in entries.items():
        where = f"{path}:{entry.line}"
        option = BY_NAME.get(key.replace("_", "-"))
        if option is None:
            problems.append(unknown(where, "setting", key, (one.key for one in OPTIONS)))
        elif option.many:
            layer.update(_flat(option, entry, path, problems))
        elif isinstance(entry.value, Mapping):
            problems.append(Problem(where, f"{key} is a map; text is expected", option.form))
        elif entry.value is not None:
            layer[option.name] = Given(entry.value, where)
    return layer


def _flat(option: Option, entry: Entry, path: str, problems: list[Problem]) -> dict[str, Given]:
    if not isinstance(entry.value, Mapping):
        if entry.value is not None:
            problem = Problem(f"{path}:{entry.line}", f"{option.key} is not a map", f"{option.key}: {{A: 1}}")
            problems.append(problem)
        return {}
    found: dict[str, Given] = {}
    for key, inner in entry.entries.items():
        name = f"{option.name}.{key}"
        if isinstance(inner.value, Mapping) and option.name == "set":
            found |= {
                name + flat.removeprefix("set"): value
                for flat, value in _flat(option, inner, path, problems).items()
            }
        elif isinstance(inner.value, Mapping):
            problems.append(Problem(f"{path}:{inner.line}", f"{key} is a map; text is expected"))
        else:
            found[name] = Given(inner.value, f"{path}:{inner.line}")
    return found


def merge(layers: Sequence[Layer], problems: list[Problem]) -> Settings:
    """Settings from layers, the strongest first, over the defaults. Bad values are problems."""
    values: dict[str, Setting] = {}
    seen: set[str] = set()
    for number, layer in enumerate(layers):
        for name, one in layer.items():
            if name in seen:
                continue
            seen.add(name)
            wrong, value = _read(name, one)
            if wrong:
                problems.append(wrong)
            else:
                values[name] = Setting(value, one.origin, number)
    for option in OPTIONS:
        if option.default is not None:
            values.setdefault(option.name, Setting(option.default, DEFAULT, len(layers)))
    return Settings(values)


def _read(name: str, one: Given) -> tuple[Problem | None, Value | None]:
    option_name, _, entry = name.partition(".")
    option, where = BY_NAME[option_name], place(name, one.origin)
    if option_name == "sbatch-option" and (instead := OWNED.get(entry.removeprefix("--"))):
        return Problem(where, "is not for you to set", instead), None
    try:
        if not option.many:
            return None, option.read(one.text or "")
        ENTRY_NAMES[option.name](entry)
        return None, one.text
    except ParseError as error:
        return Problem(where, str(error), option.form), None
