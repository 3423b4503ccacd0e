"""A site's file from what a cluster and a node told: every value is one that the site's reader takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpctools.errors import Problem
from hpctools.jobs import site
from hpctools.jobs.facts import Facts
from hpctools.jobs.site import Site
from hpctools.site import node, written
from hpctools.site.written import Cluster
from hpctools.slurm import scontrol
from tests.jobs.jobs_of import facts, mixed, recorded
from tests.site import trees

RECORDED = Path(__file__).parents[1] / "recorded"
CONFIG = scontrol.parse_config((RECORDED / "24.11" / "scontrol-config.txt").read_text())


def read(folder: Path, text: str) -> Site:
    """The site of a text, which must be without a mistake."""
    (folder / "site.yaml").write_text(text)
    problems: list[Problem] = []
    found = site.load(folder / "site.yaml", problems)
    assert problems == []
    return found


def text(
    found: node.Node | None,
    known: Facts | None = None,
    why: str = "--no-probe",
    config: Mapping[str, str] = {},
) -> str:
    known = known or recorded()
    cluster = Cluster({**CONFIG, **config}, known, written.training(known))
    return written.text(cluster, found, why, "2026-11-21")


def h100(folder: Path, **more: Any) -> node.Node:
    return node.of_facts(trees.facts(trees.h100(folder / "tree"), **more))


def test_infiniband_is_written_with_the_adapters_of_the_gpus(tmp_path: Path) -> None:
    found = h100(tmp_path, routes={"g2": ["eno1", "10.0.0.1"]})
    made = text(found)
    fabric = read(tmp_path, made).fabric
    assert (fabric.kind, fabric.hcas, fabric.interfaces) == ("infiniband", "mlx5_0,mlx5_3", "")
    assert "mlx5_1, mlx5_2 are left for storage and the rest" in made
    assert "# interfaces: =eno1" in made


@pytest.mark.parametrize(("others", "expected"), [(("eno2",), "=eno1"), ((), "")])
def test_of_several_interfaces_tcp_takes_the_one_that_leads_to_the_nodes(
    others: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    for name in ("eno1", *others):
        trees.interface(tmp_path / "tree", name)
    found = node.of_facts(trees.facts(tmp_path / "tree", routes={"g2": ["eno1", "10.0.0.1"]}))
    fabric = read(tmp_path, text(found)).fabric
    assert (fabric.kind, fabric.interfaces) == ("tcp", expected)


def test_a_limit_of_locked_memory_is_told_where_rdma_needs_none(tmp_path: Path) -> None:
    found = h100(tmp_path)
    assert "ATTENTION: jobs on g1 may lock 8192 kB" in text(replace(found, memlock_kb=8192))
    assert "ATTENTION" not in text(replace(found, memlock_kb=None))


@pytest.mark.parametrize(
    ("programs", "runtime"),
    [
        ({"apptainer": "apptainer version 1.4.5", "pyxis": "srun"}, "apptainer"),
        ({"enroot": "3.5.0", "pyxis": "srun --container-image"}, "pyxis"),
        ({"enroot": "3.5.0"}, "none"),
    ],
)
def test_the_container_runtime_is_the_nodes(programs: dict[str, str], runtime: str, tmp_path: Path) -> None:
    made = read(tmp_path, text(h100(tmp_path, programs=programs)))
    assert made.containers.runtime == runtime


def test_runs_go_to_a_shared_folder_that_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "ada")
    shared = [
        {"mount": "/home", "type": "nfs4", "own": "/home/ada"},
        {"mount": "/scratch", "type": "lustre", "own": "/scratch/ada"},
        {"mount": "/apps", "type": "nfs", "own": ""},
    ]
    made = read(tmp_path, text(h100(tmp_path, shared=shared, programs={"apptainer": "1"})))
    runs = made.defaults["runs-dir"].text
    assert runs == "/scratch/$USER/runs"
    assert dict(made.variables) == {"scratch": "/scratch"}
    assert [one.outside for one in made.containers.binds] == ["/home", "/scratch", "/apps"]


def test_runs_do_not_go_where_this_machine_has_nothing_mounted(tmp_path: Path) -> None:
    shared = [{"mount": "/scratch", "type": "lustre", "own": "/scratch/ada"}]
    found = h100(tmp_path, shared=shared)
    made = text(replace(found, shared=tuple(replace(one, here=False) for one in found.shared)))
    assert "runs-dir" not in read(tmp_path, made).defaults
    assert "not mounted on this machine" in " ".join(made.replace("\n  #", "").split())


def test_modules_are_proposed_with_the_file_that_sets_them_up(tmp_path: Path) -> None:
    made = text(h100(tmp_path, modules=["/etc/profile.d/lmod.sh"]))
    assert "|| . /etc/profile.d/lmod.sh" in made
    assert read(tmp_path, made).setup == ""


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, ("gpus-per-node", True)),
        ({"SelectTypeParameters": "CR_CORE"}, ("gpus-per-node", False)),
        ({"SelectType": "select/linear", "SelectTypeParameters": "CR_MEMORY"}, ("gres", True)),
    ],
)
def test_how_gpus_and_memory_are_asked_for_is_slurms_own(
    config: dict[str, str], expected: tuple[str, bool], tmp_path: Path
) -> None:
    made = read(tmp_path, text(None, config=config))
    assert (made.gpu_option, made.ask_memory) == expected


def test_without_a_node_its_parts_are_left_open_with_the_reason(tmp_path: Path) -> None:
    made = text(None, why="Requested nodes are busy")
    assert "The network between the nodes is not known: Requested nodes are busy" in made
    assert read(tmp_path, made).fabric.kind == ""


CPU_FIRST = """\
cpu*|up|10|32|128000|(null)|infinite|n/a|idle|(null)|c[1-10]
gpu|up|2|64|500000|gpu:v100:8|2-00:00:00|1:00:00|idle|ib|v[1-2]
"""
LINE = "PartitionName={} Default={} MaxTime={} DefaultTime={} State=UP TRES=(null)\n"


def test_a_default_partition_without_gpus_is_not_where_jobs_train(tmp_path: Path) -> None:
    partitions = LINE.format("cpu", "YES", "UNLIMITED", "NONE") + LINE.format("gpu", "NO", "2-0", "1:0:0")
    known = facts(CPU_FIRST, partitions)
    made = text(None, known)
    assert read(tmp_path, made).defaults["partition"].text == "gpu"
    assert "cpu, the cluster's default, has no GPUs" in made


def test_a_partition_without_a_default_time_is_told(tmp_path: Path) -> None:
    made = text(None, mixed())
    assert "gpu has no DefaultTime" in made
    assert "partition:" not in [line.strip().partition(" ")[0] for line in made.splitlines()]


def test_a_cluster_without_partitions_has_a_file_all_the_same(tmp_path: Path) -> None:
    assert read(tmp_path, text(None, facts("", ""))).description


@pytest.mark.parametrize("value", ["a b", "x: y", "#1", 'q"uo\\te', "- a", "{a", "=x"])
def test_hostile_names_stay_text(value: str, tmp_path: Path) -> None:
    shared = [{"mount": f"/s/{value}", "type": "lustre", "own": f"/s/{value}"}]
    made = read(tmp_path, text(h100(tmp_path, shared=shared)))
    assert dict(made.variables) == {"scratch": f"/s/{value}"}
