"""The switches, blocks and rings of a topology: names, children, levels, sizes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpctools.conf.candidate import Candidate
from hpctools.conf.finding import Problem, Severity
from hpctools.conf.rules import rule
from hpctools.conf.topology import Topology, conf_file, topologies
from hpctools.slurm.releases import at_least

# Switches without nodes and children are refused until the release before; then they are empty leaves.
_EMPTY_SWITCHES = "25.05"
# Topologies without any switch or block stop slurmctld from then on.
_EMPTY_IS_FATAL = "25.11"
# topology.conf with longer names is refused from then on; topology.yaml is not.
_NAMES_ARE_MEASURED = "24.11"
_LONGEST = 64
# block_sizes of topology.yaml are judged from then on; those of topology.conf always.
_YAML_SIZES_ARE_JUDGED = "26.05"
_MOST_LEVELS = 16
_BLOCK_LEVELS = "23.11"
_RING = 16
_WORD = {"tree": "switch", "block": "block", "ring": "ring"}


@rule("topology-empty", "fatal")
def topology_empty(candidate: Candidate) -> Iterator[Problem]:
    severity: Severity = "fatal" if at_least(candidate.release, _EMPTY_IS_FATAL) else "error"
    for topology in topologies(candidate):
        word = _WORD.get(topology.plugin)
        if not topology.units and word and not _is_partial(candidate, topology):
            message = f"there is no {word} in this topology of topology/{topology.plugin}"
            yield Problem(topology.at, message, f"a {word} with nodes, or another plugin", severity)
        elif not topology.units and not topology.is_yaml and not topology.plugin:
            yield Problem(
                topology.at, "there is no switch and no block in it", "SwitchName=s1 Nodes=...", severity
            )


@rule("topology-unit-twice", "fatal")
def topology_unit_twice(candidate: Candidate) -> Iterator[Problem]:
    for topology in topologies(candidate):
        first: dict[str, int] = {}
        for unit in topology.units:
            if not unit.name and topology.is_yaml:
                yield Problem(
                    unit.at, f"a {_WORD.get(topology.plugin, 'unit')} without a name", "give it one"
                )
            elif unit.name in first:
                message = f"{unit.name} is defined in line {first[unit.name]} already"
                yield Problem(unit.at, message, "each name once")
            first.setdefault(unit.name, unit.at.line)


@rule("topology-unit-name-long", "fatal")
def topology_unit_name_long(candidate: Candidate) -> Iterator[Problem]:
    for topology in topologies(candidate):
        refused = not topology.is_yaml and at_least(candidate.release, _NAMES_ARE_MEASURED)
        for unit in topology.units if topology.plugin == "tree" else ():
            if len(unit.name) > _LONGEST:
                message = (
                    f"the name {unit.name[:20]}... has {len(unit.name)} characters, and may have {_LONGEST}"
                )
                yield Problem(unit.at, message, "a shorter one", None if refused else "warning")


@rule("topology-switch-child", "fatal")
def topology_switch_child(candidate: Candidate) -> Iterator[Problem]:
    for topology in _trees(candidate):
        names = {unit.name for unit in topology.units}
        for unit in topology.units:
            for child in unit.child_names if not unit.nodes else ():
                if child == unit.name:
                    yield Problem(unit.at, f"switch {unit.name} has itself as a child", "remove it there")
                elif child not in names and not _is_partial(candidate, topology):
                    message = f"switch {unit.name} has the child {child}, which is no switch"
                    yield Problem(unit.at, message, "define it, or remove it")


@rule("topology-switch-loop", "fatal")
def topology_switch_loop(candidate: Candidate) -> Iterator[Problem]:
    for topology in _trees(candidate):
        children = {
            unit.name: unit.child_names for unit in topology.units if unit.children and not unit.nodes
        }
        # Taking away what has no child left leaves the loops, and what stands above them.
        waiting = {name: sum(child in children for child in some) for name, some in children.items()}
        parents: dict[str, list[str]] = {}
        for name, some in children.items():
            for child in some:
                parents.setdefault(child, []).append(name)
        ready = [name for name, count in waiting.items() if not count]
        while ready:
            for parent in parents.get(ready.pop(), ()):
                waiting[parent] -= 1
                if not waiting[parent]:
                    ready.append(parent)
        left = [
            unit for unit in topology.units if waiting.get(unit.name) and unit.name not in unit.child_names
        ]
        if left:
            message = f"switch {left[0].name} is, through its children, its own child: this is no tree"
            yield Problem(left[0].at, message, "each switch below one other")


@rule("topology-switch-content", "fatal")
def topology_switch_content(candidate: Candidate) -> Iterator[Problem]:
    for topology in _trees(candidate):
        for unit in topology.units:
            if unit.nodes and unit.children:
                message = f"switch {unit.name} has both nodes and switches below it"
                severity: Severity = "warning" if topology.is_yaml else "fatal"
                yield Problem(unit.at, message, "nodes only at switches without children", severity)
            elif not unit.nodes and not unit.children:
                severity = "warning" if at_least(candidate.release, _EMPTY_SWITCHES) else "fatal"
                message = f"switch {unit.name} has neither nodes nor switches below it"
                yield Problem(unit.at, message, "name what is below it, or remove it", severity)


@rule("topology-switch-parents", "error")
def topology_switch_parents(candidate: Candidate) -> Iterator[Problem]:
    for topology in _trees(candidate):
        parent: dict[str, str] = {}
        for unit in topology.units:
            for child in unit.child_names if not unit.nodes else ():
                if parent.setdefault(child, unit.name) != unit.name:
                    message = (
                        f"switch {child} is below {unit.name} and below {parent[child]}: this is no tree"
                    )
                    yield Problem(
                        unit.at, message, "each switch below one other; of a fat tree, one root for all"
                    )


@rule("topology-roots", "warning")
def topology_roots(candidate: Candidate) -> Iterator[Problem]:
    for topology in _trees(candidate):
        below = {child for unit in topology.units for child in unit.child_names}
        roots = [unit for unit in topology.units if unit.name not in below and (unit.nodes or unit.children)]
        if len(roots) > 1 and not _is_partial(candidate, topology):
            names = ", ".join(unit.name for unit in roots[:4]) + (", ..." if len(roots) > 4 else "")
            message = (
                f"{len(roots)} switches are below no other ({names}): no job can use nodes below two of them"
            )
            yield Problem(roots[1].at, message, "one switch above all, unless that is intended")


@rule("topology-block-sizes", "fatal")
def topology_block_sizes(candidate: Candidate) -> Iterator[Problem]:
    for topology in topologies(candidate):
        if topology.plugin != "block" or topology.sizes is None or not topology.sizes_at:
            continue
        wrong, is_type = _wrong_size(topology.sizes)
        judged = is_type or not topology.is_yaml or at_least(candidate.release, _YAML_SIZES_ARE_JUDGED)
        if wrong:
            hint = "the number of nodes in a block, then that times 2, 4, 8, ..."
            yield Problem(topology.sizes_at, f"block sizes: {wrong}", hint, None if judged else "error")


@rule("topology-block-levels", "fatal")
def topology_block_levels(candidate: Candidate) -> Iterator[Problem]:
    """Of 23.11 only; later releases do not know the key."""
    conf = conf_file(candidate)
    pair = conf.get("BlockLevels") if conf else None
    if not pair or candidate.release != _BLOCK_LEVELS:
        return
    numbers = re.findall(r"[0-9]+", pair.value)
    if not re.fullmatch(r"[0-9,-]+", pair.value) or any(
        len(n) > 2 or int(n) >= _MOST_LEVELS for n in numbers
    ):
        yield Problem(pair, f"BlockLevels={pair.value} is no list of levels", f"from 0 to {_MOST_LEVELS - 1}")


@rule("topology-ring-size", "fatal")
def topology_ring_size(candidate: Candidate) -> Iterator[Problem]:
    for topology in topologies(candidate):
        for unit in topology.units if topology.plugin == "ring" else ():
            if len(unit.node_names) > _RING:
                message = f"ring {unit.name} has {len(unit.node_names)} nodes, and may have {_RING}"
                yield Problem(unit.at, message, "several rings")


def _wrong_size(sizes: tuple[str, ...]) -> tuple[str, bool]:
    """What is wrong with the sizes, and whether it is that one is no number."""
    base = 0
    for word in sizes:
        if not word.strip().removeprefix("-").isdecimal() or len(word) > 9:
            return f"{word} is no number of nodes", True
        size = int(word)
        if size <= 0:
            return f"{size} is no number of nodes", False
        base = base or size
        times = size // base
        if size % base or times & (times - 1) or times >= 1 << _MOST_LEVELS:
            return f"{size} is not {base} times 1, 2, 4, 8, ...", False
    return "", False


def _trees(candidate: Candidate) -> list[Topology]:
    return [topology for topology in topologies(candidate) if topology.plugin == "tree"]


def _is_partial(candidate: Candidate, topology: Topology) -> bool:
    conf = candidate.conf("topology.conf")
    return not topology.is_yaml and conf is not None and conf.partial
