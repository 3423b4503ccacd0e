"""What is counted of jobs, and what each of it weighs: in proportion to the hardware."""

from __future__ import annotations

from hpctools.conf.rendering import capacity
from hpctools.conf.rendering.members import Members
from hpctools.inventory.model import Inventory


def tracked(inventory: Inventory) -> tuple[str, ...]:
    """AccountingStorageTRES: each GRES of a node, and each type of it.

    The plain name always beside the typed ones: a job that names no type is counted by it alone
    (slurm.conf(5), AccountingStorageTRES).
    """
    found: dict[str, None] = {}
    used = dict.fromkeys(group.type for group in inventory.groups if group.hosts)
    words = [one for name in used for one in capacity.gres(inventory.types[name])]
    for name in dict.fromkeys(one.name for one in words):
        found[f"gres/{name}"] = None
        found |= {f"gres/{name}:{one.type}": None for one in words if one.name == name and one.type}
    return tuple(found)


def weights(members: Members) -> str:
    """TRESBillingWeights of a partition: a CPU counts 1, all else as many CPUs as go with it.

    So half of a node's memory costs as much as half of its CPUs or of its GPUs, and CPUs cost the same
    in every partition.
    """
    kinds = [(kind, members.counts[kind.name]) for kind in members.kinds]
    cpus = sum(kind.cpus * count for kind, count in kinds)
    memory_gb = sum(capacity.free_memory_mb(kind) * count for kind, count in kinds) / 1024
    found = ["CPU=1", f"Mem={_number(cpus / memory_gb)}G"]
    for name in ("gpu", "shard", "mps"):
        near = units = 0
        for kind, count in kinds:
            amount = sum(one.count for one in capacity.gres(kind) if one.name == name)
            units += amount * count
            near += kind.cpus * count if amount else 0
        if units:
            found.append(f"GRES/{name}={_number(near / units)}")
    return ",".join(found)


def _number(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")
