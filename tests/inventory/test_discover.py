"""A node's report: from machines that are not here, and from this one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpctools import process
from hpctools.errors import NotFound, ParseError
from hpctools.inventory import nodes, report, sysfs
from hpctools.inventory.discover import SLURMD, discover
from hpctools.inventory.model import Fabric, Gpus
from tests.inventory.boxes import NAMES, Programs, plant, report_of, text

QUERY = ("nvidia-smi", "-q", "-x")
TABLE = ("nvidia-smi", "topo", "-m")


def no_programs(argv: Any, **_: Any) -> process.Completed:
    raise NotFound(f"{argv[0]}: cannot be run")


EXPECTED = {
    "dgx-a100": (
        (2, 64, 2, 1031904, 8),
        (
            Gpus("a100", 4, 40960, "NVIDIA A100-SXM4-40GB", (1, 1, 3, 3), "/dev/nvidia[0-3]"),
            Gpus(
                "a100", 4, 40960, "NVIDIA A100-SXM4-40GB", (5, 5, 7, 7), "/dev/nvidia[4-7]", (("1g.5gb", 7),)
            ),
        ),
        Fabric("infiniband", 8, 200),
    ),
    "dgx-h100": (
        (2, 56, 2, 2063204, 2),
        (Gpus("h100", 8, 81559, "NVIDIA H100 80GB HBM3", (0,) * 4 + (1,) * 4, "/dev/nvidia[0-7]"),),
        Fabric("infiniband", 8, 400),
    ),
    "hgx-h200": (
        (2, 48, 2, 2063608, 4),
        (Gpus("h200", 8, 143771, "NVIDIA H200", (0, 0, 0, 1, 2, 2, 2, 3), "/dev/nvidia[0-7]"),),
        Fabric("roce", 8, 400),
    ),
    "gb200-nvl72": (
        (2, 72, 1, 979783, 2),
        (Gpus("gb200", 4, 189471, "NVIDIA GB200", (0, 0, 1, 1), "/dev/nvidia[0-3]"),),
        Fabric("infiniband", 4, 400),
    ),
    "l40s": (
        (2, 96, 2, 1547520, 2),
        (Gpus("l40s", 4, 46068, "NVIDIA L40S", (0, 0, 1, 1), "/dev/nvidia[0-3]"),),
        Fabric("roce", 1, 100),
    ),
}


@pytest.mark.parametrize("machine", NAMES)
def test_a_machine_is_found_as_it_is(machine: str, tmp_path: Path) -> None:
    told = report_of(machine, tmp_path)
    shape, gpus, fabric = EXPECTED[machine]
    found = nodes.found(told)
    assert told.problems == ()
    assert list(nodes.problems(told)) == []
    assert found.host == f"{machine}-01"
    assert shape == (
        found.sockets,
        found.cores_per_socket,
        found.threads_per_core,
        found.memory_mb,
        found.numa_nodes,
    )
    assert found.gpus == gpus
    assert found.fabric == fabric
    assert told.gpus_on_bus == len(told.gpus)
    assert (told.memlock_kb, told.memlock_of) == (None, "slurmd")


def test_the_nvlink_domain_of_a_tray_is_found(tmp_path: Path) -> None:
    assert nodes.domain(report_of("gb200-nvl72", tmp_path / "a")) == (
        "5cd30dc8-4d1b-4b1e-9c55-0a6f3d2e7b91",
        2,
    )
    assert nodes.domain(report_of("dgx-h100", tmp_path / "b")) is None


@pytest.mark.parametrize("machine", NAMES)
def test_a_report_is_read_as_it_was_written(machine: str, tmp_path: Path) -> None:
    told = report_of(machine, tmp_path)
    assert report.parse(json.dumps(told.to_dict())) == told


def test_without_nvidia_smi_the_bus_tells_that_gpus_are_there(tmp_path: Path) -> None:
    root = plant(tmp_path, text("dgx-h100", "sysfs.txt"))
    told = discover(Programs("dgx-h100", {QUERY: None}), root)
    assert (told.gpus, told.gpus_on_bus) == ((), 8)
    assert told.problems == ("nvidia-smi: cannot be run",)
    # What slurmd found by itself is better than nothing.
    assert nodes.found(told).gpus == (Gpus("h100", 8, model="nvidia_h100_80gb_hbm3"),)


def test_a_driver_that_fails_is_told_in_its_words(tmp_path: Path) -> None:
    said = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    root = plant(tmp_path, text("l40s", "sysfs.txt"))
    told = discover(Programs("l40s", {QUERY: (9, said)}), root)
    assert told.gpus == ()
    assert told.problems == (f"nvidia-smi -q -x ended with status 9: {said}",)


def test_without_the_table_numa_nodes_come_from_the_bus(tmp_path: Path) -> None:
    root = plant(tmp_path, text("hgx-h200", "sysfs.txt"))
    told = discover(Programs("hgx-h200", {TABLE: (0, "nonsense")}), root)
    assert [gpu.numa for gpu in told.gpus] == [0, 0, 0, 1, 2, 2, 2, 3]
    assert told.gpu_links == {}
    assert len(told.problems) == 1
    # Nothing says which adapters are near: the fastest are taken.
    assert nodes.found(told).fabric == Fabric("roce", 8, 400)


def test_an_answer_that_is_no_answer_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    root = plant(tmp_path, text("l40s", "sysfs.txt") + CPUS)
    told = discover(Programs("l40s", {("slurmd", "-C"): (0, "what"), QUERY: (0, "<x/>")}), root)
    assert told.source == "sysfs"
    assert len(told.problems) == 2


# Two sockets of two cores with two threads, numbered as x86 does; CPU 8 is switched off.
CPUS = "".join(
    f"sys/devices/system/cpu/cpu{cpu}/topology/physical_package_id: {cpu % 4 // 2}\n"
    f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list: {cpu % 4},{cpu % 4 + 4}\n"
    for cpu in range(8)
) + (
    "sys/devices/system/cpu/cpu8/online: 0\n"
    "sys/devices/system/cpu/cpufreq/boost: 1\n"
    "proc/meminfo: MemTotal:       65536000 kB\n"
    "proc/sys/kernel/hostname: n7.example.org\n"
)


def test_without_slurmd_the_kernel_tells(tmp_path: Path) -> None:
    told = discover(no_programs, plant(tmp_path, CPUS))
    assert (told.host, told.source) == ("n7", "sysfs")
    assert (told.sockets, told.cores_per_socket, told.threads_per_core, told.memory_mb) == (2, 2, 2, 64000)
    assert told.problems == ()


def test_a_machine_that_says_nothing_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="neither CPUs nor memory"):
        discover(no_programs, tmp_path)


def test_slurmd_is_found_where_users_have_no_path_to() -> None:
    asked = []

    def run(argv: Any, **_: Any) -> process.Completed:
        asked.append(tuple(argv))
        raise NotFound(argv[0])

    discover(run)
    assert asked[: len(SLURMD)] == [(program, "-C") for program in SLURMD]


def test_adapters_are_of_their_kinds(tmp_path: Path) -> None:
    plant(
        tmp_path,
        """\
