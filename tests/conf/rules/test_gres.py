"""GRES of nodes, from slurm.conf and gres.conf together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpctools.conf.finding import Finding
from hpctools.conf.gres import detection, parse_count, wanted
from hpctools.conf.judge import lint

GPU = "Name=gpu Type=h100 File=/dev/nvidia[0-3]\n"


def slurm(node: str = "Gres=gpu:h100:4", types: str = "gpu", more: str = "") -> str:
    return (
        f"ClusterName=c\nSlurmctldHost=h\nGresTypes={types}\nTaskPlugin=task/cgroup\n{more}"
        f"NodeName=n[1-4] {node}\nPartitionName=p Nodes=ALL Default=YES\n"
    )


def findings(folder: Path, files: Mapping[str, str], release: str = "26.05") -> list[Finding]:
    for name, text in files.items():
        (folder / name).write_text(text)
    found = lint([str(folder)], release=release)
    return [one for one in found if one.rule.startswith("gres")]


def rules(folder: Path, node: str, gres: str, release: str = "26.05", **more: str) -> dict[str, str]:
    found = findings(folder, {"slurm.conf": slurm(node, **more), "gres.conf": gres}, release)
    return {one.rule: one.severity for one in found}


@pytest.mark.parametrize(
    ("node", "gres"),
    [
        ("Gres=gpu:h100:4", GPU),
        ("Gres=gpu:4", GPU),
        ("Gres=gpu:H100:4", GPU),
        ("Gres=gpu:h100:2,gpu:a100:2", "AutoDetect=nvml\n"),
        (
            "Gres=gpu:h100:2,gpu:a100:2",
            "Name=gpu Type=h100 File=/dev/n[0-1]\nName=gpu Type=a100 File=/dev/n[2-3]\n",
        ),
        ("Gres=gpu:h100:4(S:0,1)", GPU),
        (
            "Gres=gpu:1g.10gb:2",
            "Name=gpu Type=1g.10gb MultipleFiles=/dev/c[1-2]\n"
            "Name=gpu Type=1g.10gb MultipleFiles=/dev/c[3-4]\n",
        ),
        ("Gres=gpu:h100:4", f"NodeName=n[1-4] {GPU}"),
        ("Gres=gpu:h100:4", "NodeName=n[1-2] AutoDetect=nvml\nNodeName=n[3-4] AutoDetect=off " + GPU),
    ],
)
def test_what_agrees_has_nothing(node: str, gres: str, tmp_path: Path) -> None:
    assert not rules(tmp_path, node, gres)


@pytest.mark.parametrize(
    ("node", "gres", "rule"),
    [
        ("Gres=gpu:h100:8", GPU, "gres-less-than-slurm"),
        ("Gres=gpu:a100:4", GPU, "gres-less-than-slurm"),
        ("Gres=gpu:h100:4", "Name=gpu File=/dev/nvidia[0-3]\n", "gres-less-than-slurm"),
        ("Gres=gpu:h100:2", GPU, "gres-more-than-slurm"),
        ("", GPU, "gres-more-than-slurm"),
        ("Gres=gpu:h100:4", f"NodeName=n[1-3] {GPU}", "gres-gpu-without-device"),
        ("Gres=gpu:h100:4", "Name=gpu Type=h100 Count=4\n", "gres-gpu-without-file"),
        ("Gres=gpu:4,nic:2", GPU, "gres-types-missing"),
        ("Gres=GPU:4", "", "gres-types-missing"),
    ],
)
def test_what_differs_is_said(node: str, gres: str, rule: str, tmp_path: Path) -> None:
    assert rule in rules(tmp_path, node, gres)


def test_a_typed_gpu_is_not_held_back_by_a_line_that_is_dropped(tmp_path: Path) -> None:
    """What slurm.conf does not give to the node is dropped before devices are compared."""
    twice = f"{GPU}Name=gpu Type=a100 File=/dev/nvidia[2-3]\n"
    assert "gres-device-twice" not in rules(tmp_path, "Gres=gpu:h100:4", twice)
    assert rules(tmp_path, "Gres=gpu:h100:4,gpu:a100:2", twice)["gres-device-twice"] == "fatal"


def test_the_nodes_that_a_finding_is_about_are_counted(tmp_path: Path) -> None:
    (one,) = findings(tmp_path, {"slurm.conf": slurm("Gres=gpu:h100:8"), "gres.conf": GPU})
    assert "n1 and 3 more" in one.message
    assert (Path(one.file).name, one.line) == ("slurm.conf", 5)


def test_gres_conf_is_not_read_without_gres_types(tmp_path: Path) -> None:
    text = slurm("").replace("GresTypes=gpu\n", "")
    found = findings(tmp_path, {"slurm.conf": text, "gres.conf": "Name=gpu Count=x\nName=gpu\nName=gpu\n"})
    assert not [one for one in found if one.severity == "fatal"]


@pytest.mark.parametrize(
    ("release", "known"), [("22.05", False), ("23.11", False), ("24.11", True), ("26.05", True)]
)
def test_autodetect_nvidia_is_new_in_24_11(release: str, known: bool, tmp_path: Path) -> None:
    found = rules(tmp_path, "Gres=gpu:4", "AutoDetect=nvidia\n", release)
    assert ("gres-autodetect" in found) is not known
    assert ("gres-gpu-without-device" in found) is not known


def test_autodetect_of_a_cloud_node_stops_slurmctld_until_23_02(tmp_path: Path) -> None:
    node = "Gres=gpu:4 State=CLOUD"
    assert rules(tmp_path, node, "AutoDetect=nvml\n", "23.02")["gres-autodetect-cloud"] == "fatal"
    assert rules(tmp_path, node, "AutoDetect=nvml\n", "23.11")["gres-autodetect-cloud"] == "error"
    assert not rules(tmp_path, node, "AutoDetect=off\nName=gpu File=/dev/n[0-3]\n", "22.05")


def test_flags_must_stand_in_the_first_line_of_a_name(tmp_path: Path) -> None:
    first, second = "Name=gpu File=/dev/n[0-1]", "Name=gpu File=/dev/n[2-3]"
    flags = "Flags=nvidia_gpu_env"
    assert not rules(tmp_path, "Gres=gpu:4", f"{first} {flags}\n{second}\n")
    assert rules(tmp_path, "Gres=gpu:4", f"{first}\n{second} {flags}\n") == {"gres-flags-mixed": "fatal"}


@pytest.mark.parametrize(
    ("release", "cores", "rule"),
    [
        ("23.11", "0-7", None),
        ("24.11", "0-7", "gres-cores-socket"),
        ("24.11", "0-15", None),
        ("24.11", "0-31", None),
        ("24.11", "16-47", None),
        ("26.05", "16-47", "gres-cores-socket"),
        ("26.05", "0-63", None),
        ("24.11", "64-79", "gres-cores-invalid"),
        ("24.11", "7-0", "gres-cores-invalid"),
    ],
)
def test_cores_are_whole_sockets(release: str, cores: str, rule: str | None, tmp_path: Path) -> None:
    node = "Sockets=4 CoresPerSocket=16 ThreadsPerCore=2 Gres=gpu:h100:4"
    found = rules(tmp_path, node, f"{GPU.strip()} Cores={cores}\n", release)
    assert found == ({rule: "error"} if rule else {})


def test_numbers_of_cpus_are_told_from_numbers_of_cores(tmp_path: Path) -> None:
    node = "Sockets=2 CoresPerSocket=16 ThreadsPerCore=2 Gres=gpu:h100:4"
    text = {"slurm.conf": slurm(node), "gres.conf": f"{GPU.strip()} Cores=32-47\n"}
    (one,) = findings(tmp_path, text)
    assert "numbers of CPUs" in one.hint


def test_a_cloud_node_with_some_types_stops_slurmctld(tmp_path: Path) -> None:
    found = rules(tmp_path, "Gres=gpu:2,gpu:h100:2", "")
    assert found["gres-partly-typed"] == "error"
    found = rules(tmp_path, "Gres=gpu:2,gpu:h100:2 State=CLOUD", "")
    assert found["gres-partly-typed"] == "fatal"


def test_detection_is_looked_for_in_the_text() -> None:
    assert detection("NVML", "22.05") == "nvml"
    assert detection("amd,rsmi", "22.05") == "rsmi"
    assert detection("off", "22.05") == "off"
    assert detection("offf", "22.05") is None


@pytest.mark.parametrize(
    ("text", "count"),
    [("8", 8), ("4k", 4096), ("4KiB", 4096), ("4kb", 4000), ("x", None), ("-1", None), ("", None)],
)
def test_counts_have_units(text: str, count: int | None) -> None:
    assert parse_count(text) == count


@given(
    st.dictionaries(
        st.sampled_from(["", "a100", "h100", "1g.10gb"]),
        st.integers(min_value=0, max_value=10**6),
        min_size=1,
    )
)
def test_what_is_written_is_wanted(types: dict[str, int]) -> None:
    text = ",".join(f"gpu:{type}:{count}" if type else f"gpu:{count}" for type, count in types.items())
    assert wanted(text)["gpu"].types == types


@pytest.mark.parametrize(
    ("node", "shared", "good"),
    [
        ("shard:10", "Name=shard Count=8", False),
        ("shard:8", "Name=shard Count=10", True),
        ("shard:8", "Name=shard Count=8", True),
        ("shard:a:4,shard:b:4", "Name=shard Type=a Count=4", False),
        ("shard:8", "Name=shard Count=4 File=/dev/nvidia[0-3]", False),
        ("shard:8", "Name=shard Count=8 File=/dev/nvidia[0-3]", True),
        ("shard:8", "Name=shard Type=x Count=8", True),
        ("shard:x:8", "Name=shard Count=8", True),
        ("mps:400", "Name=mps Count=200", False),
    ],
)
def test_what_slurmd_says_to_shards(node: str, shared: str, good: bool, tmp_path: Path) -> None:
    """What `slurmd -G` of 22.05.8 did with each."""
    gres = f"Name=gpu File=/dev/nvidia[0-3]\n{shared}\n"
    found = rules(tmp_path, f"Gres=gpu:4,{node}", gres, types="gpu,shard,mps")
    assert found.get("gres-shared-count") == (None if good else "fatal")


def test_shards_of_two_types_without_a_line_are_too_many_records(tmp_path: Path) -> None:
    gres = "Name=gpu File=/dev/nvidia[0-3]\n"
    found = rules(tmp_path, "Gres=gpu:4,shard:a:4,shard:b:4", gres, types="gpu,shard")
    assert found["gres-shared-count"] == "error"
    assert "gres-shared-count" not in rules(tmp_path, "Gres=gpu:4,shard:8", gres, types="gpu,shard")


def test_the_detection_of_another_node_does_not_count(tmp_path: Path) -> None:
    one = "NodeName=n1 AutoDetect=nvml\n"
    assert rules(tmp_path, "Gres=gpu:4", f"{one}NodeName=n[2-4] Name=gpu Count=4\n") == {
        "gres-gpu-without-file": "error"
    }
    assert not rules(tmp_path, "Gres=gpu:4", "AutoDetect=nvml\nNodeName=n[2-4] Name=gpu Count=4\n")


def test_a_list_that_cannot_be_read_is_told_at_its_line(tmp_path: Path) -> None:
    found = findings(tmp_path, {"slurm.conf": slurm(), "gres.conf": f"NodeName=n[1-4 {GPU}"})
    assert [(one.rule, one.line) for one in found] == [("gres-node-list", 1)]
