"""partitions.conf: who is in a partition, and what a job gets and costs there."""

from __future__ import annotations

import pytest

from hpctools.conf.rendering import render
from hpctools.errors import InvalidInput
from hpctools.inventory.model import Inventory
from hpctools.slurm import conf_text
from tests.conf.render.clusters import CPU, DGX, SHARD, inventory, policy

TWO = inventory(
    DGX + CPU + SHARD,
    '  - {hosts: "gpu[1-2]", type: dgx}\n  - {hosts: "cpu[1-4]", type: cpu}\n  - {hosts: s1, type: shard}',
)
DATABASE = "slurm: {controllers: ctl1, database: {host: db1}}\npartitions:\n"


def partitions(text: str, facts: Inventory = TWO, head: str = DATABASE) -> dict[str, dict[str, str]]:
    texts = render(facts, policy(head + text), "24.11")
    lines = conf_text.parse(texts["partitions.conf"].encode()).lines
    return {line.pairs[0].value: {pair.key: pair.value for pair in line.pairs} for line in lines}


def weights(pairs: dict[str, str]) -> dict[str, float]:
    words = [word.split("=") for word in pairs["TRESBillingWeights"].split(",")]
    return {name: float(amount.rstrip("G")) for name, amount in words}


def test_nodes_are_all_or_a_type_or_hosts_in_the_inventorys_order() -> None:
    found = partitions("  a: {nodes: all}\n  t: {nodes: [dgx]}\n  h: {nodes: ['cpu[2-3]', gpu2]}\n")
    assert [one["Nodes"] for one in found.values()] == ["ALL", "gpu[1-2]", "gpu2,cpu[2-3]"]


@pytest.mark.parametrize("nodes", ["dgx2", "gpu3", "gpu[1-3]", "a[", "[]"])
def test_nodes_that_are_not_there_are_refused(nodes: str) -> None:
    with pytest.raises(InvalidInput, match="partition main: nodes: "):
        partitions(f"  main: {{nodes: {nodes if nodes == '[]' else repr(nodes)}}}\n")


def test_a_whole_node_costs_the_same_by_cpus_memory_and_gpus() -> None:
    cost = weights(partitions("  gpu: {nodes: dgx}\n")["gpu"])
    assert cost["CPU"] == 1
    assert cost["GRES/gpu"] == 224 / 8
    memory_gb = (2014 * 0.98 // 1) - 16
    assert cost["Mem"] * memory_gb == pytest.approx(224, rel=0.001)


def test_a_gpu_costs_the_cpus_of_nodes_with_gpus_alone() -> None:
    cost = weights(partitions("  both: {nodes: [dgx, cpu]}\n")["both"])
    assert cost["GRES/gpu"] == 224 / 8
    assert "GRES/shard" not in cost


def test_shards_of_a_gpu_cost_together_what_it_costs_or_more() -> None:
    cost = weights(partitions("  s: {nodes: shard}\n")["s"])
    assert cost["GRES/gpu"] == 48 / 4
    assert cost["GRES/shard"] == 48 / 16


def test_a_job_gets_by_its_gpus_where_there_are_some_and_else_by_its_cpus() -> None:
    found = partitions("  gpu: {nodes: dgx}\n  cpu: {nodes: cpu}\n")
    assert "DefCpuPerGPU" in found["gpu"]
    assert "DefMemPerGPU" in found["gpu"]
    assert "DefMemPerCPU" not in found["gpu"]
    assert int(found["cpu"]["DefMemPerCPU"]) == 492 * 1024 // 128
    assert "DefMemPerGPU" not in found["cpu"]


def test_a_partition_says_how_its_jobs_give_way() -> None:
    text = "  a: {nodes: all, tier: 2}\n  b: {nodes: all, preempt: requeue, grace: 2m}\npreempt: partition\n"
    found = partitions(text)
    assert (found["b"]["PreemptMode"], found["b"]["GraceTime"]) == ("REQUEUE", "120")
    assert "PreemptMode" not in found["a"]


def test_a_setting_of_a_partition_takes_the_place_of_ours() -> None:
    found = partitions("  a: {nodes: all, settings: {defcpupergpu: 4, OverSubscribe: EXCLUSIVE}}\n")["a"]
    assert found["DefCpuPerGPU"] == "4"
    assert found["OverSubscribe"] == "EXCLUSIVE"
    assert list(found)[-1] == "OverSubscribe"


def test_without_a_database_there_is_no_qos_and_no_weight() -> None:
    found = partitions("  a: {nodes: all}\n", head="slurm: {controllers: ctl1}\npartitions:\n")["a"]
    assert "TRESBillingWeights" not in found


def test_times_are_in_slurms_form() -> None:
    found = partitions("  a: {nodes: all, max_time: 7-0, default_time: 90}\n")["a"]
    assert (found["MaxTime"], found["DefaultTime"]) == ("7-00:00:00", "01:30:00")
    assert partitions("  a: {nodes: all}\n")["a"]["MaxTime"] == "UNLIMITED"
