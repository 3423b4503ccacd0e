"""The reports of many nodes, merged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpctools.errors import InvalidInput
from hpctools.inventory import merge, read, report, write
from hpctools.inventory.report import GpuFacts, Interface, Nic, NumaNode, Report
from tests.inventory.boxes import NAMES, report_of


def many(like: Report, count: int, prefix: str = "gpu") -> list[Report]:
    """Nodes that are alike: gpu001, gpu002, ..."""
    return [replace(like, host=f"{prefix}{number:03}") for number in range(1, count + 1)]


@pytest.fixture
def h100(tmp_path: Path) -> Report:
    return report_of("dgx-h100", tmp_path / "h100")


def put(folder: Path, reports: Sequence[Report]) -> Path:
    folder.mkdir(exist_ok=True)
    for one in reports:
        (folder / f"{one.host}.json").write_text(json.dumps(one.to_dict()))
    return folder


def test_equal_nodes_are_one_type_and_nothing_is_told(h100: Report) -> None:
    merged = merge.merge("alpha", many(h100, 64))
    (type,) = merged.inventory.types.values()
    assert (type.gpu_count, type.cores, type.memory_mb) == (8, 112, 2063204)
    assert merged.inventory.groups[0].hosts == tuple(f"gpu{number:03}" for number in range(1, 65))
    assert (merged.outliers, merged.remarks) == ((), ())


def test_five_kinds_of_machines_are_five_types(tmp_path: Path) -> None:
    told = [one for name in NAMES for one in many(report_of(name, tmp_path / name), 3, f"{name}-")]
    merged = merge.merge("alpha", told)
    assert merged.said() == []
    assert merged.inventory.gpu_types == {"a100": 24, "gb200": 12, "h100": 24, "h200": 24, "l40s": 12}
    assert len(merged.inventory.types) == 5
    (mixed,) = (type for type in merged.inventory.types.values() if type.gpus[0].type == "a100")
    assert [gpus.gres for gpus in mixed.gpus] == [(("a100", 4),), (("a100_1g.5gb", 28),)]


def test_a_node_with_seven_gpus_does_not_make_a_type(h100: Report) -> None:
    told = many(h100, 20)
    told[6] = replace(told[6], gpus=told[6].gpus[:7], gpu_links={"NV18": 21})
    merged = merge.merge("alpha", told)
    assert len(merged.inventory.types) == 1
    assert merged.said() == [
        "gpu007: GPUs: 7 h100, and 8 h100 on the others",
        "gpu007: links between GPUs: 21 x NV18, and 28 x NV18 on the others",
        "gpu007: the driver has 7 of 8 GPUs on the PCI bus",
    ]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"memory_mb": 1934180}, "memory: 1889G, and 2015G on the others"),
        ({"driver": "535.54.03"}, "driver: 535.54.03, and 550.163.01 on the others"),
        (
            {"gpu_links": {"NV18": 27, "NV17": 1}},
            "links between GPUs: 1 x NV17 and 27 x NV18, and 28 x NV18 on the others",
        ),
        ({"hugepages": {"2048": 512}}, "huge pages of 2048K: 512, and 0 on the others"),
        (
            {"interfaces": (Interface("eno3", 100, "up"),)},
            "link of eno3: 100M up, and 1000M up on the others",
        ),
        (
            {"memlock_kb": 64, "memlock_of": "slurmd"},
            "slurmd may lock 64K of memory, and RDMA needs it unlimited",
        ),
        (
            {"memlock_kb": 8192, "memlock_of": "self"},
            "a process may lock 8M of memory, and RDMA needs it unlimited",
        ),
        ({"problems": ("nvidia-smi: no",)}, "nvidia-smi: no"),
    ],
)
def test_a_node_that_differs_is_told(h100: Report, changed: dict[str, object], said: str) -> None:
    told = many(h100, 16)
    told[4] = replace(told[4], **changed)  # type: ignore[arg-type]
    merged = merge.merge("alpha", told)
    assert merged.said() == [f"gpu005: {said}"]
    assert len(merged.inventory.types) == 1


def test_links_that_are_down_slow_or_gone_are_told_by_name(h100: Report) -> None:
    told = many(h100, 16)
    down = [replace(nic, rate_gbps=10, state="DOWN") if nic.name == "mlx5_4" else nic for nic in h100.nics]
    slow = [replace(nic, rate_gbps=200) if nic.name == "mlx5_9" else nic for nic in h100.nics]
    told[1] = replace(told[1], nics=tuple(down))
    told[2] = replace(told[2], nics=tuple(slow))
    told[3] = replace(told[3], nics=h100.nics[:-1])
    assert merge.merge("alpha", told).said() == [
        "gpu004: fabric: 7 x infiniband at 400G, and 8 x infiniband at 400G on the others",
        "gpu002: link of mlx5_4: 10G DOWN, and 400G ACTIVE on the others",
        "gpu003: link of mlx5_9: 200G ACTIVE, and 400G ACTIVE on the others",
        "gpu004: link of mlx5_11: none, and 400G ACTIVE on the others",
    ]


def test_ports_that_are_down_everywhere_are_not_used_and_not_told(tmp_path: Path) -> None:
    assert merge.merge("alpha", many(report_of("l40s", tmp_path), 4)).said() == []


def test_the_same_thing_on_many_hosts_is_one_line(h100: Report) -> None:
    told = [replace(one, memlock_kb=64, memlock_of="slurmd") for one in many(h100, 100)]
    assert merge.merge("alpha", told).said() == [
        "gpu[001-100]: slurmd may lock 64K of memory, and RDMA needs it unlimited"
    ]


def test_nvlink_domains_are_blocks(tmp_path: Path) -> None:
    tray = report_of("gb200-nvl72", tmp_path)
    other = [replace(gpu, cluster="0b7e01aa-0000-4000-8000-00000000000a") for gpu in tray.gpus]
    racks = many(tray, 18, "a") + [replace(one, gpus=tuple(other)) for one in many(tray, 18, "b")]
    merged = merge.merge("alpha", racks)
    blocks = merged.inventory.blocks
    assert {name: len(hosts) for name, hosts in blocks.items()} == {
        "nvl-5cd30dc8-2": 18,
        "nvl-0b7e01aa-2": 18,
    }
    assert blocks["nvl-0b7e01aa-2"][0] == "b001"
    assert merged.said() == []


def test_blocks_whose_short_names_are_the_same_have_long_ones(tmp_path: Path) -> None:
    tray = report_of("gb200-nvl72", tmp_path)
    uuids = ("00000001-0000-0000-0000-000000000001", "00000001-0000-0000-0000-000000000002")
    told = [
        replace(tray, host=f"n{index}", gpus=tuple(replace(gpu, cluster=uuid) for gpu in tray.gpus))
        for index, uuid in enumerate(uuids)
    ]
    assert list(merge.merge("alpha", told).inventory.blocks) == [f"nvl-{uuid}-2" for uuid in uuids]


def test_a_gpu_outside_of_its_trays_domain_is_told(tmp_path: Path) -> None:
    tray = report_of("gb200-nvl72", tmp_path)
    told = many(tray, 4)
    told[0] = replace(told[0], gpus=(replace(tray.gpus[0], cluster="", clique=None), *tray.gpus[1:]))
    merged = merge.merge("alpha", told)
    assert merged.said() == ["gpu001: its GPUs are of 2 NVLink domains, so that it is of no block"]
    assert sum(len(hosts) for hosts in merged.inventory.blocks.values()) == 3


def test_files_that_are_no_reports_are_told_all_at_once(h100: Report, tmp_path: Path) -> None:
    folder = put(tmp_path / "found", many(h100, 3))
    (folder / "gpu004").write_text("")
    (folder / "gpu005").write_text("ssh: connect to host gpu005 port 22: No route to host\n")
    (folder / "gpu006").write_bytes(b"\xff\xfe")
    (folder / "gpu007").write_text(json.dumps(replace(h100, host="gpu001").to_dict()))
    (folder / "gpu008").write_text(json.dumps({**h100.to_dict(), "sockets": "two"}))
    (folder / ".gpu009.tmp").write_text("half")
    (folder / "old").mkdir()
    with pytest.raises(InvalidInput) as caught:
        merge.read(folder)
    assert [(Path(problem.where).name, problem.message) for problem in caught.value.problems] == [
        ("gpu004", "not a report: it is empty, as when the host did not answer: ''"),
        ("gpu005", "not JSON: 'ssh: connect to host gpu005 port 22: No route to host\\n'"),
        ("gpu006", "not UTF-8: ''"),
        ("gpu007", f"is of gpu001, and so is {folder / 'gpu001.json'}"),
        ("gpu008", "sockets: not what belongs there (a whole number from 0): '\"two\"'"),
    ]


def test_a_folder_without_reports_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is empty"):
        merge.read(tmp_path)
    with pytest.raises(InvalidInput, match="is no folder"):
        merge.read(tmp_path / "absent")


def test_what_was_written_is_merged(h100: Report, tmp_path: Path) -> None:
    told = many(h100, 12)
    assert merge.read(put(tmp_path / "found", told)) == tuple(told)


NAMES_OF_GPUS = (
    "NVIDIA H100 80GB HBM3",
    "NVIDIA A100-SXM4-40GB",
    "odd: 'name'",
    "NVIDIA b\ud800\x1b\n#: x",
    "",
)
gpus = st.builds(
    GpuFacts,
    name=st.sampled_from(NAMES_OF_GPUS),
    minor=st.none() | st.integers(0, 9),
    memory_mb=st.none() | st.integers(80_000, 200_000),
    numa=st.none() | st.integers(0, 4),
    mig=st.booleans(),
    profiles=st.sampled_from([(), ("1g.10gb",) * 7, ("3g.40gb", "3g.40gb"), ("1c.3g.40gb",)]),
    cluster=st.sampled_from(["", "5cd30dc8-4d1b-4b1e-9c55-0a6f3d2e7b91"]),
    clique=st.none() | st.integers(0, 3),
)
adapters = st.builds(
    Nic,
    name=st.sampled_from(["mlx5_0", "mlx5_1", "hsn0"]),
    kind=st.sampled_from(["infiniband", "roce", "efa", "slingshot"]),
    rate_gbps=st.none() | st.integers(1, 800),
    state=st.sampled_from(["ACTIVE", "DOWN", ""]),
    near=st.sampled_from([(), (0,)]),
)
reports = st.builds(
    Report,
    host=st.from_regex(r"[a-z][a-z0-9-]{0,5}[0-9]{1,3}", fullmatch=True),
    source=st.just("slurmd"),
    boards=st.integers(1, 2),
    sockets=st.integers(1, 8),
    cores_per_socket=st.integers(1, 96),
    threads_per_core=st.integers(1, 4),
    memory_mb=st.integers(1, 2**30),
    gres=st.sampled_from(["", "gpu:amd_instinct_mi300x:8", "gpu:1", "!"]),
    numa=st.integers(0, 4).map(lambda count: tuple(NumaNode(2 * node, "0", 1) for node in range(count))),
    driver=st.sampled_from(["", "550.1"]),
    gpus=st.lists(gpus, max_size=3).map(tuple),
    nics=st.lists(adapters, max_size=3).map(tuple),
    memlock_kb=st.none() | st.integers(0, 9999),
)


@given(st.lists(reports, min_size=1, max_size=8, unique_by=lambda one: one.host))
def test_whatever_nodes_report_is_an_inventory_that_is_read_again(told: list[Report]) -> None:
    assert all(report.parse(json.dumps(one.to_dict())) == one for one in told)
    merged = merge.merge("alpha", told)
    assert sorted(merged.inventory.hosts) == sorted(one.host for one in told)
    assert isinstance(merged.said(), list)
    text = write.to_yaml(merged.inventory)
    again = read.inventory(text.encode(), "inventory.yaml")
    assert (again.types, again.hosts) == (merged.inventory.types, merged.inventory.hosts)


@given(st.lists(reports, min_size=1, max_size=6, unique_by=lambda one: one.host), st.randoms())
def test_the_order_of_the_files_does_not_matter(told: list[Report], chance: object) -> None:
    mixed = list(told)
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    assert merge.merge("alpha", mixed) == merge.merge("alpha", told)
