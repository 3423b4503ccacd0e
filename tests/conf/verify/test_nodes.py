"""Which nodes are started, and where all others are."""

from __future__ import annotations

from pathlib import Path

from hpctools.conf.verify import nodes, rewrite
from hpctools.conf.verify.ground import Ground
from hpctools.slurm import conf_text, hostlist, scontrol
from hpctools.slurm.scontrol import Partition
from tests.conf.verify.grounds import GROUND, candidate, started

HEAD = "ClusterName=c\nSlurmctldHost=ctl\n"


def partitions(**members: str) -> tuple[Partition, ...]:
    lines = (f"PartitionName={name} State=UP Nodes={nodes}" for name, nodes in members.items())
    return scontrol.parse_partitions("\n".join(lines))


def chosen(folder: Path, text: str, most: int = nodes.MOST, **members: str) -> list[tuple[str, int]]:
    slurm = candidate(folder, slurm_conf=HEAD + text).confs["slurm.conf"]
    return [(one.name, one.alike) for one in nodes.choose(slurm, partitions(**members), most)]


def test_one_node_of_each_hardware_is_started(tmp_path: Path) -> None:
    text = "NodeName=DEFAULT CPUs=8\nNodeName=a[1-4] Gres=gpu:2\nNodeName=b1,b2\nNodeName=c[1-2] Feature=x\n"
    assert chosen(tmp_path, text, p="a[1-4],b[1-2],c[1-2]") == [("a1", 4), ("b1", 4)]


def test_the_node_in_most_partitions_stands_for_its_kind(tmp_path: Path) -> None:
    assert chosen(tmp_path, "NodeName=a[1-9] CPUs=8\n", p="a[1-9]", q="a[5-6]") == [("a5", 9)]


def test_each_partition_gets_a_node(tmp_path: Path) -> None:
    assert chosen(tmp_path, "NodeName=a[1-9] CPUs=8\n", p="a[1-4]", q="a[5-9]") == [("a1", 9), ("a5", 9)]


def test_no_more_than_a_machine_can_hold(tmp_path: Path) -> None:
    text = "".join(f"NodeName=a{n} CPUs={n}\n" for n in range(1, 9))
    assert len(chosen(tmp_path, text, 3, p="a[1-8]")) == 3


def test_nodes_that_are_down_or_of_the_future_are_not_started(tmp_path: Path) -> None:
    text = "NodeName=a1 CPUs=8 State=FUTURE\nNodeName=a2 CPUs=8 State=DRAIN\n"
    text += "NodeName=a[3-4] CPUs=8\nDownNodes=a3\n"
    assert chosen(tmp_path, text, p="a[1-4]") == [("a4", 1)]


def line(folder: Path, text: str, ground: Ground) -> dict[str, str]:
    found = candidate(folder, slurm_conf=HEAD + text)
    data = rewrite.rewrite(found, ground).files["slurm.conf"]
    return {pair.key: pair.value for pair in conf_text.parse(data).all("NodeName")[-1].pairs}


def test_nodes_that_are_not_started_are_where_nobody_can_be(tmp_path: Path) -> None:
    pairs = line(tmp_path, "NodeName=a[1-300] CPUs=8 NodeAddr=10.0.[0-2].[1-100] Port=[7001-7300]\n", GROUND)
    addresses = hostlist.expand(pairs["NodeAddr"])
    assert len(addresses) == len(set(addresses)) == 300
    assert {address.partition(".")[0] for address in addresses} == {"239"}
    assert pairs["Port"] == "[7001-7300]"


def test_started_nodes_are_here_at_their_ports(tmp_path: Path) -> None:
    pairs = line(tmp_path, "NodeName=a[1-5] CPUs=8\n", started(a2=17000, a4=17001))
    assert hostlist.expand(pairs["NodeAddr"])[1::2] == ["127.0.0.1", "127.0.0.1"]
    assert hostlist.expand(pairs["Port"])[1::2] == ["17000", "17001"]
    assert len(hostlist.expand(pairs["Port"])) == 5


def test_a_number_of_addresses_that_does_not_fit_stays_to_be_refused(tmp_path: Path) -> None:
    text = "NodeName=a[1-5] CPUs=8 NodeAddr=10.0.0.[1-3]\n"
    assert line(tmp_path, text, GROUND)["NodeAddr"] == "10.0.0.[1-3]"


def test_a_cloud_node_that_is_started_is_there_already(tmp_path: Path) -> None:
    text = "NodeName=DEFAULT State=CLOUD\nNodeName=a[1-2] CPUs=8\n"
    assert line(tmp_path, text, started(a1=17000))["State"] == "UNKNOWN"
    assert "State" not in line(tmp_path, text, GROUND)
