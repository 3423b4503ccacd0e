"""What inventory and policy say together that no configuration can be made of."""

from __future__ import annotations

from collections.abc import Iterator

from hpctools.conf.policy import Policy
from hpctools.conf.rendering import capacity, gres_conf, members, topology
from hpctools.errors import Problem
from hpctools.inventory.model import Inventory

# What other parts of the two files say, so that settings cannot say it again.
_ELSEWHERE = {
    "clustername": "inventory: cluster",
    "slurmctldhost": "slurm: controllers",
    "nodename": "inventory: nodes",
    "partitionname": "partitions",
    "include": "slurm: settings, key by key",
}
# node_conf.c, since 24.11: as many nodes as 16 bits can number.
_MOST_NODES = 65533
# TmpDisk is a number of 32 bits, of which the last two mean something else.
_MOST_TMP_MB = 2**32 - 3


def problems(inventory: Inventory, policy: Policy, release: str) -> list[Problem]:
    """All of them, each with the part of the files that it stands in."""
    return [
        *_nodes(inventory),
        *topology.problems(inventory),
        *gres_conf.problems(inventory, policy, release),
        *members.problems(policy, inventory),
        *_daemons(policy),
    ]


def _nodes(inventory: Inventory) -> Iterator[Problem]:
    if not inventory.hosts:
        yield Problem("nodes", "there are none", "nodes: [{hosts: ..., type: ...}]")
    if len(inventory.hosts) > _MOST_NODES:
        yield Problem("nodes", f"{len(inventory.hosts)}, but Slurm can have {_MOST_NODES}")
    for kind in inventory.types.values():
        if capacity.free_memory_mb(kind) < 1:
            kept, real = kind.reserved_memory_mb, capacity.real_memory_mb(kind)
            message = f"{kept} MiB are reserved of the {real} that Slurm is told of (some room is left)"
            yield Problem(f"node type {kind.name}", message, "reserve less")
        if kind.tmp_disk_mb > _MOST_TMP_MB:
            message = f"tmp_disk is {kind.tmp_disk_mb} MiB, but Slurm can have {_MOST_TMP_MB}"
            yield Problem(f"node type {kind.name}", message)


def _daemons(policy: Policy) -> Iterator[Problem]:
    if not policy.daemons.controllers:
        yield Problem("slurm: controllers", "there is none", "the host of slurmctld")
    if not policy.partitions:
        yield Problem("partitions", "there is none", "partitions: {main: {nodes: all}}")
    for key in policy.daemons.settings:
        if place := _ELSEWHERE.get(key.lower()):
            yield Problem(f"slurm: settings: {key}", "is made of other parts", place)
    if policy.daemons.database is None:
        needs = [f"qos {one.name}" for one in policy.qos]
        needs += [f"partition {one.name}: qos" for one in policy.partitions if one.qos or one.allow_qos]
        for where in needs:
            yield Problem(where, "QOS are kept in a database", "slurm: {database: {host: ...}}")
