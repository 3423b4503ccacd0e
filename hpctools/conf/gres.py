"""gres.conf as slurmd reads it, and what slurm.conf gives to nodes: by node, not by line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from hpctools.conf.candidate import Candidate, Conf, Record, once
from hpctools.conf.host_lists import why_refused
from hpctools.errors import ParseError
from hpctools.slurm import hostlist, tres
from hpctools.slurm.conf_text import Line, Pair
from hpctools.slurm.releases import at_least

# gres_is_shared_name: these share the devices of gres/gpu.
SHARED = frozenset({"mps", "shard"})
# _handle_autodetect_flags looks for these in the value, in this order; "off" must be all of it.
_DETECTIONS = {
    "full": "26.05",
    "nvml": "22.05",
    "rsmi": "22.05",
    "oneapi": "22.05",
    "nrt": "23.11",
    "nvidia": "24.11",
}
# What Flags may say of a device's environment variables (gres_flags_parse).
_ENVIRONMENT = ("nvidia_gpu_env", "amd_gpu_env", "intel_gpu_env", "opencl_env", "no_gpu_env")
_COUNT = re.compile(r"([0-9]+)(?:([kmgtp])(i?b)?)?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class GresLine:
    """A line of gres.conf that names a resource. nodes: None where it is for every node.

    order: of its place in gres.conf. files: the devices of File, or of MultipleFiles (which are one
    resource together); None where the list cannot be read. count: how many resources it stands for;
    None where that cannot be known.
    """

    order: int
    at: Line
    name: str
    type: str
    files: tuple[str, ...] | None
    count: int | None
    nodes: tuple[str, ...] | None

    @property
    def content(self) -> tuple[tuple[str, str], ...]:
        """What it says of its nodes, whichever they are."""
        return tuple(
            (pair.key.lower(), pair.value) for pair in self.at.pairs if pair.key.lower() != "nodename"
        )

    @property
    def has_file(self) -> bool:
        return self.files is None or bool(self.files)

    @property
    def shown(self) -> str:
        return f"{self.name}:{self.type}" if self.type else self.name


def gres_lines(conf: Conf | None) -> tuple[GresLine, ...]:
    """The resources of gres.conf, in its order."""
    lines = enumerate(conf.lines) if conf else ()
    return tuple(
        found
        for order, line in lines
        if line.key.lower() in ("name", "nodename") and (found := _gres_line(order, line))
    )


def _gres_line(order: int, line: Line) -> GresLine | None:
    name = line.value("Name")
    if not name:
        return None
    pair = file_pair(line)
    files = _files(pair.value) if pair else ()
    given = line.value("Count")
    count = parse_count(given) if given is not None else 1
    if given is None and pair:
        multiple = pair.key.lower() == "multiplefiles"
        count = None if files is None else 1 if multiple else len(files)
    nodes = None
    if line.key.lower() == "nodename":
        nodes = node_names(line.pairs[0].value)
    return GresLine(order, line, name.lower(), (line.value("Type") or "").lower(), files, count, nodes)


def unread_lists(candidate: Candidate) -> list[Line]:
    """The lines of gres.conf whose NodeName cannot be read: they hold for no node."""
    gres = candidate.conf("gres.conf")
    return [
        line
        for line in (gres.all("NodeName") if gres else ())
        if not node_names(line.pairs[0].value) or why_refused(line.pairs[0].value, candidate.release)
    ]


def file_pair(line: Line) -> Pair | None:
    """File (or Files, its other name), else MultipleFiles."""
    return line.get("File") or line.get("Files") or line.get("MultipleFiles")


# The same few lists of devices stand in thousands of lines.
@lru_cache(maxsize=256)
def node_names(text: str) -> tuple[str, ...]:
    """The names of a list, be they of nodes or of devices; () where it cannot be read."""
    try:
        return tuple(hostlist.expand(text))
    except ParseError:
        return ()


def parse_count(text: str) -> int | None:
    """A number with k, m, g, t, p (of 1024), kib (the same), kb (of 1000) and so on (suffix_mult)."""
    match = _COUNT.fullmatch(text)
    if not match or len(match[1]) > 18:
        return None
    base = 1000 if (match[3] or "").lower() == "b" else 1024
    power = 1 + "kmgtp".index(match[2].lower()) if match[2] else 0
    factor: int = base**power
    return int(match[1]) * factor


def environment_flags(flags: str) -> tuple[str, ...]:
    """Which of them Flags names: they are looked for in its text, not word by word."""
    flags = flags.lower()
    return tuple(word for word in _ENVIRONMENT if word in flags)


def detection(text: str, release: str) -> str | None:
    """What AutoDetect=text means to a release: a mechanism, "off", or None for nothing."""
    text = text.lower()
    if text == "off":
        return "off"
    return next((name for name in detections(release) if name in text), None)


def detections(release: str) -> list[str]:
    return [name for name, since in _DETECTIONS.items() if at_least(release, since)]


@dataclass(frozen=True)
class Wanted:
    """What the Gres of a NodeName line asks for of one name. types: how many of each type, "" for none."""

    types: Mapping[str, int]

    @property
    def count(self) -> int:
        return sum(self.types.values())


def cores_of(node: Record) -> tuple[int, int] | None:
    """Sockets and cores a socket, where slurm.conf says both; as _parse_nodename puts them together."""
    per_socket, threads = node.number("CoresPerSocket", 0), node.number("ThreadsPerCore", 1)
    sockets, boards = node.number("Sockets", 0), node.number("Boards", 1)
    if node.get("SocketsPerBoard"):
        sockets = (node.number("SocketsPerBoard", 1) or 1) * (boards or 1)
    if not sockets and per_socket and threads:
        sockets = (cpus_of(node) or 0) // (per_socket * threads)
    return (sockets, per_socket) if sockets and per_socket else None


def cpus_of(node: Record) -> int | None:
    return node.number("CPUs", 0) or node.number("Procs", 0) or None


def wanted(text: str) -> dict[str, Wanted]:
    """Gres=text by name; {} where it cannot be read (gres-syntax says so)."""
    try:
        words = tres.parse_gres(text)
    except ParseError:
        return {}
    found: dict[str, dict[str, int]] = {}
    for gres in words:
        types = found.setdefault(gres.name, {})
        types[gres.type.lower()] = types.get(gres.type.lower(), 0) + gres.count
    return {name: Wanted(types) for name, types in found.items()}


@dataclass(frozen=True)
class NodeGres:
    """Nodes of which slurm.conf and gres.conf say the same.

    record: the first of their NodeName lines; None where slurm.conf is not known. detect: as detection
    says, of their AutoDetect. name: the first of them; more: how many others.
    """

    record: Record | None
    lines: tuple[GresLine, ...]
    detect: str | None
    name: str
    more: int

    @property
    def shown(self) -> str:
        return f"{self.name} and {self.more} more" if self.more else self.name


# What of a NodeName line matters here.
_GEOMETRY = (
    "CPUs",
    "Procs",
    "Boards",
    "Sockets",
    "SocketsPerBoard",
    "CoresPerSocket",
    "ThreadsPerCore",
    "State",
)


@once
def node_gres(candidate: Candidate) -> list[NodeGres]:
    """The nodes of slurm.conf, or where that is not known those that gres.conf names, put together
    where the same holds for them.
    """
    slurm, gres, release = candidate.slurm, candidate.conf("gres.conf"), candidate.release
    lines = gres_lines(gres)
    everywhere = tuple(line for line in lines if line.nodes is None)
    own: dict[str, list[GresLine]] = {}
    # A number for all lines that say the same of their nodes.
    same_line: dict[tuple[tuple[str, str], ...], int] = {}
    said: dict[str, tuple[int, ...]] = {}
    for line in lines:
        if line.nodes:
            number = same_line.setdefault(line.content, len(same_line))
            for name in dict.fromkeys(line.nodes):
                own.setdefault(name, []).append(line)
                said[name] = (*said.get(name, ()), number)
    detect = _detections_of(gres, release)
    pair = gres.get("AutoDetect") if gres else None
    default = detection(pair.value, release) if pair else None
    groups: dict[tuple[object, ...], tuple[Record | None, list[str]]] = {}
    for record, names in _members(slurm, own):
        same = (record.value("Gres"), *map(record.value, _GEOMETRY)) if record else ()
        for name in names:
            key = (same, said.get(name, ()), detect.get(name, default))
            groups.setdefault(key, (record, []))[1].append(name)
    return [
        NodeGres(
            record,
            tuple(sorted((*everywhere, *own.get(some[0], ())), key=lambda line: line.order)),
            detect.get(some[0], default),
            some[0],
            len(some) - 1,
        )
        for record, some in groups.values()
    ]


def _members(
    slurm: Conf | None, own: Mapping[str, object]
) -> Iterator[tuple[Record | None, tuple[str, ...]]]:
    if slurm is None:
        yield None, ("any other node", *own)
    else:
        for record in slurm.nodes:
            yield record, record.names


def _detections_of(gres: Conf | None, release: str) -> dict[str, str | None]:
    """AutoDetect by node, of the lines that name nodes."""
    found = {}
    for line in gres.all("NodeName") if gres else ():
        pair = line.get("AutoDetect")
        if pair:
            for name in node_names(line.pairs[0].value):
                found[name] = detection(pair.value, release)
    return found


def _files(text: str) -> tuple[str, ...] | None:
    names = node_names(text)
    return names or None
