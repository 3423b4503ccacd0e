"""Which hosts a partition has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpctools.conf.policy import Partition, Policy
from hpctools.errors import ParseError, Problem
from hpctools.inventory.model import Inventory, NodeType
from hpctools.slurm import hostlist

ALL = "all"


@dataclass(frozen=True)
class Members:
    """hosts: in the inventory's order. kinds: their node types, each once. is_all: all that there are."""

    hosts: tuple[str, ...]
    kinds: tuple[NodeType, ...]
    counts: Mapping[str, int]
    is_all: bool

    @property
    def nodes(self) -> str:
        """Nodes= of a PartitionName line."""
        return "ALL" if self.is_all else hostlist.fold(self.hosts)


def members(policy: Policy, inventory: Inventory) -> Mapping[str, Members]:
    """By partition. Names that are neither a node type nor hosts count for nothing (see problems)."""
    return {one.name: _members(one, inventory) for one in policy.partitions}


def problems(policy: Policy, inventory: Inventory) -> list[Problem]:
    """Names in partitions that mean nothing, and partitions without a host."""
    found = []
    for partition in policy.partitions:
        where = f"partition {partition.name}"
        unknown = [name for name in partition.nodes if not _hosts(name, inventory)]
        for name in unknown:
            hint = f"{ALL}, a node type ({', '.join(inventory.types)}), or hosts of the inventory"
            found.append(Problem(where, f"nodes: {name} is not in the inventory", hint))
        if not partition.nodes:
            found.append(Problem(where, "nodes: is empty", f"{ALL}, a node type, or hosts"))
        for name in partition.nodes:
            missing = _missing(name, inventory) if name not in unknown else []
            if missing:
                found.append(Problem(where, f"nodes: {', '.join(missing)} of {name} not in the inventory"))
    return found


def _members(partition: Partition, inventory: Inventory) -> Members:
    wanted = {host for name in partition.nodes for host in _hosts(name, inventory)}
    is_all = len(wanted) == len(inventory.hosts)
    hosts = tuple(inventory.hosts) if is_all else tuple(one for one in inventory.hosts if one in wanted)
    counts: dict[str, int] = {}
    for host in hosts:
        name = inventory.hosts[host].name
        counts[name] = counts.get(name, 0) + 1
    return Members(hosts, tuple(inventory.types[name] for name in counts), counts, is_all)


def _hosts(name: str, inventory: Inventory) -> tuple[str, ...]:
    """What a name of `nodes` stands for: all, those of a type, or the hosts of a list that are there."""
    if name.lower() == ALL:
        return tuple(inventory.hosts)
    if name in inventory.types:
        return inventory.of_type(name)
    return tuple(host for host in _expanded(name) if host in inventory.hosts)


def _missing(name: str, inventory: Inventory) -> list[str]:
    if name.lower() == ALL or name in inventory.types:
        return []
    return [host for host in _expanded(name) if host not in inventory.hosts]


def _expanded(name: str) -> list[str]:
    try:
        return hostlist.expand(name)
    except ParseError:
        return []
