"""What topology.yaml must look like: its keys, what stands under them, and one type for each topology."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hpctools.conf.candidate import Candidate
from hpctools.conf.finding import At, Problem, Severity
from hpctools.conf.rules import rule
from hpctools.conf.topology import PLUGINS_OF_YAML, items, members, topologies, yaml_file
from hpctools.slurm.releases import at_least
from hpctools.slurm.yaml_text import Value

# The keys of each mapping, by the place of the mapping (PARSER_ARRAY in data_parser's parsers.c).
_DIMENSIONS = {"x", "y", "z"}
_KEYS: Mapping[tuple[str, ...], set[str]] = {
    (): {"topology", "cluster_default", *PLUGINS_OF_YAML},
    ("tree",): {"switches"},
    ("tree", "switches"): {"switch", "children", "nodes"},
    ("block",): {"block_sizes", "blocks"},
    ("block", "blocks"): {"block", "nodes"},
    ("ring",): {"rings"},
    ("ring", "rings"): {"ring", "nodes"},
    ("flat",): {"alpha_step_rank"},
    ("torus3d",): {"toruses"},
    ("torus3d", "toruses"): {"name", "nodes", "dims", "placements", "regions"},
    ("torus3d", "toruses", "dims"): _DIMENSIONS,
    ("torus3d", "toruses", "placements"): {"dims", "anchor_seed", "anchor_spacing"},
    ("torus3d", "toruses", "regions"): {"anchor", "dims", "nodes"},
}
# Names and lists of nodes, which are text.
_TEXTS = frozenset({"topology", "switch", "children", "nodes", "block", "ring", "name"})


@rule("topology-yaml-syntax", "fatal")
def topology_yaml_syntax(candidate: Candidate) -> Iterator[Problem]:
    yaml = yaml_file(candidate)
    if not yaml:
        return
    if yaml.error:
        # Slurm reads the first document, and leaves the others.
        severity: Severity = "error" if "another document" in yaml.error[1] else "fatal"
        message = f"is no YAML: {yaml.error[1]}"
        yield Problem(At(yaml.path, yaml.error[0]), message, "see topology.yaml(5)", severity)
    elif not items(yaml):
        yield Problem(
            yaml, "holds no topology: slurmctld stops or crashes", "- topology: main, and flat: true"
        )
    for item in items(yaml):
        if item.kind != "map":
            yield Problem(
                item, f"{item.text or 'a list'} is no topology", "- topology: NAME and a type below it"
            )


@rule("topology-yaml-type", "fatal")
def topology_yaml_type(candidate: Candidate) -> Iterator[Problem]:
    yaml = yaml_file(candidate)
    known = [name for name, since in PLUGINS_OF_YAML.items() if at_least(candidate.release, since)]
    for item in items(yaml) if yaml else ():
        if item.kind != "map":
            continue
        types = [name for name in known if (value := item.get(name)) and not _is_off(name, value)]
        if len(types) != 1:
            given = f"the types {' and '.join(types)}" if types else "no type"
            yield Problem(item, f"this topology has {given}", f"one of {', '.join(known)} for each topology")


@rule("topology-yaml-value", "fatal")
def topology_yaml_value(candidate: Candidate) -> Iterator[Problem]:
    for place, value in _mappings(candidate):
        if not isinstance(value.value, Mapping):
            # flat: true, and members of a list that are no mapping.
            if place[-1:] != ("flat",) and place:
                yield Problem(value, f"{place[-1]} holds what is no mapping", "see topology.yaml(5)")
            continue
        for key, below in value.value.items():
            is_text = key in _TEXTS and key in _KEYS[place] and (*place, key) not in _KEYS
            if is_text and below.kind in ("list", "map"):
                yield Problem(below, f"{key} is a {below.kind}, and must be text", "such as node[01-16]")


@rule("topology-yaml-key", "error")
def topology_yaml_key(candidate: Candidate) -> Iterator[Problem]:
    for place, value in _mappings(candidate):
        for key, below in value.value.items() if isinstance(value.value, Mapping) else ():
            if key not in _KEYS[place]:
                where = f"under {place[-1]}" if place else "of a topology"
                message = f"there is no key {key} {where}; it is passed over"
                yield Problem(below, message, f"there are {', '.join(sorted(_KEYS[place]))}")


@rule("topology-yaml-repeated-key", "error")
def topology_yaml_repeated_key(candidate: Candidate) -> Iterator[Problem]:
    yaml = yaml_file(candidate)
    for line, key in yaml.repeated if yaml else ():
        yield Problem(At(yaml.path if yaml else "", line), f"{key} stands twice here", "keep one of them")


@rule("topology-yaml-names", "error")
def topology_yaml_names(candidate: Candidate) -> Iterator[Problem]:
    seen: set[str] = set()
    defaults = 0
    yaml = yaml_file(candidate)
    for topology in topologies(candidate) if yaml else ():
        if not topology.name:
            yield Problem(topology.at, "this topology has no name", "- topology: NAME, as its first key")
        elif topology.name in seen:
            message = f"topology {topology.name} stands twice; partitions get the first"
            yield Problem(topology.at, message, "a name of its own for each")
        seen.add(topology.name)
    for item in items(yaml) if yaml else ():
        chosen = item.get("cluster_default")
        defaults += bool(chosen and chosen.text.lower() in ("true", "yes"))
        if defaults == 2 and chosen:
            yield Problem(
                chosen, "a second topology with cluster_default: the first is used", "one only", "warning"
            )
            break


def _is_off(name: str, value: Value) -> bool:
    return name == "flat" and value.text.lower() in ("false", "no")


def _mappings(candidate: Candidate) -> Iterator[tuple[tuple[str, ...], Value]]:
    """The mappings of topology.yaml with their places as in _KEYS; also what stands where one should."""
    yaml = yaml_file(candidate)
    stack: list[tuple[tuple[str, ...], Value]] = [((), item) for item in items(yaml)] if yaml else []
    # Aliases may name one value often.
    seen: set[tuple[tuple[str, ...], int]] = set()
    while stack:
        place, value = stack.pop()
        if (place, id(value)) in seen:
            continue
        seen.add((place, id(value)))
        yield place, value
        for key, below in value.value.items() if isinstance(value.value, Mapping) else ():
            inner = (*place, key)
            if inner in _KEYS:
                is_list = below.kind in ("list", "map") and len(inner) > 1
                stack.extend((inner, member) for member in (members(below) if is_list else (below,)))
