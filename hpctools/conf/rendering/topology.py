"""topology.conf or topology.yaml: switches as a tree, NVLink domains as blocks.

slurmctld stops at an empty topology, at a block that is smaller than the base size, and in 23.11 at
blocks of unequal sizes; and a host that is on no switch of a tree gets no job. None of that is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hpctools.conf.rendering import text
from hpctools.conf.rendering.members import Members
from hpctools.conf.topology import YAML_SINCE
from hpctools.errors import Problem
from hpctools.inventory.model import Inventory
from hpctools.slurm import hostlist
from hpctools.slurm.releases import at_least, plugins

# Blocks of unequal sizes, and hosts outside of all blocks, since then; BlockSizes, too.
_UNEQUAL_BLOCKS = "24.05"
# topology.conf(5), SwitchName.
_LONGEST_NAME = 64
# Without a later fix slurmctld cannot read a YAML file of this size, or a multiple of it.
_PAGE = 4096


@dataclass(frozen=True)
class Switch:
    """nodes or switches: what hangs on it, a list of Slurm's; the other is ""."""

    name: str
    nodes: str = ""
    switches: str = ""


@dataclass(frozen=True)
class Plan:
    """What is written. plugin: TopologyPlugin, tree or block; "" for none, or where topology.yaml says it.

    tree: the switches. blocks: the hosts of each. of_partition: Topology of a PartitionName line.
    """

    plugin: str = ""
    tree: tuple[Switch, ...] = ()
    blocks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    of_partition: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_yaml(self) -> bool:
        return bool(self.blocks) and not self.plugin


def plan(inventory: Inventory, members: Mapping[str, Members], release: str) -> Plan:
    """Blocks where the release can have them, else switches, both in topology.yaml where both are needed.

    Under topology/block a job that may use hosts of blocks gets no others. So where hosts outside of all
    blocks have switches, or share a partition with blocks, only the partitions inside of blocks use them.
    """
    blocks = inventory.blocks
    inside = frozenset(host for hosts in blocks.values() for host in hosts)
    outside = [host for host in inventory.hosts if host not in inside]
    if blocks and _takes(blocks, release):
        apart = _apart(inventory, members, inside)
        if not outside or (at_least(release, _UNEQUAL_BLOCKS) and not apart):
            return Plan("block", blocks=blocks)
        of_partition = {name: "blocks" for name, some in members.items() if inside.issuperset(some.hosts)}
        if of_partition and at_least(release, YAML_SINCE):
            return Plan("", _tree(inventory), blocks, of_partition)
    return Plan("tree", _tree(inventory)) if inventory.leaves or blocks else Plan()


def problems(inventory: Inventory) -> Iterator[Problem]:
    names = [*inventory.leaves, *(switch.name for switch in inventory.switches), *inventory.blocks]
    for name in dict.fromkeys(names):
        if len(name) > _LONGEST_NAME:
            yield Problem("nodes", f"{name} is longer than {_LONGEST_NAME} characters", "a shorter name")
    for switch in inventory.switches:
        if not switch.children:
            yield Problem("switches", f"nothing is below {switch.name}", "name its switches, or remove it")


def topology_conf(found: Plan, release: str) -> str:
    """topology.conf; "" where there is none."""
    if not found.plugin:
        return ""
    if found.plugin == "tree":
        switches = (
            text.line((("SwitchName", one.name), ("Nodes", one.nodes), ("Switches", one.switches)))
            for one in found.tree
        )
        return "".join([text.header(release, "the switches."), "\n", *switches])
    blocks = (
        text.line((("BlockName", name), ("Nodes", hostlist.fold(hosts))))
        for name, hosts in found.blocks.items()
    )
    size = _base_size(found.blocks)
    # One level only: jobs that are larger than a block take as few blocks as possible, any ones.
    sizes = f"BlockSizes={size}\n" if at_least(release, _UNEQUAL_BLOCKS) else "BlockLevels=0\n"
    return "".join([text.header(release, "the blocks."), *_uneven(found.blocks), "\n", *blocks, sizes])


