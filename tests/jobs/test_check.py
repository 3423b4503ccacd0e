"""Warnings: what Slurm will probably refuse, with the nearest right values."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctools.jobs import check, resources
from hpctools.jobs.facts import Facts
from tests.jobs.jobs_of import ask, mixed, recorded


def said(folder: Path, cluster: Facts, **values: object) -> list[str]:
    asked = ask(folder, values)
    taken = resources.resolve(asked.spec, asked.site, cluster)
    return [str(problem) for problem in check.problems(asked.spec, taken, cluster)]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"nodes": 4, "time": "2-0"},
        {"partition": "debug", "nodes": 2, "time": "30"},
        {"gpus_per_node": "h200:8"},
        {"gpus_per_node": 0},
        {"partition": "main,debug", "nodes": 4},
        {"nodelist": "n[1-2]", "exclude": "n4"},
        {"cpus_per_task": 64, "mem": "64000M"},
    ],
)
def test_a_job_that_fits_is_not_warned_of(tmp_path: Path, values: dict[str, object]) -> None:
    assert said(tmp_path, recorded(), **values) == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"partition": "mian"}, "partition=: there is no partition 'mian' (did you mean main?)"),
        ({"partition": "xyz"}, "partition=: there is no partition 'xyz' (there are debug, main, scavenge)"),
        ({"partition": "main,xyz"}, "partition=: there is no partition 'xyz' (there are debug, main"),
        ({"nodes": 5}, "nodes=: partition main has 4 such nodes, not 5 (--nodes 4)"),
        (
            {"nodes": 3, "partition": "debug"},
            "nodes=: partition debug has 2 such nodes, not 3 (--nodes 2, or partition main or scavenge)",
        ),
        (
            {"gpus_per_node": 9},
            "gpus_per_node=: nodes of partition main have 8 GPUs, not 9 (--gpus-per-node 8)",
        ),
        ({"gpu_type": "H200"}, "gpu_type=: there is no GPU type 'H200' in partition main (did you mean h"),
        (
            {"gpus_per_node": "a100:4"},
            "gpus_per_node=: there is no GPU type 'a100' in partition main (there is h200)",
        ),
        (
            {"cpus_per_task": 65},
            "cpus_per_task=: nodes of partition main have 64 CPUs, not 65 (--cpus-per-task 64)",
        ),
        (
            {"mem": "70G"},
            "mem=: nodes of partition main have 64000M of memory, not 70G (--mem 64000M, or 0 for all)",
        ),
        (
            {"time": "1:00:00", "partition": "debug"},
            "time=: 01:00:00 is more than partition debug allows, 00:30:00 "
            "(--time 00:30:00, or partition main or scavenge)",
        ),
        (
            {"time": "UNLIMITED"},
            "time=: UNLIMITED is more than partition main allows, 2-00:00:00 (--time 2-00:00:00)",
        ),
        ({"nodelist": "n[1-2],n9"}, "nodelist=: there is no node 'n9' (there are n1, n2, n3, n4)"),
        ({"exclude": "n[1-"}, "exclude=: not "),
        ({"constraint": "fast"}, "constraint=: there is no feature 'fast' (there are none)"),
    ],
)
def test_what_does_not_fit_is_told_with_what_would(
    tmp_path: Path, values: dict[str, object], expected: str
) -> None:
    (found,) = said(tmp_path, recorded(), **values)
    assert found.startswith(expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"nodes": 5}, "nodes=: partition gpu allows at most 4 nodes a job (--nodes 4)"),
        ({"partition": "cpu"}, "--nodes: partition cpu wants at least 2 nodes a job (--nodes 2)"),
        (
            {"partition": "cpu", "nodes": 2, "gpu_type": "a100"},
            "gpu_type=: partition cpu has no a100 GPUs (partition gpu has)",
        ),
        (
            {"gpus_per_node": "v100:8", "nodes": 3},
            "nodes=: partition gpu has 2 such nodes, not 3 (--nodes 2)",
        ),
        ({"constraint": "ib&fst*2"}, "constraint=: there is no feature 'fst' (did you mean fast?)"),
    ],
)
def test_several_kinds_of_nodes_are_told_apart(
    tmp_path: Path, values: dict[str, object], expected: str
) -> None:
    assert said(tmp_path, mixed(), **values) == [expected]


def test_a_closed_partition_and_its_accounts_are_told(tmp_path: Path) -> None:
    assert said(tmp_path, mixed(), partition="old", account="me") == [
        "partition=: partition old takes no jobs (INACTIVE) (there are cpu, gpu)",
        "account=: partition old does not take account me (there are guests, staff)",
    ]


def test_everything_wrong_is_told_at_once_even_with_an_unknown_partition(tmp_path: Path) -> None:
    values = {"partition": "mian", "nodes": 9, "gpus_per_node": "a100:9", "time": "9-0"}
    found = said(tmp_path, recorded(), **values)
    assert [one.partition("=")[0] for one in found] == [
        "partition",
        "gpus_per_node",
        "gpus_per_node",
        "nodes",
        "time",
    ]


def test_nodes_that_are_down_are_a_remark_because_slurm_lets_the_job_wait(tmp_path: Path) -> None:
    asked = ask(tmp_path, {"nodes": 4, "gpus_per_node": "a100:4", "partition": "gpu"})
    taken = resources.resolve(asked.spec, asked.site, mixed())
    assert check.remarks(asked.spec, taken, mixed()) == ()
    asked = ask(tmp_path, {"nodes": 5, "gpus_per_node": "a100:4", "partition": "gpu"})
    taken = resources.resolve(asked.spec, asked.site, mixed())
    assert check.remarks(asked.spec, taken, mixed()) == (
        "only 4 of the 5 nodes of partition gpu are up: the job waits for 5",
    )
