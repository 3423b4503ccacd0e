"""The nodes of a candidate: where they are said to be, and which of them are started."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hpctools.conf.candidate import Conf, Record
from hpctools.conf.verify.change import Change, added, replaced
from hpctools.conf.verify.ground import Ground
from hpctools.errors import ParseError
from hpctools.slurm import hostlist
from hpctools.slurm.conf_text import Line
from hpctools.slurm.scontrol import Partition

# As many slurmd as a small machine starts in seconds.
MOST = 24
# A name that can be a folder's.
_NAME = re.compile(r"\w[\w.-]*")
# What makes nodes alike. The rest (features, weights, addresses) slurmd does not look at.
_HARDWARE = (
    "cpus procs boards sockets socketsperboard corespersocket threadspercore realmemory tmpdisk gres "
    "corespeccount cpuspeclist memspeclimit"
).split()


@dataclass(frozen=True)
class Chosen:
    """A node to start. alike: how many nodes have its hardware, itself among them."""

    name: str
    record: Record
    alike: int


def changes(slurm: Conf, ground: Ground) -> Iterator[Change]:
    """All nodes are somewhere nobody answers, but for those that are started."""
    for line in slurm.all("NodeName"):
        names = _names(line.pairs[0].value)
        if names:
            yield from _of_line(slurm, line, names, ground)


def _of_line(slurm: Conf, line: Line, names: Sequence[str], ground: Ground) -> Iterator[Change]:
    started = [name for name in names if name in ground.started]
    pair = line.get("NodeAddr")
    count = len(_names(pair.value)) if pair else len(names)
    # A number of addresses that does not fit stays, and is refused.
    if count in (1, len(names)):
        addresses = [
            ground.address if name in ground.started else _nowhere(n) for n, name in enumerate(names)
        ]
        new = hostlist.fold(addresses if started or count > 1 else addresses[:1])
        yield (
            replaced(slurm, line, pair, new, "addresses")
            if pair
            else added(line, "NodeAddr", new, "addresses")
        )
    if bcast := line.get("BcastAddr"):
        yield replaced(slurm, line, bcast, "", "addresses")
    if not started:
        return
    # Where nobody is, the port does not matter, and numbers in a row are short to write.
    ports = [str(ground.started.get(name, 1 + n % 1000)) for n, name in enumerate(names)]
    port = line.get("Port")
    new = hostlist.fold(ports) if len(started) > 1 else str(ground.started[started[0]])
    yield replaced(slurm, line, port, new, "ports") if port else added(line, "Port", new, "ports")
    # The programs that would power it up are replaced.
    if slurm.node_of[started[0]].value("State").upper().startswith("CLOUD"):
        state = line.get("State")
        yield (
            replaced(slurm, line, state, "UNKNOWN", "prologs")
            if state
            else added(line, "State", "UNKNOWN", "prologs")
        )


def _nowhere(number: int) -> str:
    """An address of which a connection fails at once, whatever listens here: multicast (RFC 2365)."""
    return f"239.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def _names(text: str) -> list[str]:
    """[] for DEFAULT, and for what is no list (the daemons say so)."""
    try:
        return [] if text.upper() == "DEFAULT" else hostlist.expand(text)
    except ParseError:
        return []


def choose(slurm: Conf, partitions: Iterable[Partition], most: int = MOST) -> list[Chosen]:
    """One node of each kind, so that as many partitions as possible have one; then one for each partition
    that has none yet. Nodes that are configured down or for the future are not taken.
    """
    down = {name for line in slurm.all("DownNodes") for name in _names(line.pairs[0].value)}
    usable = {
        name: record
        for name, record in slurm.node_of.items()
        if name not in down and _NAME.fullmatch(name) and _usable(record.value("State", "UNKNOWN"))
    }
    members = _members(partitions)
    kinds: dict[tuple[str, ...], list[str]] = {}
    for name, record in usable.items():
        kinds.setdefault(_kind(record), []).append(name)
    alike = {name: len(names) for names in kinds.values() for name in names}
    missing = {partition for in_it in members.values() for partition in in_it}
    chosen: list[str] = []

    def take(names: Iterable[str]) -> None:
        best = max(names, key=lambda name: len(members.get(name, frozenset()) & missing))
        chosen.append(best)
        missing.difference_update(members.get(best, ()))

    for names in kinds.values():
        take(names)
    while missing:
        names = [name for name in usable if members.get(name, frozenset()) & missing]
        if not names:
            break
        take(names)
    return [Chosen(name, usable[name], alike[name]) for name in chosen[:most]]


def _usable(state: str) -> bool:
    return state.upper().split("+")[0].split("*")[0] in ("UNKNOWN", "IDLE", "CLOUD")


def _kind(record: Record) -> tuple[str, ...]:
    return tuple(record.value(key) for key in _HARDWARE)


def _members(partitions: Iterable[Partition]) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for partition in partitions:
        for name in _names(partition.node_list):
            found.setdefault(name, set()).add(partition.name)
    return {name: frozenset(names) for name, names in found.items()}
