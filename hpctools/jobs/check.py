"""Whether a cluster could run a job: warnings with the nearest right values.

They are only warnings, because sites rewrite jobs (job_submit.lua) and because Slurm itself decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from hpctools.errors import ParseError, Problem
from hpctools.jobs.facts import Facts, NodeType
from hpctools.jobs.nearest import listed, unknown
from hpctools.jobs.resources import Resources, partition_of
from hpctools.jobs.spec import JobSpec
from hpctools.slurm import units
from hpctools.slurm.scontrol import Partition

_FEATURE = re.compile(r"[A-Za-z0-9_.=-]+")


def problems(spec: JobSpec, resources: Resources, facts: Facts) -> tuple[Problem, ...]:
    """What Slurm will probably refuse."""
    where = spec.settings.where("partition")
    missing = [one for one in spec.partitions if one not in facts.partitions]
    found = [unknown(where, "partition", one, facts.partitions) for one in missing]
    name = partition_of(spec, facts)
    if name is None:
        if not found:
            message = "the cluster has no default partition"
            found.append(Problem("--partition", message, listed(facts.partitions)))
        return tuple(found)
    if len(spec.partitions) > 1:
        return tuple(found)  # one of them may do; Slurm tries each
    checks: tuple[Callable[[JobSpec, Resources, Facts, str], Iterator[Problem]], ...]
    checks = (_state, _gpu_type, _node, _nodes, _limits, _time, _features, _node_names)
    for check in checks:
        found.extend(check(spec, resources, facts, name))
    return tuple(found)


def remarks(spec: JobSpec, resources: Resources, facts: Facts) -> tuple[str, ...]:
    """What will not keep Slurm from taking the job, but the user from seeing it start."""
    name = partition_of(spec, facts)
    types = [one for one in facts.node_types(name) if _fits(one, spec, resources)] if name else []
    usable, there = sum(one.usable for one in types), sum(one.nodes for one in types)
    if not usable < spec.nodes <= there:
        return ()
    return (f"only {usable} of the {there} nodes of partition {name} are up: the job waits for {spec.nodes}",)


def _state(spec: JobSpec, resources: Resources, facts: Facts, name: str) -> Iterator[Problem]:
    state = facts.partitions[name].state
    if state in ("DRAIN", "INACTIVE"):
        up = [one.name for one in facts.partitions.values() if one.state == "UP"]
        yield Problem(_where(spec, "partition"), f"partition {name} takes no jobs ({state})", listed(up))


def _gpu_type(spec: JobSpec, resources: Resources, facts: Facts, name: str) -> Iterator[Problem]:
    asked = spec.gpu_type
    here = {one.gpu_type for one in facts.node_types(name) if one.gpus}
    if not asked or asked in here or spec.gpus == 0:
        return
    where = _where(spec, "gpu-type")
    elsewhere = [one for one in facts.partitions if any(t.gpu_type == asked for t in facts.node_types(one))]
    if elsewhere:
        yield Problem(where, f"partition {name} has no {asked} GPUs", f"{_partitions(elsewhere)} has")
    elif any(here):
        yield unknown(where, "GPU type", asked, filter(None, here), f"in partition {name}")
    elif here:
        yield Problem(where, f"the GPUs of partition {name} have no type", "leave it out")
    else:
        yield Problem(where, f"partition {name} has no GPUs", _partitions(_with_gpus(facts)))


def _of_type(resources: Resources, facts: Facts, name: str) -> list[NodeType]:
    """The nodes with the type of GPU that is asked for; all, where there is no such type."""
    types = facts.node_types(name)
    return [one for one in types if resources.gpu_type in ("", one.gpu_type)] or list(types)


def _node(spec: JobSpec, resources: Resources, facts: Facts, name: str) -> Iterator[Problem]:
    """GPUs, CPUs and memory of a node."""
    types = _of_type(resources, facts, name)
    if not types:
        return
    gpus, cpus = max(one.gpus for one in types), max(one.cpus for one in types)
    memory_mb, asked_mb = max(one.memory_mb for one in types), units.parse_memory_mb(resources.mem or "0")
    asked_cpus = (resources.cpus_per_task or 1) * resources.tasks
    if resources.gpus > gpus:
        hint = _elsewhere(spec, resources, facts, name) or f"--gpus-per-node {gpus}"
        yield Problem(_where(spec, "gpus-per-node"), _more(name, gpus, "GPU", resources.gpus), hint)
    if asked_cpus > cpus:
        hint = f"--cpus-per-task {max(cpus // resources.tasks, 1)}"
        yield Problem(_where(spec, "cpus-per-task"), _more(name, cpus, "CPU", asked_cpus), hint)
    if asked_mb > memory_mb:
        message = f"nodes of partition {name} have {memory_mb}M of memory, not {resources.mem}"
        yield Problem(_where(spec, "mem"), message, f"--mem {memory_mb}M, or 0 for all")


def _nodes(spec: JobSpec, resources: Resources, facts: Facts, name: str) -> Iterator[Problem]:
    """How many nodes of that kind there are."""
    types = _of_type(resources, facts, name)
    there = sum(one.nodes for one in types if _fits(one, spec, resources)) or sum(one.nodes for one in types)
    if spec.nodes > there:
        message = f"partition {name} has {there} such node{'s' * (there != 1)}, not {spec.nodes}"
        other = _elsewhere(spec, resources, facts, name)
        hint = f"--nodes {there}" + (f", or {other}" if other else "")
        yield Problem(_where(spec, "nodes"), message, hint if there else other)


def _limits(spec: JobSpec, resources: Resources, facts: Facts, name: str) -> Iterator[Problem]:
    partition = facts.partitions[name]
    where = _where(spec, "nodes")
    if partition.max_nodes is not None and spec.nodes > partition.max_nodes:
        yield Problem(
            where,
            f"partition {name} allows at most {partition.max_nodes} nodes a job",
            f"--nodes {partition.max_nodes}",
        )
    if spec.nodes < partition.min_nodes:
        yield Problem(
            where,
            f"partition {name} wants at least {partition.min_nodes} nodes a job",
            f"--nodes {partition.min_nodes}",
        )
    for option, allowed, denied in (
        ("account", partition.allow_accounts, partition.deny_accounts),
        ("qos", partition.allow_qos, partition.deny_qos),
    ):
        asked = spec.settings.text(option)
        if asked and (allowed and asked not in allowed or asked in denied):
            hint = listed(allowed) if allowed else ""
            yield Problem(_where(spec, option), f"partition {name} does not take {option} {asked}", hint)


def _time(spec: JobSpec, resources: Resources, facts: Facts, name: str) -> Iterator[Problem]:
    text = spec.settings.text("time")
    limit = facts.partitions[name].max_time_s
    if text is None or limit is None:
        return
    asked = units.parse_duration_s(text)
    if asked is None or asked > limit:
        longest = units.format_duration(limit)
        hint = f"--time {longest}"
        longer = [one.name for one in facts.partitions.values() if _lasts(one, asked)]
        if longer:
            hint += f", or {_partitions(longer)}"
        yield Problem(_where(spec, "time"), f"{text} is more than partition {name} allows, {longest}", hint)


def _lasts(partition: Partition, asked_s: int | None) -> bool:
    return partition.max_time_s is None or (asked_s is not None and asked_s <= partition.max_time_s)


def _features(spec: JobSpec, resources: Resources, facts: Facts, name: str) -> Iterator[Problem]:
    text = spec.settings.text("constraint") or ""
    known = {one for group in facts.groups for one in group.features}
    for one in _FEATURE.findall(re.sub(r"\*\d+", "", text)):
        if one not in known:
            yield unknown(_where(spec, "constraint"), "feature", one, known)


def _node_names(spec: JobSpec, resources: Resources, facts: Facts, name: str) -> Iterator[Problem]:
    for option in ("nodelist", "exclude"):
        text = spec.settings.text(option)
        if not text or "/" in text:  # a file of names: sbatch reads it
            continue
        from hpctools.slurm import hostlist

        try:
            asked = hostlist.expand(text)
            known = {one for group in facts.groups for one in hostlist.expand(group.node_list)}
        except ParseError as error:
            yield Problem(_where(spec, option), str(error), "n1,n2 or n[1-4]")
            continue
        for one in asked:
            if one not in known:
                yield unknown(_where(spec, option), "node", one, known)


def _fits(node: NodeType, spec: JobSpec, resources: Resources) -> bool:
    return (
        node.gpus >= resources.gpus
        and (not resources.gpu_type or node.gpu_type == resources.gpu_type)
        and node.cpus >= (resources.cpus_per_task or 1) * resources.tasks
        and node.memory_mb >= units.parse_memory_mb(resources.mem or "0")
    )


def _elsewhere(spec: JobSpec, resources: Resources, facts: Facts, name: str) -> str:
    """Partitions that have enough nodes of enough size."""
    found = [
        one
        for one in facts.partitions
        if one != name
        and sum(t.nodes for t in facts.node_types(one) if _fits(t, spec, resources)) >= spec.nodes
        and facts.partitions[one].state == "UP"
    ]
    return _partitions(found)


def _with_gpus(facts: Facts) -> list[str]:
    return [one for one in facts.partitions if any(t.gpus for t in facts.node_types(one))]


def _more(name: str, has: int, what: str, asked: int) -> str:
    return f"nodes of partition {name} have {has} {what}{'s' * (has != 1)}, not {asked}"


def _where(spec: JobSpec, option: str) -> str:
    # The type may have been named in --gpus-per-node h200:4.
    if option == "gpu-type" and not spec.settings.text("gpu-type"):
        option = "gpus-per-node"
    return spec.settings.where(option)


def _partitions(names: list[str]) -> str:
    """ "partition a, b or c"; "" for none."""
    if not names:
        return ""
    return "partition " + (names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}")
