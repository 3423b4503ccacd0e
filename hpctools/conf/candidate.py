"""A configuration as the daemons read it: its files, what they include, and the records in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import Any, TypeVar

from hpctools.conf.finding import Place
from hpctools.errors import ParseError
from hpctools.slurm import hostlist
from hpctools.slurm.conf_text import ConfFile, Line, Pair
from hpctools.slurm.units import parse_unsigned
from hpctools.slurm.yaml_text import YamlFile

# What tells one kind of node from another, lower-cased as the keys of Record.pairs.
_HARDWARE = (
    "boards",
    "corespeccount",
    "corespersocket",
    "cpus",
    "gres",
    "memspeclimit",
    "procs",
    "realmemory",
    "restrictedcorespergpu",
    "sockets",
    "socketsperboard",
    "state",
    "threadspercore",
)


T = TypeVar("T")


@dataclass(frozen=True)
class Stat:
    """What the file system says of a file. mode: the permission bits; owner: a user's name or number."""

    mode: int
    owner: str


@dataclass(frozen=True)
class Conf:
    """A file of a candidate with what it includes, in the order in which Slurm reads the lines.

    files: itself first. partial: not all of it is known (an Include was not there, or this is itself a
    file that others include), so nothing may be said to be missing in it.
    """

    kind: str
    lines: tuple[Line, ...]
    files: tuple[ConfFile, ...]
    partial: bool = False

    @property
    def path(self) -> str:
        return self.files[0].path

    @property
    def line(self) -> int:
        """A Conf is a place, too: its beginning, for what is missing in it."""
        return 1

    def all(self, key: str) -> tuple[Line, ...]:
        """The lines that begin with key, in any case."""
        return self._by_key.get(key.lower(), ())

    def get(self, key: str) -> Pair | None:
        """The pair that counts: Slurm takes the last."""
        lines = self.all(key)
        return lines[-1].pairs[0] if lines else None

    def value(self, key: str, default: str = "") -> str:
        pair = self.get(key)
        return pair.value if pair else default

    def words(self, key: str) -> list[str]:
        """The comma-separated words of a value, without their spaces; [] where it is not set."""
        return [word for part in self.value(key).split(",") if (word := part.strip())]

    def number(self, key: str, default: int) -> int | None:
        """An unsigned number as Slurm reads it; None where it is none (another rule says so)."""
        pair = self.get(key)
        return default if pair is None else number(pair.value)

    @cached_property
    def _by_key(self) -> Mapping[str, tuple[Line, ...]]:
        found: dict[str, list[Line]] = {}
        for line in self.lines:
            found.setdefault(line.key.lower(), []).append(line)
        return {key: tuple(lines) for key, lines in found.items()}

    @cached_property
    def nodes(self) -> tuple[Record, ...]:
        """The NodeName lines, with what NodeName=DEFAULT lines above them say; these not among them."""
        return tuple(self._records("NodeName"))

    @cached_property
    def partitions(self) -> tuple[Record, ...]:
        """The PartitionName lines, likewise."""
        return tuple(self._records("PartitionName"))

    @cached_property
    def node_of(self) -> Mapping[str, Record]:
        """The record of each node by its name; of a name that stands twice the first."""
        found: dict[str, Record] = {}
        for record in self.nodes:
            for name in record.names:
                found.setdefault(name, record)
        return found

    @cached_property
    def kinds(self) -> tuple[tuple[Record, ...], ...]:
        """The node lines, those together that say the same of hardware and state: many lines, few kinds."""
        found: dict[tuple[str, ...], list[Record]] = {}
        for record in self.nodes:
            pairs = record.pairs
            found.setdefault(
                tuple([pairs[key].value if key in pairs else "" for key in _HARDWARE]), []
            ).append(record)
        return tuple(map(tuple, found.values()))

    @cached_property
    def gres_types(self) -> frozenset[str]:
        """The names in GresTypes, lower-cased."""
        return frozenset(word.lower() for word in self.words("GresTypes"))

    @cached_property
    def uses_gpus(self) -> bool:
        """Whether a node has GRES of the name gpu."""
        return any(
            word.strip().split(":")[0].lower() == "gpu"
            for record in self.nodes
            for word in record.value("Gres").split(",")
        )

    @property
    def uses_slurmdbd(self) -> bool:
        return self.value("AccountingStorageType").lower() in ("accounting_storage/slurmdbd", "slurmdbd")

    def _records(self, key: str) -> Iterator[Record]:
        defaults: dict[str, Pair] = {}
        for line in self.all(key):
            own = {pair.key.lower(): pair for pair in line.pairs[1:]}
            # strcasecmp in the source: any case of DEFAULT is it.
            if line.pairs[0].value.lower() == "default":
                defaults = {**defaults, **own}
            else:
                yield Record(line, {**defaults, **own})


@dataclass(frozen=True)
class Record:
    """A NodeName or PartitionName line. pairs: by lower-cased key, those of DEFAULT lines included."""

    at: Line
    pairs: Mapping[str, Pair] = field(compare=False)

    @property
    def path(self) -> str:
        return self.at.path

    @property
    def line(self) -> int:
        return self.at.line

    @property
    def name(self) -> str:
        """The value of its first key: gpu[1-4], batch."""
        return self.at.pairs[0].value

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Each name that it stands for; () where the list cannot be read (another rule says so)."""
        try:
            return tuple(hostlist.expand(self.name))
        except ParseError:
            return ()

    def get(self, key: str) -> Pair | None:
        return self.pairs.get(key.lower())

    def value(self, key: str, default: str = "") -> str:
        pair = self.get(key)
        return pair.value if pair else default

    def number(self, key: str, default: int) -> int | None:
        pair = self.get(key)
        return default if pair is None else number(pair.value)

    def where(self, *keys: str) -> Place:
        """The first of keys that is set for it (perhaps in a DEFAULT line), else its own line."""
        return next((pair for key in keys if (pair := self.get(key))), self.at)


@dataclass(frozen=True)
class Candidate:
    """The files that are judged together, for one release.

    confs: by kind ("slurm.conf", "gres.conf", ...). yamls: likewise ("topology.yaml", ...). complete:
    all of a folder was read, so what is not here is not there; otherwise only what was named is known.
    absent: Include lines whose file could not be read, and why. stats: by path. unread: files of the
    folder that could not be read, and why.
    """

    release: str
    confs: Mapping[str, Conf]
    yamls: Mapping[str, YamlFile] = field(default_factory=dict)
    complete: bool = False
    absent: tuple[tuple[Line, str], ...] = ()
    stats: Mapping[str, Stat] = field(default_factory=dict)
    unread: tuple[tuple[str, str], ...] = ()

    @property
    def slurm(self) -> Conf | None:
        return self.confs.get("slurm.conf")

    @cached_property
    def memo(self) -> dict[object, Any]:
        """What `once` keeps."""
        return {}

    def conf(self, kind: str) -> Conf | None:
        return self.confs.get(kind)


def once(make: Callable[[Candidate], T]) -> Callable[[Candidate], T]:
    """make, computed once for each candidate, however many rules ask."""

    @wraps(make)
    def made(candidate: Candidate) -> T:
        if make not in candidate.memo:
            candidate.memo[make] = make(candidate)
        found: T = candidate.memo[make]
        return found

    return made


def number(text: str) -> int | None:
    """An unsigned number of 32 bits as Slurm reads it, UNLIMITED being 0xffffffff; None for none."""
    try:
        return parse_unsigned(text, 32)
    except ParseError:
        return None
