"""Weights, tiers and preemption by them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conf.rules.lines import say

NODES = "NodeName=gpu[1-4] CPUs=4"
ACCOUNTS = "AccountingStorageType=accounting_storage/slurmdbd"
PREEMPT = ("PreemptType=preempt/partition_prio", "PreemptMode=REQUEUE", NODES)


def test_the_weights_of_tres_count(tmp_path: Path) -> None:
    lines = (ACCOUNTS, "PriorityWeightAge=4294967000", NODES, "PartitionName=main Nodes=ALL")
    assert not say(tmp_path, ["priority-overflow"], *lines)
    assert not say(tmp_path, ["priority-overflow"], *lines, "PriorityWeightTRES=cpu=200,mem=-100M")
    (found,) = say(tmp_path, ["priority-overflow"], *lines, "PriorityWeightTRES=cpu=200,mem=100.5")
    assert "4,294,967,300" in found.message


def test_a_factor_that_is_not_normalised_multiplies(tmp_path: Path) -> None:
    lines = (
        "PriorityWeightPartition=100000",
        NODES,
        "PartitionName=main Nodes=ALL",
        "PartitionName=high Nodes=ALL PriorityJobFactor=60000",
    )
    assert not say(tmp_path, ["priority-overflow"], *lines)
    assert say(tmp_path, ["priority-overflow"], *lines, "PriorityFlags=NO_NORMAL_PART")


@pytest.mark.parametrize(
    ("release", "kind", "unused"),
    [("23.02", "", True), ("23.11", "", False), ("26.05", "basic", True), ("22.05", "multifactor", False)],
)
def test_weights_count_with_multifactor_only(tmp_path: Path, release: str, kind: str, unused: bool) -> None:
    lines = [f"PriorityType=priority/{kind}"] if kind else []
    found = say(
        tmp_path, ["priority-weight-unused"], *lines, "PriorityWeightJobSize=10", NODES, release=release
    )
    assert bool(found) is unused


def test_a_short_limit_makes_a_partition_one_for_short_work(tmp_path: Path) -> None:
    def found(high: str, low: str, *more: str) -> list[str]:
        lines = (
            *PREEMPT,
            f"PartitionName={high} PriorityTier=9",
            f"PartitionName={low} PriorityTier=1",
            *more,
        )
        return [one.message for one in say(tmp_path, ["short-tier-preempts"], *lines)]

    assert found("fast Nodes=gpu[1-2] MaxTime=1:00:00", "main Nodes=ALL MaxTime=7-0")
    assert found("gpu-debug Nodes=ALL", "main Nodes=ALL")
    # Urgent work of any length, jobs that are meant to give way, other nodes, jobs that cannot be preempted.
    assert not found("urgent Nodes=ALL", "main Nodes=ALL")
    assert not found("debug Nodes=ALL", "scavenge Nodes=ALL")
    assert not found("debug Nodes=gpu1", "main Nodes=gpu[2-4]")
    assert not found("debug Nodes=ALL", "main Nodes=ALL PreemptMode=OFF")


def test_a_node_set_is_part_of_a_partition(tmp_path: Path) -> None:
    lines = (*PREEMPT, "NodeSet=some Nodes=gpu[1-2]", "PartitionName=debug Nodes=some PriorityTier=2")
    assert say(tmp_path, ["short-tier-preempts"], *lines, "PartitionName=main Nodes=gpu1")
    assert not say(tmp_path, ["short-tier-preempts"], *lines, "PartitionName=main Nodes=gpu3")


def test_a_partition_of_its_own_may_suspend(tmp_path: Path) -> None:
    lines = (
        "PreemptType=preempt/qos",
        "PreemptMode=REQUEUE",
        "NodeName=gpu1 CPUs=4 Gres=gpu:4",
        "NodeName=cpu1",
    )
    rule = ["suspend-keeps-gpus"]
    assert not say(tmp_path, rule, *lines, "PartitionName=cpu Nodes=cpu1 PreemptMode=SUSPEND")
    assert say(tmp_path, rule, *lines, "PartitionName=gpu Nodes=gpu1 PreemptMode=SUSPEND")


@pytest.mark.parametrize(
    ("half_life", "reset", "severity"),
    [
        ("0", "", "fatal"),
        ("00:00", "", "fatal"),
        ("0", "none", "warning"),
        ("0", "DAILY", ""),
        ("7-0", "", ""),
    ],
)
def test_use_has_to_fade(tmp_path: Path, half_life: str, reset: str, severity: str) -> None:
    lines = [f"PriorityUsageResetPeriod={reset}"] if reset else []
    found = say(tmp_path, ["priority-decay-off"], f"PriorityDecayHalfLife={half_life}", *lines)
    assert [one.severity for one in found] == ([severity] if severity else [])
