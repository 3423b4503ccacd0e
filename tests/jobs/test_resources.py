"""What a job takes of each node, completed by what the nodes have."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctools.jobs import resources
from hpctools.jobs.facts import NodeType
from tests.jobs.jobs_of import ask, mixed, recorded, sized


def test_all_gpus_of_the_node_are_the_default_and_the_whole_node_with_them(tmp_path: Path) -> None:
    found = sized(tmp_path, recorded())
    assert (found.gpus, found.ranks, found.tasks, found.kind) == (8, 8, 1, "h200")
    assert (found.exclusive, found.mem, found.cpus_per_task) == (True, "0", None)


@pytest.mark.parametrize(
    ("gpus", "cpus", "mem"), [(1, 8, "8000M"), (3, 24, "24000M"), (7, 56, "56000M"), (0, None, None)]
)
def test_fewer_gpus_take_their_share_of_the_node(
    tmp_path: Path, gpus: int, cpus: int | None, mem: str | None
) -> None:
    found = sized(tmp_path, recorded(), gpus_per_node=gpus)
    assert (found.exclusive, found.cpus_per_task, found.mem) == (False, cpus, mem)
    assert found.ranks == max(gpus, 1)


def test_what_is_given_is_taken_as_it_is(tmp_path: Path) -> None:
    found = sized(tmp_path, recorded(), gpus_per_node=2, mem="5G", cpus_per_task=3, ranks_per_node=4)
    assert (found.mem, found.cpus_per_task, found.ranks) == ("5G", 3, 4)


def test_without_a_launcher_the_share_is_divided_among_the_tasks(tmp_path: Path) -> None:
    found = sized(tmp_path, recorded(), launcher="none", ranks_per_node=4)
    assert (found.tasks, found.cpus_per_task, found.exclusive) == (4, 16, True)


def test_a_partition_without_gpus_gives_one_rank_and_whole_nodes(tmp_path: Path) -> None:
    found = sized(tmp_path, mixed(), partition="cpu")
    assert (found.gpus, found.ranks, found.exclusive, found.mem) == (0, 1, True, "0")
    assert sized(tmp_path, mixed(), partition="cpu", cpus_per_task=4).exclusive is False


def test_of_several_kinds_the_most_frequent_is_taken_and_said(tmp_path: Path) -> None:
    found = sized(tmp_path, mixed(), nodes=2)
    assert (found.gpus, found.gpu_words) == (4, "a100:4")
    assert found.remarks == (
        "partition gpu has a100:4 (5 nodes), v100:8 (2 nodes): taking a100:4; "
        "--gpu-type or --gpus-per-node choose",
    )
    assert sized(tmp_path, mixed(), gpu_type="v100").gpu_words == "v100:8"


def test_so_many_gpus_choose_the_kind_that_has_them(tmp_path: Path) -> None:
    found = sized(tmp_path, mixed(), gpus_per_node=6)
    assert (found.gpu_words, found.cpus_per_task) == ("v100:6", 48)
    assert found.remarks == ()


def test_gpus_without_a_type_are_asked_for_without_one(tmp_path: Path) -> None:
    assert sized(tmp_path, mixed(), partition="old").gpu_words == "2"


def test_a_site_may_have_no_whole_nodes_and_no_memory(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("whole_nodes: no\nask_memory: no\n")
    found = sized(tmp_path, recorded(), site="./site.yaml")
    assert (found.exclusive, found.mem, found.cpus_per_task) == (False, None, 64)


def test_memory_for_each_cpu_leaves_memory_to_slurm(tmp_path: Path) -> None:
    assert sized(tmp_path, recorded(), sbatch_option={"mem-per-cpu": "1G"}).mem is None


def test_without_a_cluster_only_what_is_named_is_known(tmp_path: Path) -> None:
    asked = ask(tmp_path, {"gpus_per_node": "h200:2"})
    found = resources.resolve(asked.spec, asked.site, None)
    assert (found.gpu_words, found.ranks, found.mem, found.exclusive) == ("h200:2", 2, None, False)


def test_nodes_that_are_down_count_for_what_there_is_but_not_for_what_is_up() -> None:
    assert mixed().node_types("gpu") == (
        NodeType("a100", 4, 128, 1000000, nodes=5, usable=4),
        NodeType("v100", 8, 64, 500000, nodes=2, usable=2),
    )
