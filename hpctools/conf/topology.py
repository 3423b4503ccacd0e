"""The topologies of a candidate, alike from topology.conf and topology.yaml, as slurmctld would read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from hpctools.conf.candidate import Candidate, Conf, Record
from hpctools.conf.finding import Place
from hpctools.errors import ParseError
from hpctools.slurm import hostlist
from hpctools.slurm.releases import at_least
from hpctools.slurm.yaml_text import Value, YamlFile

# The release that reads topology.yaml first; it then does not read topology.conf.
YAML_SINCE = "25.05"
# Plugins by the key of topology.conf that begins their lines.
_PLUGIN_OF_KEY = {"switchname": "tree", "blockname": "block", "ringname": "ring"}
# And by the list and the name of its members in topology.yaml.
_LISTS = {"tree": ("switches", "switch"), "block": ("blocks", "block"), "ring": ("rings", "ring")}
PLUGINS_OF_YAML = {"tree": "25.05", "block": "25.05", "flat": "25.05", "ring": "26.05", "torus3d": "26.05"}


@dataclass(frozen=True)
class Unit:
    """A switch, block or ring. nodes, children: the texts; None where not set."""

    name: str
    nodes: str | None
    children: str | None
    at: Place

    @cached_property
    def node_names(self) -> tuple[str, ...]:
        """() where there are none, or the list cannot be read."""
        return _expanded(self.nodes)

    @cached_property
    def child_names(self) -> tuple[str, ...]:
        return _expanded(self.children)


@dataclass(frozen=True)
class Topology:
    """name: "default" for that of topology.conf. plugin: tree, block, ring, torus3d, flat; "" for none.

    sizes: the words of BlockSizes or block_sizes; None where not set. sizes_at: where they stand.
    """

    name: str
    plugin: str
    units: tuple[Unit, ...]
    at: Place
    is_yaml: bool
    is_default: bool = True
    sizes: tuple[str, ...] | None = None
    sizes_at: Place | None = None

    @cached_property
    def node_names(self) -> frozenset[str]:
        return frozenset(name for unit in self.units for name in unit.node_names)


def plugin_of(slurm: Conf) -> str:
    """TopologyPlugin without its type: tree, block, ...; default where it is not set."""
    return slurm.value("TopologyPlugin", "default").lower().removeprefix("topology/")


def yaml_file(candidate: Candidate) -> YamlFile | None:
    """topology.yaml, where the release reads it."""
    return candidate.yamls.get("topology.yaml") if at_least(candidate.release, YAML_SINCE) else None


def conf_file(candidate: Candidate) -> Conf | None:
    """topology.conf, where slurmctld reads it: it has no topology.yaml, and its plugin looks there."""
    conf, slurm = candidate.conf("topology.conf"), candidate.slurm
    if conf is None or yaml_file(candidate):
        return None
    if slurm and not (slurm.partial and not slurm.get("TopologyPlugin")):
        return conf if plugin_of(slurm) in _PLUGIN_OF_KEY.values() else None
    return conf


def topologies(candidate: Candidate) -> tuple[Topology, ...]:
    yaml = yaml_file(candidate)
    if yaml:
        return tuple(_of_yaml(yaml))
    conf = conf_file(candidate)
    return (_of_conf(conf, candidate.slurm),) if conf else ()


def items(yaml: YamlFile) -> tuple[Value, ...]:
    """The topologies of topology.yaml: a list of them, or one alone. One that aliases name often once."""
    if yaml.root is None:
        return ()
    found = (yaml.root,) if yaml.root.kind == "map" else yaml.root.items
    return tuple({id(item): item for item in found}.values())


def members(value: Value | None) -> tuple[Value, ...]:
    """Those of a list; a mapping in its place is one member."""
    if value is None:
        return ()
    return (value,) if value.kind == "map" else value.items


def places(record: Record) -> list[tuple[str, str]]:
    """The topologies and units in Topology of a NodeName line: topo1:s1,topo2:b3."""
    words = (word.strip().partition(":") for word in record.value("Topology").split(","))
    return [(name, unit) for name, _, unit in words if name]


def _of_conf(conf: Conf, slurm: Conf | None) -> Topology:
    units = []
    plugin = plugin_of(slurm) if slurm and slurm.get("TopologyPlugin") else ""
    for line in conf.lines:
        of_key = _PLUGIN_OF_KEY.get(line.key.lower())
        if of_key:
            plugin = plugin or of_key
        if of_key == plugin and of_key:
            units.append(Unit(line.pairs[0].value, line.value("Nodes"), line.value("Switches"), line))
    sizes = conf.get("BlockSizes")
    words = tuple(word for word in sizes.value.split(",") if word) if sizes else None
    return Topology("default", plugin, tuple(units), conf, False, True, words, sizes)


def _of_yaml(yaml: YamlFile) -> Iterator[Topology]:
    found = items(yaml)
    marked = [item for item in found if _is_true(item.get("cluster_default"))]
    default = (marked or list(found))[:1]
    for item in found:
        name = item.get("topology")
        plugin = next((plugin for plugin in PLUGINS_OF_YAML if item.get(plugin)), "")
        body = item.get(plugin)
        list_name, unit_name = _LISTS.get(plugin, ("", ""))
        units = tuple(_unit(member, unit_name) for member in members(body.get(list_name) if body else None))
        sizes = body.get("block_sizes") if body else None
        # One size need not be in a list.
        given = (sizes.items or ((sizes,) if sizes.text else ())) if sizes else ()
        words = tuple(size.text for size in given)
        is_default = item in default
        yield Topology(name.text if name else "", plugin, units, item, True, is_default, words or None, sizes)


def _unit(member: Value, unit_name: str) -> Unit:
    name, nodes, children = member.get(unit_name), member.get("nodes"), member.get("children")
    return Unit(
        name.text if name else "",
        nodes.text if nodes else None,
        children.text if children else None,
        name or member,
    )


def _is_true(value: Value | None) -> bool:
    return value is not None and value.text.lower() in ("true", "yes", "on", "1")


def _expanded(text: str | None) -> tuple[str, ...]:
    try:
        return tuple(hostlist.expand(text)) if text else ()
    except ParseError:
        return ()
