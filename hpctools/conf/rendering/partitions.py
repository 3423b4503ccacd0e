"""partitions.conf: the PartitionName lines, which slurm.conf includes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hpctools.conf.policy import Partition, Policy
from hpctools.conf.rendering import billing, capacity, text
from hpctools.conf.rendering.members import Members
from hpctools.slurm import units


def partitions_conf(
    policy: Policy, members: Mapping[str, Members], topologies: Mapping[str, str], release: str
) -> str:
    """One line a partition, in the policy's order. topologies: that of a partition, where it has its own."""
    found = [text.header(release, "the partitions."), _REMARKS]
    for partition in policy.partitions:
        pairs = dict(_pairs(partition, members[partition.name], topologies, policy))
        found.append(text.line(_with(pairs, partition.settings).items()))
    return "".join(found)


_REMARKS = """\
# PriorityTier comes before every weight of priority. A GPU's share of its node's CPUs and memory is what
# a job gets that asks for GPUs only.

"""


def _pairs(
    partition: Partition, members: Members, topologies: Mapping[str, str], policy: Policy
) -> Iterator[tuple[str, object]]:
    yield "PartitionName", partition.name
    yield "Nodes", members.nodes
    yield "Default", "YES" if partition.default else None
    yield "PriorityTier", partition.tier
    yield "PriorityJobFactor", partition.factor
    yield "MaxTime", units.format_duration(partition.max_time_s)
    if partition.default_time_s is not None:
        yield "DefaultTime", units.format_duration(partition.default_time_s)
    yield "MaxNodes", partition.max_nodes
    if policy.daemons.database is not None:
        yield "QOS", partition.qos
        yield "AllowQos", ",".join(partition.allow_qos)
    yield "AllowAccounts", ",".join(partition.allow_accounts)
    if policy.preempt == "partition":
        yield "PreemptMode", partition.preempt.upper()
        yield "GraceTime", partition.grace_s or None
    yield "DefCpuPerGPU", capacity.cpus_per_gpu(members.kinds) or None
    memory_per_gpu = capacity.memory_per_gpu_mb(members.kinds)
    if memory_per_gpu:
        yield "DefMemPerGPU", memory_per_gpu
    else:
        yield "DefMemPerCPU", capacity.memory_per_cpu_mb(members.kinds) or None
    if policy.daemons.database is not None:
        # Without a database slurmctld knows no gres/gpu, and stops at a weight of it.
        yield "TRESBillingWeights", billing.weights(members)
    yield "Topology", topologies.get(partition.name)


def _with(pairs: dict[str, object], settings: Mapping[str, str]) -> dict[str, object]:
    """pairs with settings of the site, in the place of those of the same key, else at the end."""
    spelled = {key.lower(): key for key in pairs}
    return {**pairs, **{spelled.get(key.lower(), key): value for key, value in settings.items()}}