def topology_yaml(found: Plan, release: str) -> str:
    """topology.yaml; "" where there is none. The tree of all hosts is the default."""
    if not found.is_yaml:
        return ""
    lines = [text.header(release, "the blocks, and the switches of all hosts."), *_uneven(found.blocks)]
    lines += ["---\n", "- topology: fabric\n", "  cluster_default: true\n", "  tree:\n", "    switches:\n"]
    for switch in found.tree:
        key, names = ("nodes", switch.nodes) if switch.nodes else ("children", switch.switches)
        lines += [f"      - switch: {_yaml(switch.name)}\n", f"        {key}: {_yaml(names)}\n"]
    lines += ["- topology: blocks\n", "  cluster_default: false\n", "  block:\n"]
    lines += ["    block_sizes:\n", f"      - {_base_size(found.blocks)}\n", "    blocks:\n"]
    for name, hosts in found.blocks.items():
        lines += [f"      - block: {_yaml(name)}\n", f"        nodes: {_yaml(hostlist.fold(hosts))}\n"]
    whole = "".join(lines)
    return whole if len(whole.encode()) % _PAGE else f"{whole}# So long that Slurm can read it.\n"


def _yaml(name: str) -> str:
    """A string of JSON is one of YAML, too."""
    return json.dumps(name)


def _takes(blocks: Mapping[str, tuple[str, ...]], release: str) -> bool:
    """Whether topology/block of the release takes these blocks."""
    sizes = {len(hosts) for hosts in blocks.values()}
    return "block" in plugins("topology", release) and (len(sizes) == 1 or at_least(release, _UNEQUAL_BLOCKS))


def _apart(inventory: Inventory, members: Mapping[str, Members], inside: frozenset[str]) -> bool:
    """Whether hosts outside of all blocks need a topology of their own."""
    on_switches = {host for hosts in inventory.leaves.values() for host in hosts}
    if on_switches - inside:
        return True
    return any(0 < len(inside.intersection(some.hosts)) < len(some.hosts) for some in members.values())


def _tree(inventory: Inventory) -> tuple[Switch, ...]:
    """The leaves and those above them; where the inventory has none above, a root for all.

    A block whose hosts are on no switch is a leaf, too, and so are all hosts that are nowhere.
    """
    leaves = dict(inventory.leaves)
    taken = {*leaves, *(switch.name for switch in inventory.switches)}
    placed = {host for hosts in leaves.values() for host in hosts}
    for name, hosts in inventory.blocks.items():
        if rest := tuple(host for host in hosts if host not in placed):
            leaves[_free(name, taken)] = rest
            taken.update(leaves)
            placed.update(rest)
    if rest := tuple(host for host in inventory.hosts if host not in placed):
        leaves[_free("other", taken)] = rest
    found = [Switch(name, nodes=hostlist.fold(hosts)) for name, hosts in leaves.items()]
    if inventory.switches:
        above = [Switch(one.name, switches=hostlist.fold(one.children)) for one in inventory.switches]
    elif len(leaves) > 1:
        above = [Switch(_free("root", set(leaves)), switches=hostlist.fold(leaves))]
    else:
        above = []
    return (*found, *above)


def _free(name: str, taken: set[str]) -> str:
    return next(one for one in (name, *(f"{name}{n}" for n in range(2, len(taken) + 3))) if one not in taken)


def _base_size(blocks: Mapping[str, tuple[str, ...]]) -> int:
    """The planning base block size: each block must have as many hosts (topology.conf(5))."""
    return min(len(hosts) for hosts in blocks.values())


def _uneven(blocks: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    least, most = _base_size(blocks), max(len(hosts) for hosts in blocks.values())
    if least < most:
        name = next(name for name, hosts in blocks.items() if len(hosts) == least)
        yield f"# {name} has {least} hosts, others up to {most}: the smallest is the base size, and a job\n"
        yield f"# of more than {least} hosts may be spread over several blocks.\n"