sys/class/infiniband/rdmap0s6/device/uevent: DRIVER=efa
sys/class/infiniband/rdmap0s6/ports/1/link_layer: Unspecified
sys/class/infiniband/rdmap0s6/ports/1/rate: 100 Gb/sec (4X EDR)
sys/class/infiniband/rdmap0s6/ports/1/state: 4: ACTIVE
sys/class/infiniband/mlx5_2/ports/1/link_layer: InfiniBand
sys/class/infiniband/mlx5_2/ports/1/rate: 10 Gb/sec (4X SDR)
sys/class/infiniband/mlx5_2/ports/1/state: 1: DOWN
sys/class/infiniband/mlx5_2/ports/2/link_layer: Ethernet
sys/class/infiniband/mlx5_2/ports/2/rate: 25 Gb/sec (1X EDR)
sys/class/infiniband/mlx5_2/ports/2/state: 4: ACTIVE
sys/class/infiniband/mlx5_10/device/physfn/vendor: 0x15b3
sys/class/net/hsn0/device/uevent: DRIVER=cxi_ss1
sys/class/net/hsn0/type: 1
sys/class/net/hsn0/speed: 200000
sys/class/net/hsn0/operstate: up
sys/class/net/eth1/device/uevent: DRIVER=igb
sys/class/net/eth1/type: 1
sys/class/net/eth1/speed: -1
sys/class/net/eth1/operstate: down
sys/class/net/enp1/device/infiniband/mlx5_2/name: mlx5_2
sys/class/net/enp1/type: 1
sys/class/net/docker0/type: 1""",
    )
    assert sysfs.nics(tmp_path) == (
        report.Nic("mlx5_2", "roce", 25, "ACTIVE"),
        report.Nic("rdmap0s6", "efa", 100, "ACTIVE"),
        report.Nic("hsn0", "slingshot", 200, "ACTIVE"),
    )
    assert sysfs.interfaces(tmp_path) == (report.Interface("eth1", None, "down"),)


def test_limits_and_huge_pages_are_read(tmp_path: Path) -> None:
    plant(
        tmp_path,
        "proc/self/limits: Max locked memory         8388608              unlimited            bytes\n"
        "sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages: 64\n"
        "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages: 0\n",
    )
    assert sysfs.memlock(tmp_path) == (8192, "self")
    assert sysfs.hugepages(tmp_path) == {"2048": 0, "1048576": 64}


@given(st.text())
def test_any_text_is_a_report_or_no_report(answer: str) -> None:
    with pytest.raises(ParseError):
        report.parse(answer)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
SMALL = report.Report("n1", "slurmd", 1, 2, 8, 1, 1000, gpus=(report.GpuFacts("x"),)).to_dict()


@given(st.sampled_from(sorted(SMALL)), JSON)
def test_a_report_with_any_other_value_is_one_or_none(key: str, value: Any) -> None:
    try:
        told = report.parse(json.dumps({**SMALL, key: value}))
    except ParseError:
        return
    assert report.parse(json.dumps(told.to_dict())) == told


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sockets": 0}, "sockets: not a number above 0: '0'"),
        ({"memory_mb": "64G"}, "memory_mb: not what belongs there (a whole number from 0): '\"64G\"'"),
        ({"host": "a b"}, "host: not the name of a host: 'a b'"),
        ({"version": 2}, "not a report of version 1: 'version 2'"),
        ({"gpus": [{"name": 1}]}, "gpus[0].name: not what belongs there (a text): '1'"),
        ({"gpus": [{}]}, "gpus[0]: not complete: name is missing: '{}'"),
    ],
)
def test_what_is_wrong_with_a_report_is_named(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ParseError) as caught:
        report.parse(json.dumps({**SMALL, **changed}))
    assert str(caught.value) == said


def test_a_report_of_a_newer_hpctools_may_say_more() -> None:
    assert report.parse(json.dumps({**SMALL, "rack": "r1"})).host == "n1"


def test_this_machine_is_found() -> None:
    told = discover(process.run)
    assert told.sockets * told.cores_per_socket * told.threads_per_core * told.boards >= 1
    assert told.host == os.uname().nodename.partition(".")[0]
    assert report.parse(json.dumps(told.to_dict())) == told


@pytest.mark.skipif(not shutil.which("slurmd"), reason="slurmd is not installed here")
def test_the_kernel_tells_what_slurmd_tells() -> None:
    printed = subprocess.run(["slurmd", "-C"], capture_output=True, text=True, check=True).stdout
    words = dict(word.partition("=")[::2] for word in printed.split())
    for told in (discover(process.run), discover(no_programs)):
        assert (told.host, str(told.memory_mb)) == (words["NodeName"], words["RealMemory"])
        assert str(told.boards * told.sockets) == words["SocketsPerBoard"]
        assert str(told.cores_per_socket) == words["CoresPerSocket"]
        assert str(told.threads_per_core) == words["ThreadsPerCore"]
