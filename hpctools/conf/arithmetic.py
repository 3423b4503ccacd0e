"""Which of two jobs goes first, and why: Slurm's own arithmetic on what the policy says.

Terms are computed as set_priority_factors and _get_priority_internal do
(src/plugins/priority/multifactor/priority_multifactor.c), in the same floating point and the same order,
so that they equal what sprio prints. Jobs are compared as sort_job_queue2 does
(src/slurmctld/job_scheduler.c): preemption first, then tiers, then priorities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from hpctools.conf.described import Job
from hpctools.conf.policy import NORMAL, Policy
from hpctools.conf.priority import Weights, associations
from hpctools.conf.rendering.capacity import free_cpus
from hpctools.conf.rendering.members import members
from hpctools.inventory.model import Inventory

K = TypeVar("K")

# In the order in which Slurm adds them up.
TERMS = ("age", "assoc", "fairshare", "size", "partition", "qos")
_HIGHEST = 2**32 - 1
# What the highest factor of all partitions is at least: DEF_PART_MAX_PRIORITY.
_PARTITION_FACTOR = 1


@dataclass(frozen=True)
class Term:
    """factor * weight; points as a number of sprio's."""

    name: str
    factor: float
    weight: int

    @property
    def exact(self) -> float:
        return self.factor * float(self.weight)

    @property
    def points(self) -> int:
        # sprio prints "%.0f".
        return int(f"{self.exact:.0f}")


@dataclass(frozen=True)
class Explained:
    """A job with its terms, in the order in which Slurm adds them, and its priority."""

    job: Job
    tier: int
    terms: tuple[Term, ...]

    @property
    def priority(self) -> int:
        total = 0.0
        for term in self.terms:
            total += term.exact
        # Held jobs alone have 0.
        return min(int(max(total - self.job.nice, 1.0)), _HIGHEST)

    def term(self, name: str) -> Term:
        return next(term for term in self.terms if term.name == name)


def explain(job: Job, inventory: Inventory, policy: Policy, weights: Weights) -> Explained:
    """job's terms under weights."""
    partitions = {one.name: one.factor for one in policy.partitions}
    qos = {NORMAL: 0, **{one.name: one.priority for one in policy.qos}}
    factors = {
        "age": _age(job, policy),
        "assoc": _share(associations(policy), _association(job, policy)),
        "fairshare": job.fairshare,
        "size": _size(job, inventory, policy),
        "partition": _share(partitions, job.partition, _PARTITION_FACTOR),
        "qos": _share(qos, job.qos),
    }
    terms = tuple(
        Term(name, factors[name] if weights.weight(name) else 0.0, weights.weight(name)) for name in TERMS
    )
    tier = next(one.tier for one in policy.partitions if one.name == job.partition)
    return Explained(job, tier, terms)


def first(
    one: Explained, two: Explained, policy: Policy, weights: Weights, inventory: Inventory
) -> tuple[int, tuple[str, ...]]:
    """1 or 2 for the job that slurmctld tries first, 0 where it is the one submitted first; and why."""
    hosts = members(policy, inventory)
    shared = set(hosts[one.job.partition].hosts) & set(hosts[two.job.partition].hosts)
    apart = () if shared else ("their partitions share no node, so neither waits for the other",)
    for number, high, low in ((1, one, two), (2, two, one)):
        preempts = next((qos.preempt for qos in policy.qos if qos.name == high.job.qos), ())
        if policy.preempt == "qos" and low.job.qos in preempts:
            why = f"QOS {high.job.qos} preempts {low.job.qos}, which counts before tiers and priorities"
            return number, (why, *apart)
    for number, high, low in ((1, one, two), (2, two, one)):
        if high.tier > low.tier:
            why = f"the tier of {high.job.partition} is {high.tier}, that of {low.job.partition} {low.tier}"
            return number, (f"{why}: no priority counts against that", *apart)
    if one.priority == two.priority:
        return 0, ("their priorities are equal: the one submitted first goes first", *apart)
    number, high, low = (1, one, two) if one.priority > two.priority else (2, two, one)
    why = f"priority {high.priority:,} is above {low.priority:,}"
    return number, (why, *_decisive(high, low, weights), *apart)


def _decisive(high: Explained, low: Explained, weights: Weights) -> tuple[str, ...]:
    """Which term made the difference, and whether the order of the policy promised that."""
    differences = {
        factor.name: high.term(factor.name).exact - low.term(factor.name).exact for factor in weights.factors
    }
    different = [name for name, points in differences.items() if points]
    nice = low.job.nice - high.job.nice
    if not different or sum(differences.values()) <= 0:
        return (f"nice makes the difference, {nice:+,}",)
    name = different[0]
    points = differences[name]
    if points > 0:
        told = f"{name} decides, the first in the order that differs: {points:+,.0f}"
        return (told, f"all later ones can make up for {float(weights.later(name)):,.0f}")
    step = next(factor.meaning for factor in weights.factors if factor.name == name)
    return (
        f"{name} alone would have it the other way round ({points:+,.0f}), but decides only from {step} on",
    )


def _age(job: Job, policy: Policy) -> float:
    most_s = policy.priority.max_age_s
    return float(job.age_s) / float(most_s) if job.age_s < most_s else 1.0


def _size(job: Job, inventory: Inventory, policy: Policy) -> float:
    nodes = len(inventory.hosts)
    cpus = sum(map(free_cpus, inventory.hosts.values()))
    if not nodes or not cpus:
        return 0.0
    if policy.priority.favor == "small":
        factor = (nodes - job.nodes) / nodes if nodes > job.nodes else 0.0
        factor = (factor + (cpus - job.cpus) / cpus) / 2
    else:
        factor = (job.nodes / nodes + job.cpus / cpus) / 2
    return min(max(factor, 0.0), 1.0)


def _share(values: Mapping[K, int], name: K, least: int = 0) -> float:
    """The value of name as a share of the highest."""
    highest = max([least, *values.values()])
    return values.get(name, 0) / highest if highest else 0.0


def _association(job: Job, policy: Policy) -> tuple[str, str]:
    known = associations(policy)
    return (job.account, job.user) if (job.account, job.user) in known else (job.account, "")
