"""The configuration files of a sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctools.errors import InvalidInput
from hpctools.sandbox.config import Node, merge, overlay, render
from hpctools.sandbox.daemons import Sandbox
from hpctools.sandbox.places import Places
from hpctools.sandbox.spec import Spec


def rendered(spec: Spec, release: str = "22.05.8") -> dict[str, str]:
    names = ("slurmctld", "slurmdbd", *(f"slurmd-{node}" for node in spec.node_names))
    ports = {name: 17000 + number for number, name in enumerate(names)}
    nodes = [Node(name, "host", "127.0.0.1", ports[f"slurmd-{name}"]) for name in spec.node_names]
    sandbox = Sandbox(spec, Places(spec.name), "127.0.0.1", ports, release, False, False, {})
    return render(sandbox, nodes, "host")


def test_a_node_is_written_with_its_cores_memory_and_typed_gpus() -> None:
    lines = rendered(Spec(nodes=2, gpus_per_node=3, gpu_type="a100", cpus_per_node=7, memory_mb=5000))
    assert (
        "NodeName=n2 NodeHostname=host NodeAddr=127.0.0.1 Port=17003 Sockets=1 CoresPerSocket=7 "
        "ThreadsPerCore=1 RealMemory=5000 Gres=gpu:a100:3 State=UNKNOWN"
    ) in lines["slurm.conf"].splitlines()
    assert "AccountingStorageTRES=gres/gpu,gres/gpu:a100" in lines["slurm.conf"].splitlines()
    assert lines["gres.conf"].endswith("/dev/nvidia[0-2]\n")


def test_without_gpus_nothing_speaks_of_them() -> None:
    texts = rendered(Spec(gpus_per_node=0))
    assert "gpu" not in texts["slurm.conf"].lower()
    assert "Name=" not in texts["gres.conf"]


def test_one_gpu_needs_no_range() -> None:
    assert rendered(Spec(gpus_per_node=1))["gres.conf"].endswith("/dev/nvidia0\n")


def test_without_accounting_no_database_is_named() -> None:
    text = rendered(Spec(accounting=False))["slurm.conf"]
    assert "AccountingStorageType=accounting_storage/none" in text
    assert "AccountingStorageTRES" not in text


def test_every_line_has_one_key_and_no_template_is_left() -> None:
    for spec in (Spec(), Spec(gpus_per_node=0, accounting=False, proctrack="cgroup")):
        text = rendered(spec)["slurm.conf"]
        assert "{" not in text
        keys = [line.split("=")[0] for line in text.splitlines() if line and not line.startswith("#")]
        single = [key for key in keys if key not in ("NodeName", "PartitionName")]
        assert len(single) == len(set(single))


def test_a_line_of_the_user_takes_the_place_of_the_generated_one() -> None:
    assert "KillWait=30" not in merge("KillWait=30\nA=1\n", ["killwait = 5"])
    assert merge("KillWait=30\nA=1\n", ["killwait = 5"]).splitlines()[-1] == "killwait = 5"


def test_partitions_of_the_user_take_the_place_of_all() -> None:
    text = merge(
        "PartitionName=a Nodes=ALL\nA=1\n", ["PartitionName=x Nodes=ALL", "PartitionName=y Nodes=ALL"]
    )
    assert [line for line in text.splitlines() if line.startswith("Partition")] == [
        "PartitionName=x Nodes=ALL",
        "PartitionName=y Nodes=ALL",
    ]


def test_a_folder_is_laid_over_but_may_not_take_what_is_the_sandboxs_own(tmp_path: Path) -> None:
    (tmp_path / "slurm.conf").write_text("# note\nKillWait=9\nPriorityWeight\\\nAge=7\n")
    (tmp_path / "topology.conf").write_text("SwitchName=s Nodes=n[1-4]\n")
    (tmp_path / "notes.txt").write_text("not a configuration")
    assert set(overlay(tmp_path)) == {"slurm.conf", "topology.conf"}
    text = rendered(Spec(conf_dir=str(tmp_path)))["slurm.conf"]
    assert "KillWait=9" in text.splitlines()
    (tmp_path / "slurm.conf").write_text("NodeName=x\nSlurmctldPort=1\n")
    (tmp_path / "slurmdbd.conf").write_text("")
    with pytest.raises(InvalidInput) as caught:
        overlay(tmp_path)
    assert len(caught.value.problems) == 3
    assert f"{tmp_path}/slurm.conf:2" in str(caught.value)


def test_cgroups_are_named_as_the_release_wants_it() -> None:
    """22.05 does not know the value "disabled"; later releases would look for systemd without it."""
    assert "CgroupPlugin" not in rendered(Spec())["cgroup.conf"]
    assert "CgroupPlugin=disabled\n" in rendered(Spec(), "24.11.5")["cgroup.conf"]
    assert "CgroupPlugin=cgroup/v1\n" in rendered(Spec(proctrack="cgroup"), "26.05.5")["cgroup.conf"]
