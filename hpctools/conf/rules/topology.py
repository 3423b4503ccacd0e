"""Which file tells slurmctld its topology, and whether slurm.conf and that file agree on names."""

from __future__ import annotations

from collections.abc import Iterator

from hpctools.conf.candidate import Candidate
from hpctools.conf.finding import At, Problem
from hpctools.conf.rules import rule
from hpctools.conf.topology import YAML_SINCE, conf_file, places, plugin_of, topologies, yaml_file
from hpctools.slurm.releases import at_least

# The plugins that stop without topology.conf.
_NEED_FILE = ("tree", "block", "ring", "hypercube")
# Keys of topology.conf that only one plugin's parser knows.
_KEYS = {
    "switchname": ("tree", "hypercube"),
    "blockname": ("block",),
    "blocksizes": ("block",),
    "blocklevels": ("block",),
    "ringname": ("ring",),
}


@rule("topology-file-missing", "fatal")
def topology_file_missing(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("TopologyPlugin") if slurm else None
    if not slurm or not pair or not candidate.complete or plugin_of(slurm) not in _NEED_FILE:
        return
    if not candidate.conf("topology.conf") and not yaml_file(candidate):
        message = f"TopologyPlugin={pair.value} needs topology.conf, which is not here"
        yield Problem(pair, message, "write it, or remove TopologyPlugin")


@rule("topology-conf-unused", "warning")
def topology_conf_unused(candidate: Candidate) -> Iterator[Problem]:
    conf, slurm = candidate.conf("topology.conf"), candidate.slurm
    if not conf or not slurm or slurm.partial:
        return
    if yaml_file(candidate):
        yield Problem(conf, "topology.yaml stands beside it, so this file is not read", "remove one of them")
    elif plugin_of(slurm) not in _NEED_FILE:
        message = f"TopologyPlugin is {slurm.value('TopologyPlugin', 'not set')}, so this file is not read"
        yield Problem(conf, message, "TopologyPlugin=topology/tree or topology/block in slurm.conf")


@rule("topology-plugin-unused", "warning")
def topology_plugin_unused(candidate: Candidate) -> Iterator[Problem]:
    slurm, yaml = candidate.slurm, yaml_file(candidate)
    pair = slurm.get("TopologyPlugin") if slurm else None
    if slurm and yaml and pair and plugin_of(slurm) not in {one.plugin for one in topologies(candidate)}:
        message = f"TopologyPlugin={pair.value} has no effect: topology.yaml says which plugins are used"
        yield Problem(pair, message, "remove it")


@rule("topology-yaml-unread", "error")
def topology_yaml_unread(candidate: Candidate) -> Iterator[Problem]:
    yaml = candidate.yamls.get("topology.yaml")
    if yaml and not yaml_file(candidate):
        message = f"{candidate.release} does not read topology.yaml; {YAML_SINCE} is the first that does"
        yield Problem(yaml, message, "write topology.conf, and set TopologyPlugin in slurm.conf")


@rule("topology-foreign-key", "fatal")
def topology_foreign_key(candidate: Candidate) -> Iterator[Problem]:
    """Each plugin reads topology.conf with a parser that knows its own keys only."""
    conf, slurm = conf_file(candidate), candidate.slurm
    if not conf:
        return
    plugin = plugin_of(slurm) if slurm and slurm.get("TopologyPlugin") else ""
    for line in conf.lines:
        plugins = _KEYS.get(line.key.lower())
        if plugins and not plugin:
            plugin = plugins[0]
        if plugins and plugin not in plugins:
            yield Problem(
                line, f"topology/{plugin} does not know {line.key}, and stops at it", "remove the line"
            )


@rule("topology-name-unknown", "fatal")
def topology_name_unknown(candidate: Candidate) -> Iterator[Problem]:
    slurm, yaml = candidate.slurm, yaml_file(candidate)
    if not slurm or not at_least(candidate.release, YAML_SINCE) or (not yaml and not candidate.complete):
        return
    known = {one.name: one for one in topologies(candidate)} if yaml else {"default": None}
    for record in slurm.partitions:
        name = record.value("Topology")
        if name and name not in known:
            message = f"partition {record.name}: there is no topology {name}"
            yield Problem(record.where("Topology"), message, _choice(known))
    said = set()
    for record in slurm.nodes:
        text = record.value("Topology")
        if not text or text in said:
            continue
        said.add(text)
        for name, unit in places(record):
            topology = known.get(name)
            if name not in known:
                yield Problem(
                    record.where("Topology"), f"Topology={text}: there is no topology {name}", _choice(known)
                )
            elif topology and topology.plugin == "tree" and unit:
                first = unit.partition(":")[0]
                if first not in {switch.name for switch in topology.units}:
                    message = f"Topology={text}: topology {name} has no switch {first}"
                    yield Problem(record.where("Topology"), message, "name one that it has")


@rule("topology-yaml-size", "error")
def topology_yaml_size(candidate: Candidate) -> Iterator[Problem]:
    yaml = yaml_file(candidate)
    size = len(yaml.to_bytes()) if yaml else 0
    if yaml and size and size % 4096 == 0:
        message = f"its {size} bytes are a multiple of 4096: without a later fix slurmctld cannot read it"
        yield Problem(At(yaml.path), message, "add a line of comment")


def _choice(known: object) -> str:
    names = [name for name in known if name] if isinstance(known, dict) else []
    return f"one of {', '.join(names)}" if names else ""
