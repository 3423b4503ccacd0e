"""What a user may ask of a sandbox."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hpctools.sandbox.spec import Spec, problems


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"name": "Big"}, "--name"),
        ({"name": "../x"}, "--name"),
        ({"nodes": 0}, "--nodes"),
        ({"gpus_per_node": -1}, "--gpus-per-node"),
        ({"memory_mb": 1}, "--memory"),
        ({"gpu_type": "h 100"}, "--gpu-type"),
        ({"conf": ("KillWait",)}, "--conf"),
        ({"conf": ("KillWait=5\nSlurmUser=x",)}, "--conf"),
        ({"conf": ("slurmctldport=1",)}, "--conf"),
        ({"conf_dir": "/nowhere"}, "--conf-dir"),
        ({"timezone": "Mars/Base"}, "--timezone"),
        ({"timezone": "../../etc/passwd"}, "--timezone"),
    ],
)
def test_a_mistake_is_named_by_its_option(change: dict[str, object], where: str) -> None:
    assert [problem.where for problem in problems(replace(Spec(), **change), root=True)] == [where]  # type: ignore[arg-type]


def test_all_mistakes_are_told_at_once() -> None:
    assert len(problems(Spec(name="A", nodes=0, conf=("x",), gpu_type="?"), root=True)) == 4


def test_cgroups_and_network_namespaces_need_root() -> None:
    spec = Spec(proctrack="cgroup", netns=True)
    assert problems(spec, root=True) == []
    assert [problem.where for problem in problems(spec, root=False)] == ["--proctrack cgroup", "--netns"]


def test_nodes_carry_the_sandboxs_name_only_with_cgroups() -> None:
    """Slurm names cgroup folders slurm_<node>: two sandboxes would share them."""
    assert Spec(name="a", nodes=2).node_names == ("n1", "n2")
    assert Spec(name="a", nodes=1, proctrack="cgroup").node_names == ("a-n1",)


def test_a_spec_survives_its_record(tmp_path: Path) -> None:
    spec = Spec(name="x", conf=("KillWait=5",), conf_dir=str(tmp_path), timezone="UTC", accounting=False)
    assert Spec.from_dict({**spec.to_dict(), "of a later version": 1}) == spec
