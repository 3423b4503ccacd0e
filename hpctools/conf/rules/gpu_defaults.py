"""CPUs of GPU jobs: how many one gets where it does not say, and how many are kept for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hpctools.conf.candidate import Candidate, Record
from hpctools.conf.finding import Problem
from hpctools.conf.rules import rule
from hpctools.conf.rules.amounts import (
    cores,
    cpus,
    gpus,
    is_exclusive,
    is_linear,
    kinds_of,
    named,
    set_aside,
)


@rule("gpu-cpus-missing", "warning")
def gpu_cpus_missing(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or slurm.partial or not slurm.uses_gpus or slurm.get("DefCpuPerGPU"):
        return
    if is_linear(slurm, candidate.release) or slurm.get("JobSubmitPlugins") or slurm.get("CliFilterPlugins"):
        return
    # By name, as a partition may wrongly stand twice.
    by_share: dict[int, dict[str, Record]] = {}
    for one in slurm.partitions:
        if not one.get("DefCpuPerGPU") and not is_exclusive(one):
            by_share.setdefault(_share(kinds_of(slurm, one)), {}).setdefault(one.name, one)
    for share, found in by_share.items():
        if share > 1:
            first, names = next(iter(found.values())), named(found.values())
            message = f"no DefCpuPerGPU for {names}: a job that asks for GPUs only gets one CPU a task"
            hint = f"DefCpuPerGPU={share} for {names}, the node's CPUs by its GPUs, or less"
            yield Problem(first, message, hint)


@rule("gpu-cpus-too-many", "warning")
def gpu_cpus_too_many(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm:
        return
    for partition in slurm.partitions:
        pair = partition.get("DefCpuPerGPU") or slurm.get("DefCpuPerGPU")
        scope = partition if partition.get("DefCpuPerGPU") else slurm
        amount = scope.number("DefCpuPerGPU", 0) if pair else 0
        if not pair or not amount:
            continue
        for node in kinds_of(slurm, partition):
            count, free = gpus(node), _free_cpus(node)
            if count and free and amount * count > free:
                message = (
                    f"{pair.key}={amount} for {count} GPUs is {amount * count} CPUs, but {node.name} has "
                    f"{free}: a job that takes all GPUs cannot start there"
                )
                yield Problem(pair, message, f"at most {free // count}")
                break


@rule("restricted-cores", "error")
def restricted_cores(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm:
        return
    for node, *_ in slurm.kinds:
        pair = node.get("RestrictedCoresPerGPU")
        amount = node.number("RestrictedCoresPerGPU", 0) if pair else 0
        if not pair or not amount:
            continue
        count, free = gpus(node), _free_cores(node)
        if not count:
            message = (
                f"{pair.key}={amount}, but {node.name} has no GPUs: the node is drained when it registers"
            )
            yield Problem(pair, message, "remove it, or set Gres")
        elif free is not None and amount * count > free:
            message = (
                f"{pair.key}={amount} for {count} GPUs is {amount * count} cores, but {node.name} has "
                f"{free}: the node is drained when it registers"
            )
            yield Problem(pair, message, f"at most {free // count}, and fewer for jobs without GPUs")


def _share(nodes: Sequence[Record]) -> int:
    """The fewest CPUs by GPU on nodes that all have GPUs, else 0."""
    return min(((_free_cpus(node) or 0) // gpus(node) if gpus(node) else 0 for node in nodes), default=0)


def _free_cpus(node: Record) -> int | None:
    """The CPUs of a node that jobs can have. A core is one, or as many as it has threads."""
    count, all_cores = cpus(node), cores(node)
    if count is None or not all_cores:
        return None
    return count - set_aside(node) * max(count // all_cores, 1)


def _free_cores(node: Record) -> int | None:
    all_cores = cores(node)
    return None if all_cores is None else all_cores - set_aside(node)
