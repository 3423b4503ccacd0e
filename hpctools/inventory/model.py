"""The hardware of a cluster: node types, the hosts that are of them, and how they are wired.

Facts, as they were measured: nothing here is tuned. Memory is in MiB, as Slurm counts it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

# slurm.conf(5), NodeName: what hostname prints, short as a rule, else whole. Slurm's own names are none.
HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
# nvidia-smi mig -lgip: 1g.10gb, 3g.40gb, 1g.10gb+me, 1g.24gb-me, 1g.24gb+me.all, 4g.96gb+gfx.
MIG_PROFILE = re.compile(r"([1-9])g\.([1-9][0-9]{0,2})gb([+-][a-z]+(\.all)?)?")


@dataclass(frozen=True)
class Gpus:
    """Equal GPUs of a node.

    type: Slurm's name for them (h100), a part of the name that the driver gives. model: the driver's.
    numa: the NUMA node of each, counted from 0 among those with cores; () where unknown. files: their
    device files as a list of Slurm's, /dev/nvidia[0-7]. mig: (profile, instances on each GPU). shard:
    how many jobs may share one; mps: whether the MPS server may share them.
    """

    type: str
    count: int
    memory_mb: int | None = None
    model: str = ""
    numa: tuple[int, ...] = ()
    files: str = ""
    mig: tuple[tuple[str, int], ...] = ()
    shard: int = 0
    mps: bool = False

    @property
    def gres(self) -> tuple[tuple[str, int], ...]:
        """(type, count) as they stand in Gres=: whole GPUs, or the MIG instances of all of them."""
        if not self.mig:
            return ((self.type, self.count),)
        return tuple((f"{self.type}_{profile}", self.count * each) for profile, each in self.mig)


@dataclass(frozen=True)
class Fabric:
    """The network that jobs compute over. kind: infiniband, roce, efa, slingshot or ethernet."""

    kind: str
    hcas: int = 0
    rate_gbps: int | None = None


@dataclass(frozen=True)
class NodeType:
    """Hosts that are alike. sockets: of a board. memory_mb: as `slurmd -C` prints it.

    numa_nodes: of the whole host, those that have cores; 0 where unknown. weight: Slurm's, None for its
    default. reserved: kept from jobs for the system.
    """

    name: str
    sockets: int
    cores_per_socket: int
    threads_per_core: int
    memory_mb: int
    boards: int = 1
    tmp_disk_mb: int = 0
    numa_nodes: int = 0
    gpus: tuple[Gpus, ...] = ()
    fabric: Fabric | None = None
    features: tuple[str, ...] = ()
    weight: int | None = None
    reserved_cores: int = 0
    reserved_memory_mb: int = 0

    @property
    def cores(self) -> int:
        return self.boards * self.sockets * self.cores_per_socket

    @property
    def cpus(self) -> int:
        """Hardware threads, which is what Slurm calls CPUs where it is told of them."""
        return self.cores * self.threads_per_core

    @property
    def gpu_count(self) -> int:
        """Physical GPUs."""
        return sum(gpus.count for gpus in self.gpus)


@dataclass(frozen=True)
class Group:
    """Hosts of one type. switches, blocks, racks, addresses: one for each host, or () where not given."""

    hosts: tuple[str, ...]
    type: str
    switches: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    racks: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Switch:
    """A switch above others. Those that hosts hang on are named by the groups."""

    name: str
    children: tuple[str, ...]


@dataclass(frozen=True)
class Inventory:
    """A cluster's hardware. types: by name."""

    cluster: str
    types: Mapping[str, NodeType]
    groups: tuple[Group, ...]
    switches: tuple[Switch, ...] = ()

    @cached_property
    def hosts(self) -> Mapping[str, NodeType]:
        """The type of each host, in the order of the groups."""
        return {host: self.types[group.type] for group in self.groups for host in group.hosts}

    def of_type(self, name: str) -> tuple[str, ...]:
        """The hosts of a type."""
        return tuple(host for group in self.groups if group.type == name for host in group.hosts)

    @cached_property
    def leaves(self) -> Mapping[str, tuple[str, ...]]:
        """The hosts at each switch that has some, in the order in which they are met."""
        return _gathered(
            pair for group in self.groups for pair in zip(group.switches, group.hosts, strict=False)
        )

    @cached_property
    def blocks(self) -> Mapping[str, tuple[str, ...]]:
        """The hosts of each block (an NVLink domain), likewise."""
        return _gathered(
            pair for group in self.groups for pair in zip(group.blocks, group.hosts, strict=False)
        )

    @cached_property
    def gpu_types(self) -> Mapping[str, int]:
        """How many physical GPUs of each type there are."""
        counts: dict[str, int] = {}
        for group in self.groups:
            for gpus in self.types[group.type].gpus:
                counts[gpus.type] = counts.get(gpus.type, 0) + gpus.count * len(group.hosts)
        return counts


def _gathered(pairs: Iterator[tuple[str, str]]) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for name, host in pairs:
        found.setdefault(name, []).append(host)
    return {name: tuple(hosts) for name, hosts in found.items()}
