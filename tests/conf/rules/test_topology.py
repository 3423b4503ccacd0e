"""Topologies: lint against what real slurmctld said, and what it does not say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from hpctools.conf.finding import Finding
from hpctools.conf.judge import lint

RELEASES = ("22.05", "24.11", "26.05")
HEAD = "ClusterName=c\nSlurmctldHost=h\n"
NODES = "NodeName=n[1-8] CPUs=2\nPartitionName=p Nodes=ALL Default=YES\n"
LEAVES = "SwitchName=a Nodes=n[1-4]\nSwitchName=b Nodes=n[5-8]\nSwitchName=r Switches=a,b\n"
BLOCKS = "BlockName=a Nodes=n[1-4]\nBlockName=b Nodes=n[5-8]\n"


def findings(folder: Path, files: Mapping[str, str], release: str = "26.05") -> list[Finding]:
    for name, text in files.items():
        (folder / name).write_text(text)
    return lint([str(folder)], release=release)


def rules(folder: Path, files: Mapping[str, str], release: str = "26.05") -> dict[str, str]:
    return {
        one.rule: one.severity for one in findings(folder, files, release) if one.rule.startswith("topology")
    }


def tree(topology: str) -> dict[str, str]:
    return {"slurm.conf": f"{HEAD}TopologyPlugin=topology/tree\n{NODES}", "topology.conf": topology}


def block(topology: str) -> dict[str, str]:
    return {"slurm.conf": f"{HEAD}TopologyPlugin=topology/block\n{NODES}", "topology.conf": topology}


@pytest.mark.parametrize("release", RELEASES)
def test_a_fatal_is_said_where_slurmctld_stops_and_nowhere_else(release: str, tmp_path: Path) -> None:
    text = (Path(__file__).parent / "topologies.tsv").read_text()
    _, *rows = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    asked, wrong = 0, []
    for number, (verdict, slurm, name, topology) in enumerate(rows):
        said = verdict[RELEASES.index(release)]
        if said == ".":
            continue
        asked += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        files = {"slurm.conf": HEAD + slurm.replace("\\n", "\n")}
        if name:
            files[name] = topology.replace("\\n", "\n").replace("\\\\", "\\")
        fatal = [str(one) for one in findings(folder, files, release) if one.severity == "fatal"]
        if (said == "+") == bool(fatal):
            wrong.append(f"{slurm!r} {topology!r}: slurmctld says {said}, lint {fatal}")
    assert asked > 15
    assert not wrong


def test_a_good_tree_and_good_blocks_have_nothing(tmp_path: Path) -> None:
    assert not rules(tmp_path, tree(LEAVES))
    assert not rules(tmp_path, block(f"{BLOCKS}BlockSizes=4,8\n"))


@pytest.mark.parametrize(
    ("files", "rule", "severity"),
    [
        (tree(LEAVES.replace("n[1-4]", "n[1-5]")), "topology-node-twice", "warning"),
        (block(BLOCKS.replace("n[1-4]", "n[1-5]")), "topology-node-twice", "error"),
        (tree(LEAVES.replace("n[5-8]", "n[5-9]")), "topology-node-unknown", "error"),
        (tree(LEAVES.replace("n[5-8]", "n[5-7]")), "topology-node-missing", "warning"),
        (tree(f"{LEAVES}SwitchName=s Switches=a\n"), "topology-switch-parents", "error"),
        (tree(f"{LEAVES}SwitchName=s Switches=a\n"), "topology-roots", "warning"),
        (block(f"{BLOCKS}BlockSizes=2\n"), "topology-block-large", "warning"),
        (block(f"{BLOCKS}BlockSizes=8\n"), "topology-block-nodes", "warning"),
    ],
)
def test_what_slurmctld_accepts_is_said(
    files: Mapping[str, str], rule: str, severity: str, tmp_path: Path
) -> None:
    assert rules(tmp_path, files)[rule] == severity


def test_blocks_of_two_sizes_stop_the_older_releases(tmp_path: Path) -> None:
    smaller, larger = BLOCKS.replace("n[5-8]", "n[5-7]"), BLOCKS.replace("n[1-4]", "n[1-3]")
    for release, severity in (("23.11", "fatal"), ("24.11", "fatal"), ("25.05", "warning")):
        assert rules(tmp_path, block(smaller), release)["topology-block-nodes"] == severity
    assert rules(tmp_path, block(larger), "23.11")["topology-block-nodes"] == "fatal"
    assert "topology-block-nodes" not in rules(tmp_path, block(larger), "24.11")


def test_topology_conf_alone_is_judged_by_its_keys(tmp_path: Path) -> None:
    file = tmp_path / "topology.conf"
    file.write_text(f"{LEAVES}{BLOCKS}")
    found = [(one.rule, one.line) for one in lint([str(file)], release="26.05")]
    assert found == [("topology-foreign-key", 4), ("topology-foreign-key", 5)]


def test_each_partition_needs_its_nodes_in_its_own_topology(tmp_path: Path) -> None:
    yaml = """
- topology: one
  tree:
    switches:
      - switch: a
        nodes: n[1-4]
- topology: two
  block:
    blocks:
      - block: b
        nodes: n[5-8]
"""
    slurm = (
        f"{HEAD}NodeName=n[1-8] CPUs=2\nPartitionName=p Nodes=n[1-4] Default=YES\n"
        "PartitionName=q Nodes=n[5-8] Topology=two\n"
    )
    assert not rules(tmp_path, {"slurm.conf": slurm, "topology.yaml": yaml})
    wider = slurm.replace("Nodes=n[5-8]", "Nodes=n[4-8]")
    (one,) = [
        one
        for one in findings(tmp_path, {"slurm.conf": wider, "topology.yaml": yaml})
        if one.rule == "topology-node-missing"
    ]
    assert "topology two has n4" in one.message
    assert one.line == 7
