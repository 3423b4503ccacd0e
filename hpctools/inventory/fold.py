"""Equal hosts become a node type; a host that differs from the great majority of its series is told.

Memory that differs by a little is the same memory: firmware and kernels keep more or less of it, and
the least of it is what all hosts have. A host that lacks something (a GPU, a DIMM, a core) gets the type
of its series, and an Outlier says so: configured with what it should have, it is drained by Slurm until
it is mended, while a type made from it would hide the defect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hpctools.errors import InvalidInput, Problem
from hpctools.inventory.found import Found, in_order
from hpctools.inventory.groups import groups_of
from hpctools.inventory.model import Gpus, Group, Inventory, NodeType, Switch
from hpctools.slurm import hostlist
from hpctools.slurm.units import format_memory

# Amounts closer than this are equal: what is one DIMM of 32 short lacks 3 %.
ALIKE = 0.02


@dataclass(frozen=True)
class Outlier:
    """A host that is not as its series: what differs, how it is with the others and with this one."""

    host: str
    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.host}: {self.what}: {self.found}, and {self.expected} on the others"


@dataclass(frozen=True)
class Folded:
    """Node types by name, the hosts that are of them, and those that are not quite."""

    types: Mapping[str, NodeType]
    groups: tuple[Group, ...]
    outliers: tuple[Outlier, ...]

    def inventory(self, cluster: str, switches: Iterable[Switch] = ()) -> Inventory:
        return Inventory(cluster, self.types, self.groups, tuple(switches))


def fold(found: Iterable[Found]) -> Folded:
    """The node types of found, in the order of their first hosts. Raises InvalidInput for a host twice."""
    hosts = sorted(found, key=lambda one: in_order(one.host))
    repeated = [host for host, count in Counter(one.host for one in hosts).items() if count > 1]
    if repeated:
        raise InvalidInput([Problem(host, "was found more than once") for host in repeated])
    kinds = _kinds(hosts)
    strays = _strays(kinds)
    members: list[list[Found]] = [[one for one in kind if one.host not in strays] for kind in kinds]
    types = _named([_typical(kind) for kind in members if kind])
    members = [kind for kind in members if kind]
    place = {one.host: index for index, kind in enumerate(members) for one in kind}
    outliers: list[Outlier] = []
    for one in hosts:
        if one.host in strays:
            index = place[strays[one.host]]
            outliers += _differences(one, types[index])
            members[index].append(one)
    order = sorted(range(len(types)), key=lambda index: min(in_order(one.host) for one in members[index]))
    groups = [group for index in order for group in groups_of(types[index], members[index])]
    return Folded({types[index].name: types[index] for index in order}, tuple(groups), tuple(outliers))


def told(outliers: Iterable[Outlier]) -> list[str]:
    """A line for each thing that is odd, with all the hosts that have it."""
    hosts: dict[str, list[str]] = {}
    for outlier in outliers:
        hosts.setdefault(str(replace(outlier, host="")), []).append(outlier.host)
    return [f"{hostlist.fold(names)}{text}" for text, names in hosts.items()]


def _kinds(hosts: Sequence[Found]) -> list[list[Found]]:
    """Hosts that are alike, the most first."""
    by_shape: dict[object, list[Found]] = {}
    for one in hosts:
        by_shape.setdefault(_shape(one), []).append(one)
    kinds = list(by_shape.values())
    for amount in (_memory, _disk, _gpu_memory):
        kinds = [part for kind in kinds for part in _alike(kind, amount)]
    return sorted(kinds, key=lambda kind: (-len(kind), in_order(kind[0].host)))


def _shape(one: Found) -> object:
    """What hosts of a type have in common to the last bit."""
    gpus = tuple((gpus.count, gpus.numa, *_identity(gpus)) for gpus in one.gpus)
    cpus = (one.boards, one.sockets, one.cores_per_socket, one.threads_per_core, one.numa_nodes)
    return (cpus, gpus, one.fabric, one.weight, one.reserved_cores, one.reserved_memory_mb)


def _identity(gpus: Gpus) -> tuple[object, ...]:
    return (gpus.type, gpus.mig, gpus.shard, gpus.mps)


def _memory(one: Found) -> int:
    return one.memory_mb


def _disk(one: Found) -> int:
    return one.tmp_disk_mb


def _gpu_memory(one: Found) -> int:
    return sum(gpus.count * (gpus.memory_mb or 0) for gpus in one.gpus)


def _alike(kind: Sequence[Found], amount: Callable[[Found], int]) -> Iterator[list[Found]]:
    """kind in parts whose amounts are about those of their middle one, which most are near to."""
    left = sorted(kind, key=amount)
    while left:
        middle = amount(left[(len(left) - 1) // 2])
        near = {one.host for one in left if abs(amount(one) - middle) <= middle * ALIKE}
        yield [one for one in kind if one.host in near]
        left = [one for one in left if one.host not in near]


def _strays(kinds: Sequence[Sequence[Found]]) -> Mapping[str, str]:
    """The few hosts that are meant to be as many others of their series: each with one of those."""
    parts: list[list[Found]] = []
    for kind in kinds:
        by_series: dict[str, list[Found]] = {}
        for one in kind:
            by_series.setdefault(one.series, []).append(one)
        parts += by_series.values()
    # From the largest: what is astray itself is nobody's measure.
    parts.sort(key=len, reverse=True)
    strays: dict[str, str] = {}
    for part in parts:
        for many in parts:
            few = len(part) * 10 <= len(many) or (len(part) == 1 and len(many) >= 3)
            if not few:
                break
            if many[0].host in strays or many[0].series != part[0].series:
                continue
            if _meant_alike(part[0], many[0]):
                strays |= {one.host: many[0].host for one in part}
                break
    return strays


def _meant_alike(one: Found, other: Found) -> bool:
    """Whether one may be a defective other, and no other model: it has no other GPUs and no other CPUs."""
    known = {_identity(gpus): gpus.memory_mb or 0 for gpus in other.gpus}
    for gpus in one.gpus:
        memory = known.get(_identity(gpus))
        if memory is None or abs(memory - (gpus.memory_mb or 0)) > memory * ALIKE:
            return False
    if one.cores_per_socket == other.cores_per_socket:
        return True
    # Cores are switched off one by one; another CPU comes with other memory, too.
    return (one.gpus, one.fabric, one.sockets) == (other.gpus, other.fabric, other.sockets) and (
        abs(one.memory_mb - other.memory_mb) <= other.memory_mb * ALIKE
    )


def _typical(kind: Sequence[Found]) -> NodeType:
    """The type of hosts that are alike; it has no name yet."""
    first = kind[0]
    gpus = tuple(
        replace(
            # Drivers name a model and its files alike; should one not, most say what it is.
            Counter(one.gpus[index] for one in kind).most_common(1)[0][0],
            memory_mb=min((one.gpus[index].memory_mb or 0) for one in kind) or None,
        )
        for index in range(len(first.gpus))
    )
    return NodeType(
        name="",
        boards=first.boards,
        sockets=first.sockets,
        cores_per_socket=first.cores_per_socket,
        threads_per_core=first.threads_per_core,
        memory_mb=min(one.memory_mb for one in kind),
        tmp_disk_mb=min(one.tmp_disk_mb for one in kind),
        numa_nodes=first.numa_nodes,
        gpus=gpus,
        fabric=first.fabric,
        features=tuple(word for word in first.features if all(word in one.features for one in kind)),
        weight=first.weight,
        reserved_cores=first.reserved_cores,
        reserved_memory_mb=first.reserved_memory_mb,
    )


def _named(types: Sequence[NodeType]) -> list[NodeType]:
    """The types with names by what they are: h100-8x112c, cpu-128c; with the memory where that is not
    enough, with a number where that is not, either.
    """
    names = [_name(type) for type in types]
    names = [
        f"{name}-{-(-type.memory_mb // 1024)}g" if names.count(name) > 1 else name
        for name, type in zip(names, types, strict=True)
    ]
    met: Counter[str] = Counter()
    made = []
    for name, type in zip(names, types, strict=True):
        met[name] += 1
        made.append(replace(type, name=name if met[name] == 1 else f"{name}-{met[name]}"))
    return made


def _name(type: NodeType) -> str:
    gpus = "-".join(f"{gpus.type}{'-mig' if gpus.mig else ''}-{gpus.count}" for gpus in type.gpus)
    return f"{gpus}x{type.cores}c" if gpus else f"cpu-{type.cores}c"


def _differences(one: Found, type: NodeType) -> Iterator[Outlier]:
    """How a host is not of its type."""
    facts = (
        ("boards", type.boards, one.boards),
        ("sockets", type.sockets, one.sockets),
        ("cores per socket", type.cores_per_socket, one.cores_per_socket),
        ("threads per core", type.threads_per_core, one.threads_per_core),
        ("NUMA nodes", type.numa_nodes, one.numa_nodes),
        ("memory", *_amounts(type.memory_mb, one.memory_mb)),
        ("local disk", *_amounts(type.tmp_disk_mb, one.tmp_disk_mb)),
        ("GPUs", _gpus(type.gpus), _gpus(one.gpus)),
        ("fabric", _fabric(type), _fabric(one)),
        ("weight", type.weight, one.weight),
        ("reserved cores", type.reserved_cores, one.reserved_cores),
        ("reserved memory", *_amounts(type.reserved_memory_mb, one.reserved_memory_mb)),
    )
    told = [
        Outlier(one.host, what, str(expected), str(found))
        for what, expected, found in facts
        if expected != found
    ]
    yield from told
    if _gpus(type.gpus) == _gpus(one.gpus):
        expected, found = ([gpus.numa for gpus in some.gpus] for some in (type, one))
        if expected != found:
            yield Outlier(one.host, "NUMA nodes of its GPUs", _numbers(expected), _numbers(found))


def _amounts(expected: int, found: int) -> tuple[str, str]:
    """Two amounts of memory; the same text for both where they are about equal."""
    text = _amount(expected)
    return (text, text) if abs(found - expected) <= expected * ALIKE else (text, _amount(found))


def _amount(mb: int) -> str:
    return format_memory(mb if mb < 10 * 1024 else round(mb / 1024) * 1024)


def _gpus(gpus: Iterable[Gpus]) -> str:
    return " and ".join(f"{one.count} {one.type}" for one in gpus) or "none"


def _fabric(some: Found | NodeType) -> str:
    if some.fabric is None:
        return "none"
    hcas = f"{some.fabric.hcas} x " if some.fabric.hcas else ""
    rate = f" at {some.fabric.rate_gbps}G" if some.fabric.rate_gbps else ""
    return f"{hcas}{some.fabric.kind}{rate}"


def _numbers(lists: Sequence[Sequence[int]]) -> str:
    return "; ".join(",".join(map(str, numbers)) or "unknown" for numbers in lists)
