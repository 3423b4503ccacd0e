"""nodes.conf: the NodeName lines, which slurm.conf includes."""

from __future__ import annotations

from collections.abc import Iterator

from hpctools.conf.rendering import capacity, text
from hpctools.inventory.model import Group, Inventory, NodeType
from hpctools.slurm import hostlist
from hpctools.slurm.releases import known


def nodes_conf(inventory: Inventory, release: str) -> str:
    """A line for each node type, and one more for each set of features or addresses of a group's own."""
    found = [text.header(release, "the nodes.")]
    for kind, groups in _alike(inventory).items():
        node_type = inventory.types[kind[0]]
        found.append(f"\n# {_described(node_type, sum(len(one.hosts) for one in groups))}\n")
        found.append(text.line(_pairs(node_type, groups, release)))
    return "".join(found)


def _alike(inventory: Inventory) -> dict[tuple[str, tuple[str, ...], bool], list[Group]]:
    """Groups that one line can stand for, in the order of the inventory."""
    found: dict[tuple[str, tuple[str, ...], bool], list[Group]] = {}
    for group in inventory.groups:
        if group.hosts:
            found.setdefault((group.type, group.features, bool(group.addresses)), []).append(group)
    return found


def _pairs(kind: NodeType, groups: list[Group], release: str) -> Iterator[tuple[str, object]]:
    keys = known("NodeName", release)
    yield "NodeName", hostlist.fold(host for group in groups for host in group.hosts)
    # As many as names: below 24.11 fewer are refused.
    yield "NodeAddr", hostlist.fold(address for group in groups for address in group.addresses)
    # No CPUs: they follow, and cannot contradict the rest.
    if kind.boards > 1:
        yield "Boards", kind.boards
        yield "SocketsPerBoard", kind.sockets
    else:
        yield "Sockets", kind.sockets
    yield "CoresPerSocket", kind.cores_per_socket
    yield "ThreadsPerCore", kind.threads_per_core
    yield "RealMemory", capacity.real_memory_mb(kind)
    yield "TmpDisk", kind.tmp_disk_mb or None
    words = capacity.gres(kind)
    yield "Gres", ",".join(f"{one.name}:{one.type + ':' if one.type else ''}{one.count}" for one in words)
    yield "CoreSpecCount", kind.reserved_cores or None
    yield "MemSpecLimit", kind.reserved_memory_mb or None
    if "restrictedcorespergpu" in keys:
        yield "RestrictedCoresPerGPU", capacity.restricted_cores(kind) or None
    yield "Features", ",".join(dict.fromkeys((*kind.features, *groups[0].features)))
    yield "Weight", kind.weight


def _described(kind: NodeType, hosts: int) -> str:
    sockets = kind.boards * kind.sockets
    gpus = "".join(f", {one.count} {one.type}" for one in kind.gpus)
    size = f"{sockets} x {kind.cores_per_socket} cores, {kind.memory_mb // 1024} GiB{gpus}"
    return f"{kind.name}: {hosts} host{'s' * (hosts > 1)}, {size}"
