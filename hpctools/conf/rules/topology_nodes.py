"""The nodes in a topology: known to slurm.conf, each in one place, none left out, blocks of their size."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpctools.conf.candidate import Candidate, Conf
from hpctools.conf.finding import Problem, Severity
from hpctools.conf.gres import node_names
from hpctools.conf.rules import rule
from hpctools.conf.topology import Topology, topologies
from hpctools.slurm.releases import at_least

# Older hostlist code takes such lists for names.
_LISTS_ARE_JUDGED = "24.05"
# Blocks may be smaller than their size from then on.
_GAPS = "25.05"
_ALL_EQUAL = "23.11"
_UNBALANCED = re.compile(r"\[[^\]]*(?:\[|$)|(?:^|\])[^\[]*\]")


@rule("topology-node-list", "fatal")
def topology_node_list(candidate: Candidate) -> Iterator[Problem]:
    severity: Severity = "fatal" if at_least(candidate.release, _LISTS_ARE_JUDGED) else "error"
    for topology in topologies(candidate):
        for unit in topology.units:
            for text in (unit.nodes, unit.children):
                if text and _UNBALANCED.search(text):
                    yield Problem(
                        unit.at, f"{unit.name}: {text} has a bracket without its other", "", severity
                    )


@rule("topology-node-unknown", "error")
def topology_node_unknown(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or slurm.partial or not slurm.nodes:
        return
    for topology in topologies(candidate):
        for unit in topology.units:
            unknown = [name for name in unit.node_names if name not in slurm.node_of]
            if unknown:
                message = f"{unit.name}: slurm.conf has no node {_shown(unknown)}"
                hint = (
                    "ALL is no word here; list the nodes"
                    if unknown[0].upper() == "ALL"
                    else "correct the name"
                )
                yield Problem(unit.at, message, hint)


@rule("topology-node-twice", "error")
def topology_node_twice(candidate: Candidate) -> Iterator[Problem]:
    """For switches slurmctld warns; for blocks it says nothing."""
    for topology in topologies(candidate):
        severity: Severity = "error" if topology.plugin == "block" else "warning"
        first: dict[str, str] = {}
        for unit in topology.units:
            again = [name for name in unit.node_names if first.setdefault(name, unit.name) != unit.name]
            if again:
                message = f"{_shown(again)} is in {unit.name}, and in {first[again[0]]} too"
                yield Problem(unit.at, message, "each node in one place", severity)


@rule("topology-node-missing", "warning")
def topology_node_missing(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    conf = candidate.conf("topology.conf")
    if not slurm or slurm.partial or (conf and conf.partial):
        return
    found = [one for one in topologies(candidate) if one.units and one.plugin in ("tree", "block", "ring")]
    for topology in found:
        wanted = _nodes_of(slurm, topology, len(found) > 1)
        # Nodes with Topology= in slurm.conf are put into it from there.
        missing = [
            name
            for name in wanted
            if name not in topology.node_names and not slurm.node_of[name].get("Topology")
        ]
        if missing:
            message = f"no {topology.plugin} of topology {topology.name} has {_shown(missing)}"
            yield Problem(topology.at, message, f"add them: topology/{topology.plugin} places no job on them")


@rule("topology-block-nodes", "fatal")
def topology_block_nodes(candidate: Candidate) -> Iterator[Problem]:
    """In 23.11 all blocks have the same number of nodes; until 24.11 none has fewer than the base size."""
    severity: Severity = "warning" if at_least(candidate.release, _GAPS) else "fatal"
    for topology in topologies(candidate):
        base = _base(candidate, topology)
        for unit in topology.units if base else ():
            count = len(_known(candidate, unit.node_names))
            if unit.nodes is None and severity == "fatal":
                yield Problem(unit.at, f"block {unit.name} has no nodes", "name them, or remove it")
            elif (
                (0 < count < base) or (count < base and severity == "fatal") or count > _most(candidate, base)
            ):
                message = f"block {unit.name} has {count} nodes, and the blocks' size is {base}"
                yield Problem(unit.at, message, "that of the smallest block in BlockSizes", severity)


@rule("topology-block-large", "warning")
def topology_block_large(candidate: Candidate) -> Iterator[Problem]:
    for topology in topologies(candidate):
        if topology.sizes is None:
            continue
        base = _base(candidate, topology)
        for unit in topology.units if base else ():
            count = len(_known(candidate, unit.node_names))
            if count > base:
                message = f"block {unit.name} has {count} nodes, and the blocks' size is {base}"
                yield Problem(
                    unit.at,
                    message,
                    f"of each such block {count - base} are spare: if that is not meant, set it",
                )


def _most(candidate: Candidate, base: int) -> float:
    return base if candidate.release == _ALL_EQUAL else float("inf")


def _base(candidate: Candidate, topology: Topology) -> int:
    """The base block size: the first of BlockSizes, else the nodes of the first block that has some."""
    if topology.plugin != "block":
        return 0
    if topology.sizes:
        first = topology.sizes[0].strip()
        return int(first) if first.isdecimal() and len(first) < 9 else 0
    counts = (len(_known(candidate, unit.node_names)) for unit in topology.units)
    return next((count for count in counts if count), 0)


def _known(candidate: Candidate, names: tuple[str, ...]) -> tuple[str, ...]:
    slurm = candidate.slurm
    if slurm is None or slurm.partial or not slurm.nodes:
        return names
    return tuple(name for name in names if name in slurm.node_of)


def _nodes_of(slurm: Conf, topology: Topology, several: bool) -> list[str]:
    """The nodes that jobs reach through a topology: all of them where there is one, else those of the
    partitions that use it.
    """
    if not several:
        return list(slurm.node_of)
    found: dict[str, None] = {}
    for record in slurm.partitions:
        chosen = record.value("Topology")
        if (chosen == topology.name) if chosen else topology.is_default:
            words = record.value("Nodes")
            names = list(slurm.node_of) if words.upper() == "ALL" else node_names(words)
            found.update(dict.fromkeys(name for name in names if name in slurm.node_of))
    return list(found)


def _shown(names: list[str]) -> str:
    return f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]
