"""What an inventory comes to: a tree for people, and the same as values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from hpctools.inventory.model import Gpus, Inventory, NodeType
from hpctools.slurm import hostlist
from hpctools.slurm.units import format_memory

# A line and the lines below it.
Branch = tuple[str, Sequence["Branch"]]


def one_line(inventory: Inventory) -> str:
    """113 hosts of 4 types, 664 GPUs."""
    gpus = sum(inventory.gpu_types.values())
    parts = [f"{_count(len(inventory.hosts), 'host')} of {_count(len(inventory.types), 'type')}"]
    return ", ".join([*parts, *([_count(gpus, "GPU")] if gpus else [])])


def tree(inventory: Inventory) -> list[str]:
    """The inventory as lines: its types, its GPUs by type, its switches, its blocks and racks."""
    totals = _totals(inventory)
    gpus = ", ".join(f"{count} {name}" for name, count in inventory.gpu_types.items())
    top = (
        f"{inventory.cluster}: {one_line(inventory)}, {_count(totals['cores'], 'core')},"
        f" {_memory(totals['memory_mb'])} of memory"
    )
    branches: list[Branch] = [
        (_type_line(inventory, type), _facts(type)) for type in inventory.types.values()
    ]
    if gpus:
        branches.append((f"GPUs: {gpus}", ()))
    if inventory.leaves:
        branches.append(("switches", _switches(inventory)))
    for name, places in (("blocks", inventory.blocks), ("racks", _racks(inventory))):
        if places:
            branches.append((name, [(line, ()) for line in _places(places)]))
    return [top, *_drawn(branches, "")]


def as_dict(inventory: Inventory) -> dict[str, object]:
    """The same as values: totals, node_types with their hosts, switches, leaves and blocks."""
    return {
        "cluster": inventory.cluster,
        "totals": {**_totals(inventory), "gpu_types": dict(inventory.gpu_types)},
        "node_types": [
            asdict(type) | {"cores": type.cores, "cpus": type.cpus, "hosts": list(inventory.of_type(name))}
            for name, type in inventory.types.items()
        ],
        "switches": {switch.name: list(switch.children) for switch in inventory.switches},
        "leaves": {name: list(hosts) for name, hosts in inventory.leaves.items()},
        "blocks": {name: list(hosts) for name, hosts in inventory.blocks.items()},
        "racks": {name: list(hosts) for name, hosts in _racks(inventory).items()},
    }


def _totals(inventory: Inventory) -> dict[str, int]:
    types = list(inventory.hosts.values())
    return {
        "hosts": len(types),
        "cores": sum(type.cores for type in types),
        "cpus": sum(type.cpus for type in types),
        "memory_mb": sum(type.memory_mb for type in types),
        "gpus": sum(type.gpu_count for type in types),
    }


def _type_line(inventory: Inventory, type: NodeType) -> str:
    hosts = inventory.of_type(type.name)
    return f"{type.name}: {_hosts(hosts)}" if hosts else f"{type.name}: no hosts"


def _facts(type: NodeType) -> Sequence[Branch]:
    boards = f"{type.boards} boards x " if type.boards > 1 else ""
    threads = f" x {type.threads_per_core} threads" if type.threads_per_core > 1 else ""
    cores = f"{boards}{_count(type.sockets, 'socket')} x {_count(type.cores_per_socket, 'core')}{threads}"
    numa = f", {_count(type.numa_nodes, 'NUMA node')}" if type.numa_nodes else ""
    lines = [f"{cores}{numa}{_reserved(type.reserved_cores)}"]
    kept = f", {_memory(type.reserved_memory_mb)} of it reserved" if type.reserved_memory_mb else ""
    lines.append(f"{_memory(type.memory_mb)} of memory{kept}")
    if type.tmp_disk_mb:
        lines.append(f"{_memory(type.tmp_disk_mb)} of local disk")
    lines += [_gpus(gpus) for gpus in type.gpus]
    if type.fabric:
        rate = f" at {type.fabric.rate_gbps}G" if type.fabric.rate_gbps else ""
        lines.append(
            f"{type.fabric.hcas} x {type.fabric.kind}{rate}" if type.fabric.hcas else type.fabric.kind + rate
        )
    if type.features:
        lines.append(f"features {','.join(type.features)}")
    return [(line, ()) for line in lines]


def _reserved(cores: int) -> str:
    return f", {_count(cores, 'core')} reserved" if cores else ""


def _gpus(gpus: Gpus) -> str:
    memory = f" of {_memory(gpus.memory_mb)}" if gpus.memory_mb else ""
    divided = ""
    if gpus.mig:
        divided = f", each divided into {' and '.join(f'{each} x {profile}' for profile, each in gpus.mig)}"
    elif gpus.shard:
        divided = f", each for {gpus.shard} shards"
    elif gpus.mps:
        divided = ", shared by MPS"
    return f"{gpus.count} x {gpus.type}{memory}{divided}"


def _switches(inventory: Inventory) -> list[Branch]:
    """The trees of switches, those at the top first."""
    above = {switch.name: switch.children for switch in inventory.switches}
    below = {child for children in above.values() for child in children}
    leaves = inventory.leaves

    def branch(name: str) -> Branch:
        children = above[name]
        own = {child: leaves[child] for child in children if child in leaves}
        return name, [
            *(branch(child) for child in children if child in above),
            *((line, ()) for line in _places(own)),
        ]

    tops = [name for name in above if name not in below]
    loose = {name: hosts for name, hosts in leaves.items() if name not in below}
    return [*map(branch, tops), *((line, ()) for line in _places(loose))]


def _places(places: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A line for neighbours that have equally many hosts: leaf[01-08]: 8 hosts each, gpu[001-064]."""
    together: list[tuple[list[str], list[str]]] = []
    for name, hosts in places.items():
        if together and len(together[-1][1]) == len(hosts) * len(together[-1][0]):
            together[-1][0].append(name)
            together[-1][1].extend(hosts)
        else:
            together.append(([name], list(hosts)))
    for names, hosts in together:
        each = f"{_count(len(hosts) // len(names), 'host')}{' each' if len(names) > 1 else ''}"
        yield f"{hostlist.fold(names)}: {each}, {_short(hosts)}"


def _racks(inventory: Inventory) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for group in inventory.groups:
        for rack, host in zip(group.racks, group.hosts, strict=False):
            found.setdefault(rack, []).append(host)
    return {rack: tuple(hosts) for rack, hosts in found.items()}


def _hosts(hosts: Sequence[str]) -> str:
    return f"{_count(len(hosts), 'host')}, {_short(hosts)}"


def _short(hosts: Sequence[str]) -> str:
    """Their names in short, the end left out where even that is long."""
    text = hostlist.fold(hosts)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _drawn(branches: Sequence[Branch], indent: str) -> Iterator[str]:
    for number, (line, below) in enumerate(branches, 1):
        last = number == len(branches)
        yield f"{indent}{'└── ' if last else '├── '}{line}"
        yield from _drawn(below, indent + ("    " if last else "│   "))


def _memory(mb: int) -> str:
    """In the unit that people read it in: 2014G, 126T."""
    if mb < 100 * 1024:
        return format_memory(mb)
    if mb < 10 * 1024**2:
        return f"{round(mb / 1024)}G"
    return f"{mb / 1024**2:.1f}T".replace(".0T", "T")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
