"""What each release of Slurm knows: the keys of its files and the names of its plugins.

The tables in slurm_conf/releases/ were read in Slurm's source; scripts/release-tables writes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from hpctools.errors import ParseError

TABLES = Path(__file__).parent.parent / "data" / "slurm_conf" / "releases"

# The releases that can be asked for, oldest first.
RELEASES = ("22.05", "23.02", "23.11", "24.05", "24.11", "25.05", "25.11", "26.05")
# The tables begin earlier, so that a key which 22.05 no longer has is known to have existed.
_ORDER = ("20.11", "21.08", *RELEASES)

# The keys whose lines hold further keys, and the scope of these (parse_config.c: S_P_ARRAY with a
# handler that reads the rest of the line). Of every other line one pair is read, and no second.
RECORDS: Mapping[str, Mapping[str, str]] = {
    "slurm.conf": {
        "nodename": "NodeName",
        "partitionname": "PartitionName",
        "nodeset": "NodeSet",
        "downnodes": "DownNodes",
        "slurmctldhost": "SlurmctldHost",
        "poweraction": "PowerAction",
        "frontendname": "FrontendName",
    },
    "gres.conf": {"name": "gres.conf", "nodename": "gres.conf"},
    "topology.conf": {"switchname": "SwitchName", "blockname": "BlockName", "ringname": "RingName"},
    "job_container.conf": {"nodename": "job_container.conf", "basepath": "job_container.conf"},
}


@dataclass(frozen=True)
class Key:
    """A key as Slurm spells it. type: STRING, UINT16, UINT32, UINT64, BOOLEAN, FLOAT, ARRAY (may stand
    several times), RECORD (the line holds further keys), DEFUNCT (known, ignored, logged as an error).
    since, until: the first and last release that know it so; until is "" where the newest does.
    """

    scope: str
    name: str
    type: str
    since: str
    until: str

    @property
    def gone_since(self) -> str:
        """The first release without it; "" where the newest has it."""
        return _ORDER[_ORDER.index(self.until) + 1] if self.until else ""

    def known_to(self, release: str) -> bool:
        return at_least(release, self.since) and (not self.until or at_least(self.until, release))


def at_least(release: str, other: str) -> bool:
    """Whether release is other or newer; both major.minor."""
    return _ORDER.index(release) >= _ORDER.index(other)


def version_commands() -> list[list[str]]:
    """Who can tell the installed release, the surest first: a daemon says it without any slurm.conf, the
    commands need one that they can read.
    """
    return [[name, "-V"] for name in ("slurmctld", "slurmd", "scontrol")]


def parse_version(text: str) -> str:
    """major.minor of an answer such as "slurm-wlm 22.05.8"; Slurm's commands all give it so.

    Raises ParseError.
    """
    match = re.search(r"(?<![\w.])(\d\d\.\d\d)\.\d+", text)
    if not match:
        raise ParseError("the version of Slurm", text)
    return match[1]


def known(scope: str, release: str) -> Mapping[str, Key]:
    """The keys that release reads in scope ("slurm.conf", "NodeName", ...), by lower-cased name."""
    return _known(scope, release)


def ever(scope: str, name: str) -> tuple[Key, ...]:
    """What any release of the tables knows under name in scope, oldest first; () for none."""
    return _keys(scope).get(name.lower(), ())


def plugins(kind: str, release: str) -> frozenset[str]:
    """The names of the plugins of a type (select, task, ...) that release has in its source."""
    return frozenset(
        name
        for name, since, until in _plugins().get(kind, ())
        if at_least(release, since) and (not until or at_least(until, release))
    )


def plugin_last_release(kind: str, name: str) -> str | None:
    """The last release that has the plugin; "" where the newest has it, None where none ever had."""
    return next((until for known, _, until in _plugins().get(kind, ()) if known == name), None)


@cache
def _known(scope: str, release: str) -> Mapping[str, Key]:
    found = {name: key for name, keys in _keys(scope).items() for key in keys if key.known_to(release)}
    return MappingProxyType(found)


@cache
def _keys(scope: str) -> Mapping[str, tuple[Key, ...]]:
    return _all_keys().get(scope, {})


@cache
def _all_keys() -> Mapping[str, Mapping[str, tuple[Key, ...]]]:
    found: dict[str, dict[str, tuple[Key, ...]]] = {}
    for row in _rows("keywords.tsv"):
        key = Key(*row)
        keys = found.setdefault(key.scope, {})
        before = keys.get(key.name.lower(), ())
        keys[key.name.lower()] = tuple(sorted((*before, key), key=lambda one: _ORDER.index(one.since)))
    return found


@cache
def _plugins() -> Mapping[str, tuple[tuple[str, str, str], ...]]:
    found: dict[str, tuple[tuple[str, str, str], ...]] = {}
    for kind, name, since, until in _rows("plugins.tsv"):
        found[kind] = (*found.get(kind, ()), (name, since, until))
    return found


def _rows(name: str) -> list[list[str]]:
    _, *lines = (TABLES / name).read_text().splitlines()
    return [line.split("\t") for line in lines]
