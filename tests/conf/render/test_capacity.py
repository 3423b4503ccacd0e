"""What jobs can have of a node, and each GPU's share of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpctools.conf.rendering import capacity
from hpctools.inventory.model import Gpus, NodeType

H100 = Gpus("h100", 8, numa=(0, 0, 0, 0, 1, 1, 1, 1))
DGX = NodeType(
    "dgx", 2, 56, 2, 2014 * 1024, numa_nodes=2, gpus=(H100,), reserved_cores=4, reserved_memory_mb=32768
)


@pytest.mark.parametrize(
    ("memory_mb", "real_mb"),
    [(2014 * 1024, 1973 * 1024), (64 * 1024, 62 * 1024), (64 * 1024 - 300, 62 * 1024), (8 * 1024, 7 * 1024)],
)
def test_two_percent_and_at_least_one_gib_is_left_and_then_whole_gib(memory_mb: int, real_mb: int) -> None:
    assert capacity.real_memory_mb(replace(DGX, memory_mb=memory_mb)) == real_mb


@given(st.integers(1, 2**40))
def test_a_node_is_never_told_more_memory_than_it_has_nor_none(memory_mb: int) -> None:
    real_mb = capacity.real_memory_mb(replace(DGX, memory_mb=memory_mb))
    assert 1 <= real_mb <= memory_mb
    assert real_mb > memory_mb * 0.6 or memory_mb < 8


def test_all_gpus_of_a_node_take_no_more_cpus_and_memory_than_jobs_can_have() -> None:
    assert capacity.cpus_per_gpu([DGX]) == 26  # (112 - 4) cores of 2 threads by 8, in whole cores
    assert capacity.memory_per_gpu_mb([DGX]) == (1973 * 1024 - 32768) // 8
    assert capacity.memory_per_cpu_mb([DGX]) == (1973 * 1024 - 32768) // 224


def test_the_smallest_share_of_several_kinds_holds_for_all() -> None:
    small = replace(DGX, name="small", cores_per_socket=8, reserved_cores=0)
    without = replace(DGX, name="cpu", gpus=())
    assert capacity.cpus_per_gpu([DGX, without, small]) == 4
    assert capacity.cpus_per_gpu([without]) == 0


def test_half_of_the_cores_near_a_gpu_are_kept_for_it() -> None:
    assert capacity.restricted_cores(DGX) == (56 - 4) // 4 // 2


def test_cores_are_kept_for_each_mig_instance() -> None:
    cut = replace(H100, mig=(("1g.10gb", 4), ("3g.40gb", 1)))
    assert capacity.restricted_cores(replace(DGX, gpus=(cut,))) == (56 - 4) // 20 // 2


def test_gpus_whose_place_is_unknown_keep_no_cores() -> None:
    assert capacity.restricted_cores(replace(DGX, gpus=(replace(H100, numa=()),))) == 0


def test_numa_nodes_below_a_socket_stand_for_all_of_it() -> None:
    spread = replace(DGX, numa_nodes=8, gpus=(replace(H100, numa=(0, 1, 2, 3, 4, 5, 6, 7)),))
    assert capacity.sockets_of_gpus(spread) == (0, 0, 0, 0, 1, 1, 1, 1)


def test_a_numa_node_of_several_sockets_is_no_place() -> None:
    assert capacity.sockets_of_gpus(replace(DGX, numa_nodes=1, gpus=(replace(H100, numa=(0,) * 8),))) is None
