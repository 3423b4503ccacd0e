"""Folding hosts into types: equals together, defects told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpctools.errors import InvalidInput
from hpctools.inventory.fold import Folded, Outlier, fold
from hpctools.inventory.fold import told as lines
from hpctools.inventory.found import Found
from hpctools.inventory.model import Fabric, Gpus, Inventory
from hpctools.inventory.read import inventory as read
from hpctools.inventory.write import to_yaml

H100 = Gpus("h100", 8, 81559, "NVIDIA H100 80GB HBM3", (0, 0, 0, 0, 1, 1, 1, 1), "/dev/nvidia[0-7]")
IB = Fabric("infiniband", 8, 400)
MEMORY_MB = 2063000
DGX = Found("", 2, 56, 2, memory_mb=MEMORY_MB, numa_nodes=2, gpus=(H100,), fabric=IB)
CPU = Found("", 2, 64, 2, memory_mb=770000, numa_nodes=2)


def dgx(count: int) -> list[Found]:
    return [replace(DGX, host=f"gpu{number:03}") for number in range(1, count + 1)]


def told(folded: Folded) -> list[str]:
    return list(map(str, folded.outliers))


def test_equal_hosts_are_a_type_named_by_what_it_is() -> None:
    folded = fold([*dgx(64), *(replace(CPU, host=f"cpu{number}") for number in range(1, 11))])
    assert list(folded.types) == ["cpu-128c", "h100-8x112c"]
    assert [group.hosts[0] for group in folded.groups] == ["cpu1", "gpu001"]
    assert [group.hosts[-1] for group in folded.groups] == ["cpu10", "gpu064"]
    assert folded.outliers == ()


def test_a_host_with_a_gpu_less_is_told_and_not_made_a_type() -> None:
    hosts = dgx(64)
    seven = replace(H100, count=7, numa=H100.numa[:7], files="/dev/nvidia[0-6]")
    hosts[36] = replace(hosts[36], gpus=(seven,))
    folded = fold(hosts)
    assert list(folded.types) == ["h100-8x112c"]
    assert folded.types["h100-8x112c"].gpus == (H100,)
    assert folded.outliers == (Outlier("gpu037", "GPUs", "8 h100", "7 h100"),)
    assert told(folded) == ["gpu037: GPUs: 7 h100, and 8 h100 on the others"]
    assert "gpu037" in folded.groups[0].hosts


def test_that_it_comes_first_makes_no_difference() -> None:
    hosts = dgx(64)
    hosts[0] = replace(hosts[0], gpus=())
    folded = fold(hosts)
    assert list(folded.types) == ["h100-8x112c"]
    assert told(folded) == ["gpu001: GPUs: none, and 8 h100 on the others"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"memory_mb": MEMORY_MB * 31 // 32}, "memory: 1952G, and 2015G on the others"),
        ({"memory_mb": MEMORY_MB // 2}, "memory: 1007G, and 2015G on the others"),
        ({"threads_per_core": 1}, "threads per core: 1, and 2 on the others"),
        ({"cores_per_socket": 55}, "cores per socket: 55, and 56 on the others"),
        ({"numa_nodes": 8}, "NUMA nodes: 8, and 2 on the others"),
        ({"fabric": None}, "fabric: none, and 8 x infiniband at 400G on the others"),
        ({"fabric": replace(IB, hcas=7)}, "fabric: 7 x infiniband at 400G, and 8 x infiniband at 400G on"),
        (
            {"gpus": (replace(H100, numa=(0,) * 8),)},
            "NUMA nodes of its GPUs: 0,0,0,0,0,0,0,0, and 0,0,0,0,1,",
        ),
    ],
)
def test_each_defect_is_told(change: dict[str, object], said: str) -> None:
    hosts = dgx(16)
    hosts[11] = replace(hosts[11], **change)  # type: ignore[arg-type]
    folded = fold(hosts)
    assert list(folded.types) == ["h100-8x112c"]
    assert [one[: len(said) + 8] for one in told(folded)] == [f"gpu012: {said}"]


def test_a_dead_socket_is_told_in_all_it_takes_away() -> None:
    hosts = dgx(16)
    half = replace(H100, count=4, numa=(0, 0, 0, 0))
    hosts[3] = replace(hosts[3], sockets=1, memory_mb=MEMORY_MB // 2, numa_nodes=1, gpus=(half,))
    assert [outlier.what for outlier in fold(hosts).outliers] == ["sockets", "NUMA nodes", "memory", "GPUs"]


def test_memory_that_differs_by_a_little_is_the_least_of_it() -> None:
    hosts = [replace(one, memory_mb=MEMORY_MB - number * 100) for number, one in enumerate(dgx(32))]
    folded = fold(hosts)
    assert folded.outliers == ()
    assert [type.memory_mb for type in folded.types.values()] == [MEMORY_MB - 3100]


def test_a_tenth_with_more_memory_is_told_and_a_third_is_a_type() -> None:
    hosts = dgx(33)
    fat = [replace(one, memory_mb=2 * MEMORY_MB) for one in hosts[:3]]
    folded = fold([*fat, *hosts[3:]])
    assert len(folded.types) == 1
    assert {outlier.host for outlier in folded.outliers} == {"gpu001", "gpu002", "gpu003"}
    fat = [replace(one, memory_mb=2 * MEMORY_MB) for one in hosts[:10]]
    folded = fold([*fat, *hosts[10:]])
    assert folded.outliers == ()
    assert list(folded.types) == ["h100-8x112c-4030g", "h100-8x112c-2015g"]


@pytest.mark.parametrize(
    "other",
    [
        replace(DGX, host="node7", gpus=(replace(H100, type="a100"),)),
        replace(DGX, host="node7", gpus=(replace(H100, mig=(("1g.10gb", 7),)),)),
        replace(DGX, host="node7", gpus=(replace(H100, memory_mb=96000),)),
        replace(DGX, host="node7", cores_per_socket=48, memory_mb=MEMORY_MB // 2),
        replace(CPU, host="node7", gpus=(H100,)),
        replace(DGX, host="big7", memory_mb=2 * MEMORY_MB),
    ],
)
def test_another_model_is_a_type_of_its_own(other: Found) -> None:
    many = [replace(DGX, host=f"node{number}") for number in range(10, 40)]
    folded = fold([*many, other])
    assert folded.outliers == ()
    assert len(folded.types) == 2


def test_of_two_hosts_none_is_the_truth() -> None:
    one, other = dgx(2)
    folded = fold([one, replace(other, memory_mb=MEMORY_MB // 2)])
    assert len(folded.types) == 2
    assert folded.outliers == ()


def test_what_is_astray_itself_is_nobodys_measure() -> None:
    hosts = dgx(111)
    # As good as the ten in all but its cores, and another model than the hundred: a type of its own.
    hosts[100:110] = [replace(one, memory_mb=MEMORY_MB // 2) for one in hosts[100:110]]
    hosts[110] = replace(hosts[110], memory_mb=MEMORY_MB // 2, cores_per_socket=55)
    folded = fold(hosts)
    assert list(folded.types) == ["h100-8x112c", "h100-8x110c"]
    assert {outlier.host for outlier in folded.outliers} == {f"gpu{number}" for number in range(101, 111)}


def test_what_many_hosts_lack_is_one_line() -> None:
    hosts = dgx(40)
    hosts[7:10] = [replace(one, gpus=()) for one in hosts[7:10]]
    assert lines(fold(hosts).outliers) == ["gpu[008-010]: GPUs: none, and 8 h100 on the others"]


def test_a_host_that_reports_twice_is_a_mistake() -> None:
    with pytest.raises(InvalidInput, match="gpu001: was found more than once"):
        fold([*dgx(3), *dgx(1)])


def test_what_some_hosts_have_as_features_stands_with_those() -> None:
    hosts = [
        replace(one, features=("ib", "new") if number >= 2 else ("ib",)) for number, one in enumerate(dgx(4))
    ]
    folded = fold(hosts)
    assert folded.types["h100-8x112c"].features == ("ib",)
    assert [(group.hosts, group.features) for group in folded.groups] == [
        (("gpu001", "gpu002"), ()),
        (("gpu003", "gpu004"), ("new",)),
    ]


def test_switches_in_turn_are_one_group_and_others_a_group_each() -> None:
    hosts = [replace(one, switch=f"leaf{number // 4}") for number, one in enumerate(dgx(10))]
    (group,) = fold(hosts).groups
    assert group.switches == ("leaf0",) * 4 + ("leaf1",) * 4 + ("leaf2",) * 2
    hosts = [replace(one, switch=f"leaf{number % 2}") for number, one in enumerate(dgx(5))]
    assert [(group.hosts, set(group.switches)) for group in fold(hosts).groups] == [
        (("gpu001", "gpu003", "gpu005"), {"leaf0"}),
        (("gpu002", "gpu004"), {"leaf1"}),
    ]


def test_a_host_whose_switch_is_unknown_stands_apart() -> None:
    first, *others = dgx(4)
    groups = fold([first, *(replace(one, switch="leaf1") for one in others)]).groups
    assert [(group.hosts, group.switches) for group in groups] == [
        (("gpu001",), ()),
        (("gpu002", "gpu003", "gpu004"), ("leaf1",) * 3),
    ]


def test_ten_thousand_hosts_fold() -> None:
    hosts = [replace(DGX, host=f"n{number}", memory_mb=MEMORY_MB - number % 500) for number in range(10_000)]
    hosts[77] = replace(hosts[77], gpus=())
    folded = fold(hosts)
    assert len(folded.types) == 1
    assert [outlier.host for outlier in folded.outliers] == ["n77"]


some = st.builds(
    Found,
    host=st.from_regex(r"(gpu|cpu|n)[0-9]{1,2}", fullmatch=True),
    sockets=st.integers(1, 2),
    cores_per_socket=st.sampled_from([8, 16]),
    threads_per_core=st.integers(1, 2),
    memory_mb=st.sampled_from([100_000, 100_500, 97_000, 200_000]),
    tmp_disk_mb=st.sampled_from([0, 900_000]),
    gpus=st.sampled_from(
        [(), (Gpus("l40s", 4, 46068),), (Gpus("l40s", 3, 46068),), (Gpus("a100", 4, 40960),)]
    ),
    features=st.sampled_from([(), ("x",), ("x", "y")]),
    switch=st.sampled_from(["", "s1", "s2"]),
    rack=st.sampled_from(["", "r1", "r2"]),
    weight=st.sampled_from([None, 10]),
)


@settings(deadline=None)
@given(st.lists(some, min_size=1, max_size=30, unique_by=lambda one: one.host), st.randoms())
def test_every_host_has_a_type_that_it_is_of_or_is_told(hosts: list[Found], chance: object) -> None:
    folded = fold(hosts)
    made: Inventory = folded.inventory("a")
    assert sorted(made.hosts) == sorted(one.host for one in hosts)
    strays = {outlier.host for outlier in folded.outliers}
    for one in hosts:
        type = made.hosts[one.host]
        if one.host not in strays:
            assert (one.cores, one.threads_per_core, one.gpus) == (
                type.cores,
                type.threads_per_core,
                type.gpus,
            )
            assert type.memory_mb <= one.memory_mb * 1.0001 <= type.memory_mb * 1.05
    places = {
        host: switch
        for group in made.groups
        for host, switch in zip(group.hosts, group.switches, strict=False)
    }
    assert places == {one.host: one.switch for one in hosts if one.switch}
    chance.shuffle(hosts)  # type: ignore[attr-defined]
    assert fold(hosts) == folded
    assert read(to_yaml(made).encode(), "i.yaml") == made
