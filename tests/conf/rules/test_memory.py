"""Memory, and CPUs of GPU jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conf.rules.lines import say

GIVEN_OUT = ("SelectType=select/cons_tres", "SelectTypeParameters=CR_Core_Memory")
ALL = "PartitionName=main Nodes=ALL"


@pytest.mark.parametrize(
    ("release", "line", "severities"),
    [
        ("23.11", "SelectType=select/cons_tres", ["warning"]),
        # Memory is the default from here on.
        ("24.05", "SelectType=select/cons_tres", []),
        # Whole nodes, whole memory.
        ("22.05", "SelectType=select/linear", []),
        ("26.05", "SelectTypeParameters=CR_Core", ["warning"]),
        ("26.05", "SelectTypeParameters=CR_Core\nDefMemPerCPU=100", ["error"]),
        ("26.05", "SelectTypeParameters=CR_Core\nDefMemPerCPU=UNLIMITED", ["warning"]),
    ],
)
def test_memory_is_given_out_by_the_release(
    tmp_path: Path, release: str, line: str, severities: list[str]
) -> None:
    lines = (line, "NodeName=n[1-2] CPUs=4 RealMemory=8000", ALL)
    found = say(tmp_path, ["memory-not-given-out"], *lines, release=release)
    assert [one.severity for one in found] == severities


def test_a_partition_may_give_memory_out_alone(tmp_path: Path) -> None:
    lines = ("SelectTypeParameters=CR_Core", "NodeName=n1 RealMemory=8000")
    partition = "PartitionName=main Nodes=ALL SelectTypeParameters=CR_Core_Memory"
    assert not say(tmp_path, ["memory-not-given-out"], *lines, partition)


def test_nodes_that_come_later_tell_their_memory_themselves(tmp_path: Path) -> None:
    assert say(tmp_path, ["memory-of-one-megabyte"], *GIVEN_OUT, "NodeName=n1", ALL)
    assert not say(tmp_path, ["memory-of-one-megabyte"], *GIVEN_OUT, "NodeName=n1 State=FUTURE", ALL)


def test_whole_nodes_need_no_default(tmp_path: Path) -> None:
    node = "NodeName=n1 CPUs=4 RealMemory=8000"
    assert say(tmp_path, ["default-memory-missing"], *GIVEN_OUT, node, ALL)
    assert not say(tmp_path, ["default-memory-missing"], *GIVEN_OUT, node, f"{ALL} Exclusive=NODE")
    assert not say(tmp_path, ["default-memory-missing"], *GIVEN_OUT, node, f"{ALL} OverSubscribe=EXCLUSIVE")


def test_a_default_is_judged_on_each_kind_of_node(tmp_path: Path) -> None:
    nodes = ("NodeName=a[1-9] CPUs=4 RealMemory=8000", "NodeName=b1 CPUs=8 RealMemory=8000 MemSpecLimit=100")
    rule = ["default-memory-too-large"]
    assert not say(tmp_path, rule, *GIVEN_OUT, "DefMemPerCPU=2000", *nodes, "PartitionName=main Nodes=a[1-9]")
    (found,) = say(tmp_path, rule, *GIVEN_OUT, "DefMemPerCPU=2000", *nodes, ALL)
    assert "b1 has 7900" in found.message
    assert found.hint == "at most 987"
    assert say(tmp_path, rule, *GIVEN_OUT, "DefMemPerNode=8001", *nodes, "PartitionName=main Nodes=a1")


@pytest.mark.parametrize(
    ("node", "is_found"),
    [
        ("RealMemory=196608", True),
        ("RealMemory=1048576", True),
        ("RealMemory=1031000", False),
        ("RealMemory=5120", False),
        ("RealMemory=196608 State=CLOUD", False),
    ],
)
def test_sizes_of_memory_modules(tmp_path: Path, node: str, is_found: bool) -> None:
    assert bool(say(tmp_path, ["memory-as-fitted"], f"NodeName=n1 CPUs=4 {node}")) is is_found


def test_cores_set_aside_are_no_jobs(tmp_path: Path) -> None:
    node = "NodeName=g1 Sockets=2 CoresPerSocket=8 ThreadsPerCore=2 Gres=gpu:4"
    lines = (*GIVEN_OUT, "DefCpuPerGPU=8", ALL)
    assert not say(tmp_path, ["gpu-cpus-too-many"], *lines, node)
    (found,) = say(tmp_path, ["gpu-cpus-too-many"], *lines, f"{node} CoreSpecCount=1")
    assert "has 30" in found.message
    assert say(tmp_path, ["restricted-cores"], *lines, f"{node} CoreSpecCount=1 RestrictedCoresPerGPU=4")
    assert not say(tmp_path, ["restricted-cores"], *lines, f"{node} RestrictedCoresPerGPU=4")


def test_a_mixed_partition_needs_no_cpus_by_gpu(tmp_path: Path) -> None:
    lines = (*GIVEN_OUT, "NodeName=g1 CPUs=64 Gres=gpu:4", "NodeName=c1 CPUs=64")
    assert not say(tmp_path, ["gpu-cpus-missing"], *lines, ALL)
    (found,) = say(tmp_path, ["gpu-cpus-missing"], *lines, "PartitionName=main Nodes=g1")
    assert "DefCpuPerGPU=16" in found.hint
    assert not say(
        tmp_path, ["gpu-cpus-missing"], *lines, "JobSubmitPlugins=lua", "PartitionName=main Nodes=g1"
    )
