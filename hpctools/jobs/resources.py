"""What a job takes of each node: the settings, completed by what the partition's nodes have."""

from __future__ import annotations

import os
from dataclasses import dataclass

from hpctools.jobs.facts import Facts, NodeType
from hpctools.jobs.nearest import nearest
from hpctools.jobs.site import Site
from hpctools.jobs.spec import JobSpec
from hpctools.slurm import units


@dataclass(frozen=True)
class Resources:
    """What is asked for on each node, and why it was filled in so.

    gpu_type is "" for any; kind is the type that the nodes probably have. cpus_per_task, mem: None
    leaves them to Slurm, mem "0" is all. exclusive: whole nodes. warn_before_s: how long before the
    time limit the ranks are told to save, 0: not. remarks: choices that the user may want to know of.
    """

    gpus: int
    gpu_type: str
    ranks: int
    tasks: int
    cpus_per_task: int | None
    mem: str | None
    exclusive: bool
    kind: str = ""
    warn_before_s: int = 0
    remarks: tuple[str, ...] = ()

    @property
    def gpu_words(self) -> str:
        """The GPUs of a node as sbatch takes them: h200:8, or 8."""
        return f"{self.gpu_type}:{self.gpus}" if self.gpu_type else str(self.gpus)


def resolve(spec: JobSpec, site: Site, facts: Facts | None, checkpoint_s: float | None = None) -> Resources:
    """The resources of a job; without facts (no Slurm was asked) only what was named.

    checkpoint_s: how long saving takes, where that is known.
    """
    partition = partition_of(spec, facts)
    types = facts.node_types(partition) if facts and partition else ()
    chosen, remarks = _choose(spec, types, partition)
    # Where no node has what is asked for, the largest tells how the rest would be filled in.
    largest = max(types, key=lambda one: one.gpus, default=None)
    chosen = chosen or largest
    gpus = spec.gpus if spec.gpus is not None else (chosen.gpus if chosen else 0)
    whole = chosen is not None and gpus == chosen.gpus and site.whole_nodes
    ranks = spec.settings.number("ranks-per-node") or (max(gpus, 1) if spec.is_rank_per_gpu else 1)
    tasks = 1 if spec.is_task_per_node else ranks
    # Several types in a partition: without naming one Slurm could give nodes of another.
    several = len({one.gpu_type for one in types if one.gpus}) > 1
    gpu_type = spec.gpu_type or (chosen.gpu_type if chosen and several else "")
    options = spec.settings.entries("sbatch-option")
    return Resources(
        gpus=gpus,
        gpu_type=gpu_type if gpus else "",
        ranks=ranks,
        tasks=tasks,
        cpus_per_task=_cpus(spec, chosen, gpus, tasks, whole),
        mem=None
        if {"mem-per-cpu", "mem-per-gpu"} & options.keys()
        else _memory(spec, site, chosen, gpus, whole),
        # Who asks for so many CPUs of a node without GPUs did not ask for all of it.
        exclusive=whole and not (gpus == 0 and spec.settings.number("cpus-per-task")),
        kind=(gpu_type or (chosen.gpu_type if chosen else "")) if gpus else "",
        warn_before_s=_warn_before_s(spec, facts, partition, checkpoint_s),
        remarks=remarks,
    )


def _warn_before_s(
    spec: JobSpec, facts: Facts | None, partition: str | None, checkpoint_s: float | None
) -> int:
    """When the ranks are told to save. Twice what that takes and a minute, because they finish a step
    first; three minutes where it is not known; never more than a quarter of the time limit, unless the
    checkpoint takes that long. Slurm warns up to a minute early (sbatch(1) --signal)."""
    given = spec.settings.number("warn-before")
    if given is not None:
        return given
    if not os.path.basename(spec.argv[0]).startswith("python"):
        # With proctrack/linuxproc all processes get the signal, and a shell dies of it.
        return 0
    text = spec.settings.text("time")
    limit_s = units.parse_duration_s(text) if text else _default_time_s(facts, partition)
    wanted = 180 if checkpoint_s is None else int(2 * checkpoint_s) + 60
    if limit_s is None:
        return wanted
    least = int(checkpoint_s or 0) + 30
    return min(wanted, max(limit_s // 4, min(least, limit_s // 2)))


def _default_time_s(facts: Facts | None, partition: str | None) -> int | None:
    known = facts.partitions.get(partition) if facts and partition else None
    return (known.default_time_s or known.max_time_s) if known else None


def partition_of(spec: JobSpec, facts: Facts | None) -> str | None:
    """The partition whose nodes tell how much a node has: the first named that is known; where
    none is, the one that was probably meant, so that the rest of the job can be checked, too.
    """
    if facts is None:
        return None
    for one in spec.partitions:
        if one in facts.partitions:
            return one
    near = nearest(spec.partitions[0], facts.partitions) if spec.partitions else None
    return near or facts.default_partition


def _choose(
    spec: JobSpec, types: tuple[NodeType, ...], partition: str | None
) -> tuple[NodeType | None, tuple[str, ...]]:
    """The kind of node that the job will run on, and what to say about the choice."""
    able = [one for one in types if spec.gpu_type in (None, one.gpu_type) or spec.gpus == 0]
    if spec.gpus:
        able = [one for one in able if one.gpus >= spec.gpus]
    # Of those that are enough, the most frequent; nodes without GPUs only where no others are.
    enough = [one for one in able if one.nodes >= spec.nodes] or able
    with_gpus = [one for one in enough if one.gpus]
    chosen = next(iter(with_gpus or enough), None)
    if chosen is None or spec.gpus is not None or spec.gpu_type or len({_kind(one) for one in with_gpus}) < 2:
        return chosen, ()
    kinds = ", ".join(f"{_kind(one)} ({one.nodes} nodes)" for one in with_gpus)
    text = f"partition {partition} has {kinds}: taking {_kind(chosen)}; --gpu-type or --gpus-per-node choose"
    return chosen, (text,)


def _kind(node: NodeType) -> str:
    return f"{node.gpu_type or 'gpu'}:{node.gpus}"


def _cpus(spec: JobSpec, node: NodeType | None, gpus: int, tasks: int, whole: bool) -> int | None:
    given = spec.settings.number("cpus-per-task")
    if given or node is None:
        return given
    if whole and (tasks == 1 or spec.launcher == "srun"):
        # --exclusive brings them all, also where Slurm keeps some for itself; the script shares them out.
        return None
    share = node.cpus * min(gpus, node.gpus) // node.gpus if node.gpus else node.cpus
    return max(share // tasks, 1) if share else None


def _memory(spec: JobSpec, site: Site, node: NodeType | None, gpus: int, whole: bool) -> str | None:
    given = spec.settings.text("mem")
    if given is not None or node is None or not site.ask_memory:
        return given
    if whole:
        return "0"
    share = node.memory_mb * min(gpus, node.gpus) // node.gpus if node.gpus else 0
    return f"{share}M" if share else None
