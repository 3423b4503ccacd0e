"""cgroup.conf with slurm.conf."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from hpctools.conf.judge import lint

TAIL = "NodeName=n CPUs=4 RealMemory=8000\nPartitionName=p Nodes=ALL Default=YES\n"
GPU = "GresTypes=gpu\n" + TAIL.replace("RealMemory", "Gres=gpu:4 RealMemory")
ISOLATED = "ConstrainCores=yes\nConstrainDevices=yes\nConstrainRAMSpace=yes\n"
OURS = (
    "cgroup",
    "gpu-without",
    "gpu-not",
    "cores-not",
    "memory-not-c",
    "memory-con",
    "memory-lim",
    "constraint",
)


def rules(folder: Path, files: Mapping[str, str], release: str = "26.05") -> dict[str, str]:
    for name, text in files.items():
        (folder / name).write_text(text)
    found = lint([str(folder)], release=release)
    return {one.rule: one.severity for one in found if one.rule.startswith(OURS)}


def slurm(more: str, tail: str = TAIL) -> str:
    return f"ClusterName=c\nSlurmctldHost=h\n{more}{tail}"


def test_an_isolated_cluster_has_nothing(tmp_path: Path) -> None:
    for plugins in ("task/affinity,task/cgroup", "cgroup,affinity", "task/cgroup"):
        files = {"slurm.conf": slurm(f"TaskPlugin={plugins}\n", GPU), "cgroup.conf": ISOLATED}
        assert not rules(tmp_path, files)


def test_a_missing_cgroup_conf_constrains_nothing(tmp_path: Path) -> None:
    found = rules(tmp_path, {"slurm.conf": slurm("TaskPlugin=task/cgroup\n", GPU)})
    assert found == {
        "gpu-not-constrained": "error",
        "cores-not-constrained": "warning",
        "memory-not-constrained": "warning",
    }


def test_a_slurm_conf_alone_may_have_a_cgroup_conf_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "slurm.conf"
    file.write_text(slurm("TaskPlugin=task/cgroup\n", GPU))
    found = [one.rule for one in lint([str(file)], release="26.05") if one.rule.startswith(OURS)]
    assert not found


@pytest.mark.parametrize(("release", "gives"), [("23.11", False), ("24.05", True)])
def test_memory_is_given_out_by_default_from_24_05(release: str, gives: bool, tmp_path: Path) -> None:
    files = {"slurm.conf": slurm("TaskPlugin=task/cgroup\n"), "cgroup.conf": ISOLATED}
    assert ("memory-constraint-unused" in rules(tmp_path, files, release)) is not gives


@pytest.mark.parametrize(
    ("value", "release", "fatal"),
    [
        ("autodetect", "22.05", False),
        ("Autodetect", "26.05", True),
        ("disabled", "23.11", True),
        ("cgroup/v2", "22.05", False),
        ("v2", "26.05", True),
    ],
)
def test_the_plugin_is_compared_exactly(value: str, release: str, fatal: bool, tmp_path: Path) -> None:
    (tmp_path / "cgroup.conf").write_text(f"CgroupPlugin={value}\n")
    found = {one.rule: one.severity for one in lint([str(tmp_path / "cgroup.conf")], release=release)}
    assert ("cgroup-plugin" in found) is fatal


def test_over_memory_kill_and_cgroups_stop_slurmctld(tmp_path: Path) -> None:
    """As slurmctld of 22.05.8, 24.11.5 and 26.05 said."""
    more = "JobAcctGatherParams=OverMemoryKill\nTaskPlugin=task/cgroup\n"
    for key, stops in (("ConstrainRAMSpace", True), ("ConstrainSwapSpace", True), ("ConstrainCores", False)):
        found = rules(tmp_path, {"slurm.conf": slurm(more), "cgroup.conf": f"{key}=yes\n"})
        assert ("memory-limited-twice" in found) is stops


def test_the_release_agent_is_taken_out(tmp_path: Path) -> None:
    file = tmp_path / "cgroup.conf"
    file.write_text("ConstrainCores=yes\nCgroupReleaseAgentDir=/x\n")
    for release, rule in (("24.11", "cgroup-release-agent"), ("25.11", "removed-key")):
        (one,) = [one for one in lint([str(file)], release=release) if one.severity == "fatal"]
        assert one.rule == rule
        assert [edit.text for edit in one.edits] == [""]
