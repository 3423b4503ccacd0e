"""The topology: which form a release can have, and that no host is left out."""

from __future__ import annotations

import pytest
import yaml

from hpctools.conf.policy import Policy
from hpctools.conf.rendering import render
from hpctools.errors import InvalidInput
from hpctools.inventory.model import Inventory
from hpctools.slurm.releases import RELEASES, at_least
from tests.conf.render.clusters import CPU, NVL, PLAIN, inventory, nvl72, policy

APART = policy("""
slurm: {controllers: ctl1}
partitions: {gpu: {nodes: nvl72, default: true}, cpu: {nodes: cpu}}
""")
MIXED = policy("""
slurm: {controllers: ctl1}
partitions: {gpu: {nodes: nvl72, default: true}, debug: {nodes: all}}
""")
CPUS = '  - {hosts: "cpu[1-8]", type: cpu}'
SWITCHED = '  - {hosts: "cpu[1-8]", type: cpu, switch: "leaf[1-2]"}'


def plugin(texts: dict[str, str]) -> str:
    found = [line for line in texts["slurm.conf"].splitlines() if line.startswith("TopologyPlugin")]
    return found[0].partition("/")[2] if found else ""


def uneven(nodes: str = '"nvl[1-5]"') -> Inventory:
    """Two blocks of 3 and 2 hosts."""
    return inventory(NVL, f'  - {{hosts: {nodes}, type: nvl72, block: "b[1-2]", per_block: 3}}')


@pytest.mark.parametrize("release", RELEASES)
def test_hosts_that_are_all_in_blocks_get_blocks_where_slurm_has_them(release: str) -> None:
    texts = render(nvl72(2), PLAIN, release)
    if not at_least(release, "23.11"):
        assert plugin(texts) == "tree"
        assert "SwitchName=rack001 Nodes=nvl[00001-00018]\n" in texts["topology.conf"]
        assert "SwitchName=root Switches=rack[001-002]\n" in texts["topology.conf"]
        return
    assert plugin(texts) == "block"
    sizes = "BlockLevels=0" if release == "23.11" else "BlockSizes=18"
    assert texts["topology.conf"].splitlines()[-1] == sizes


def test_blocks_of_unequal_sizes_are_none_for_23_11_and_count_by_the_smallest_later() -> None:
    assert plugin(render(uneven(), PLAIN, "23.11")) == "tree"
    texts = render(uneven(), PLAIN, "24.05")
    assert texts["topology.conf"].endswith("BlockSizes=2\n")
    assert "# b2 has 2 hosts, others up to 3" in texts["topology.conf"]


def test_other_hosts_need_no_topology_where_no_partition_mixes_them() -> None:
    assert plugin(render(nvl72(2, CPUS), APART, "24.05")) == "block"
    assert plugin(render(nvl72(2, CPUS), APART, "23.11")) == "tree"


@pytest.mark.parametrize(("more", "choices"), [(CPUS, MIXED), (SWITCHED, APART)])
def test_blocks_beside_others_need_two_topologies(more: str, choices: Policy) -> None:
    assert plugin(render(nvl72(2, more), choices, "24.11")) == "tree"
    texts = render(nvl72(2, more), choices, "25.05")
    assert plugin(texts) == ""
    assert "topology.conf" not in texts
    fabric, blocks = yaml.safe_load(texts["topology.yaml"])
    assert fabric["cluster_default"]
    leaves = [one["switch"] for one in fabric["tree"]["switches"]]
    assert leaves == [*(["leaf1", "leaf2"] if "leaf" in more else []), "rack001", "rack002"] + (
        ["root"] if "leaf" in more else ["other", "root"]
    )
    assert blocks["block"]["block_sizes"] == [18]
    assert [one["nodes"] for one in blocks["block"]["blocks"]] == ["nvl[00001-00018]", "nvl[00019-00036]"]


def test_blocks_that_no_partition_can_use_are_leaves_of_a_tree() -> None:
    assert plugin(render(nvl72(2, CPUS), PLAIN, "26.05")) == "tree"


def test_a_partition_inside_of_blocks_uses_them() -> None:
    lines = render(nvl72(2, SWITCHED), APART, "25.05")["partitions.conf"].splitlines()
    assert [line.split()[0] for line in lines if line.endswith("Topology=blocks")] == ["PartitionName=gpu"]


def test_hosts_on_no_switch_get_that_of_their_block_or_one_of_their_own() -> None:
    more = f"{SWITCHED}\n  - {{hosts: lone, type: cpu}}"
    texts = render(nvl72(2, more), APART, "22.05")["topology.conf"]
    assert "SwitchName=rack002 Nodes=nvl[00019-00036]\nSwitchName=other Nodes=lone\n" in texts
    assert "SwitchName=root Switches=leaf[1-2],rack[001-002],other\n" in texts


def test_a_name_of_ours_gives_way_to_one_of_the_sites() -> None:
    nodes = "  - {hosts: a, type: cpu, switch: root}\n  - {hosts: b, type: cpu, switch: other}\n"
    texts = render(inventory(CPU, f"{nodes}  - {{hosts: c, type: cpu}}"), PLAIN, "22.05")["topology.conf"]
    assert "SwitchName=other2 Nodes=c\n" in texts
    assert "SwitchName=root2 Switches=root,other,other2\n" in texts


def test_switches_of_the_inventory_keep_their_roots() -> None:
    facts = inventory(
        CPU, '  - {hosts: "c[1-4]", type: cpu, switch: "leaf[1-2]"}', "  - {name: top, switches: leaf1}"
    )
    assert render(facts, PLAIN, "24.11")["topology.conf"].splitlines()[-1] == "SwitchName=top Switches=leaf1"


def test_without_switches_and_blocks_there_is_none() -> None:
    texts = render(inventory(CPU, CPUS), PLAIN, "26.05")
    assert not {"topology.conf", "topology.yaml"} & texts.keys()
    assert plugin(texts) == ""


def test_a_yaml_file_is_never_of_a_size_that_slurm_cannot_read() -> None:
    sizes = [
        len(render(nvl72(racks, SWITCHED), APART, "25.05")["topology.yaml"].encode())
        for racks in range(1, 140)
    ]
    assert max(sizes) > 4096
    assert not [size for size in sizes if size % 4096 == 0]


def test_a_switch_with_nothing_below_and_a_long_name_are_refused() -> None:
    nodes = f"  - {{hosts: c1, type: cpu, switch: {'x' * 65}}}"
    with pytest.raises(InvalidInput, match="longer than 64"):
        render(inventory(CPU, nodes), PLAIN, "24.11")
