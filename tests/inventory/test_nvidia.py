"""What nvidia-smi says, read."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpctools.errors import ParseError
from hpctools.inventory import nvidia
from tests.inventory.boxes import NAMES, text

# name, GPUs, MiB of each, driver, kind of link between them
MACHINES = [
    ("dgx-a100", "NVIDIA A100-SXM4-40GB", 8, 40960, "525.147.05", {"NV12": 28}),
    ("dgx-h100", "NVIDIA H100 80GB HBM3", 8, 81559, "550.163.01", {"NV18": 28}),
    ("hgx-h200", "NVIDIA H200", 8, 143771, "570.172.08", {"NV18": 28}),
    ("gb200-nvl72", "NVIDIA GB200", 4, 189471, "580.105.08", {"NV18": 6}),
    ("l40s", "NVIDIA L40S", 4, 46068, "550.144.03", {"NODE": 2, "SYS": 4}),
]


def test_every_machine_is_among_these() -> None:
    assert sorted(row[0] for row in MACHINES) == list(NAMES)


@pytest.mark.parametrize(("machine", "name", "count", "memory_mb", "driver", "links"), MACHINES)
def test_a_machine_is_read(
    machine: str, name: str, count: int, memory_mb: int, driver: str, links: dict[str, int]
) -> None:
    query = nvidia.parse_query(text(machine, "nvidia-smi.xml"))
    assert (query.driver, query.attached) == (driver, count)
    assert {(gpu.name, gpu.memory_mb, gpu.ecc) for gpu in query.gpus} == {(name, memory_mb, True)}
    assert sorted(gpu.minor or 0 for gpu in query.gpus) == list(range(count))
    assert len({gpu.bus_id for gpu in query.gpus}) == count
    table = nvidia.parse_topology(text(machine, "topo.txt"))
    assert len(table.gpus) == count
    assert table.gpu_links() == links


def test_the_device_file_is_not_the_place_on_the_bus() -> None:
    gpus = nvidia.parse_query(text("dgx-a100", "nvidia-smi.xml")).gpus
    assert [gpu.minor for gpu in gpus] == [2, 3, 0, 1, 6, 7, 4, 5]
    assert gpus[0].bus_id == "0000:07:00.0"


def test_adapters_are_near_to_gpus_behind_the_same_switch() -> None:
    table = nvidia.parse_topology(text("dgx-a100", "topo.txt"))
    assert [table.near(f"mlx5_{number}") for number in (0, 2, 4, 9)] == [(0, 1), (2, 3), (), (6, 7)]
    table = nvidia.parse_topology(text("hgx-h200", "topo.txt"))
    assert [table.near(nic) for nic in table.nics] == [(0,), (1,), (2,), (), (3,), (4,), (5,), (6,), (7,)]


def test_numa_nodes_and_cpus_stand_behind_the_links() -> None:
    table = nvidia.parse_topology(text("dgx-a100", "topo.txt"))
    assert table.numa == ((3,), (3,), (1,), (1,), (7,), (7,), (5,), (5,))
    assert table.cpus[0] == "48-63,176-191"
    grace = nvidia.parse_topology(text("gb200-nvl72", "topo.txt"))
    # Its own memory's nodes are among them.
    assert grace.numa[2] == (1, *range(19, 26), *range(27, 34))


def test_only_nvlink_domains_that_span_hosts_are_told() -> None:
    domains = {
        machine: {
            (gpu.cluster, gpu.clique) for gpu in nvidia.parse_query(text(machine, "nvidia-smi.xml")).gpus
        }
        for machine in NAMES
    }
    assert domains.pop("gb200-nvl72") == {("5cd30dc8-4d1b-4b1e-9c55-0a6f3d2e7b91", 2)}
    assert set().union(*domains.values()) == {("", None)}


def test_mig_is_in_the_xml_and_its_profiles_are_in_the_list() -> None:
    gpus = nvidia.parse_query(text("dgx-a100", "nvidia-smi.xml")).gpus
    assert [(gpu.mig, gpu.instances) for gpu in gpus] == [(False, 0)] * 4 + [(True, 7)] * 4
    profiles = nvidia.parse_list(text("dgx-a100", "list.txt"))
    assert [Counter(profiles[gpu.uuid]) for gpu in gpus] == [Counter()] * 4 + [Counter({"1g.5gb": 7})] * 4


def test_a_table_that_was_copied_with_blanks_is_read() -> None:
    table = nvidia.parse_topology(
        "        GPU0    GPU1    mlx5_0  CPU Affinity    NUMA Affinity   GPU NUMA ID\n"
        "GPU0     X      NV12    PXB     0-15,56-71      0               N/A\n"
        "GPU1    NV12     X      NODE                    1               N/A\n"
        "mlx5_0  PXB     NODE     X\n"
    )
    assert (table.numa, table.cpus, table.nics) == (((0,), (1,)), ("0-15,56-71", ""), ("mlx5_0",))
    assert table.near("mlx5_0") == (0,)


def test_one_gpu_and_no_adapter_is_a_table_too() -> None:
    table = nvidia.parse_topology("\tGPU0\tCPU Affinity\tNUMA Affinity\nGPU0\t X \t0-15\tN/A\n\nLegend:\n")
    assert (table.gpus, table.numa, table.links) == (("GPU0",), ((),), {})


def test_a_gpu_that_is_lost_is_still_one() -> None:
    lost = "<product_name>Unknown Error</product_name><minor_number>GPU is lost</minor_number>"
    query = nvidia.parse_query(f"<nvidia_smi_log><gpu id='00000000:19:00.0'>{lost}</gpu></nvidia_smi_log>")
    assert query.gpus == (nvidia.Gpu("", bus_id="0000:19:00.0"),)


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE nvidia_smi_log [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    "<nvidia_smi_log><driver_version>&b;</driver_version></nvidia_smi_log>"
)


@pytest.mark.parametrize(
    "hostile",
    [
        BOMB,
        BOMB.replace("<!ENTITY a", "<!ENTITY % a"),
        "<!DOCTYPE x [\n<!ELEMENT a (b)>]><nvidia_smi_log/>",
        "",
        "No devices were found\n",
        "<html></html>",
        "<nvidia_smi_log>",
        "<nvidia_smi_log>\udc80</nvidia_smi_log>",
        "<nvidia_smi_log>" + "<a>" * 100_000,
    ],
)
def test_what_is_no_answer_is_refused(hostile: str) -> None:
    with pytest.raises(ParseError):
        nvidia.parse_query(hostile)


def test_an_answer_without_end_is_refused_unread() -> None:
    with pytest.raises(ParseError):
        nvidia.parse_query("<nvidia_smi_log>" + " " * nvidia.MAX_XML + "</nvidia_smi_log>")


def spoiled(answer: str) -> st.SearchStrategy[str]:
    """answer with a piece of it taken out, doubled or replaced."""
    place = st.integers(0, len(answer))
    return st.builds(
        lambda one, other, between: answer[:one] + between + answer[other:],
        place,
        place,
        st.text(max_size=30),
    )


@given(st.text() | st.sampled_from(NAMES).flatmap(lambda name: spoiled(text(name, "nvidia-smi.xml"))))
def test_any_text_is_a_query_or_no_query(answer: str) -> None:
    try:
        query = nvidia.parse_query(answer)
    except ParseError:
        return
    assert all(gpu.memory_mb is None or gpu.memory_mb >= 0 for gpu in query.gpus)


@given(st.text() | st.sampled_from(NAMES).flatmap(lambda name: spoiled(text(name, "topo.txt"))))
def test_any_text_is_a_table_or_no_table(answer: str) -> None:
    try:
        table = nvidia.parse_topology(answer)
    except ParseError:
        return
    assert len(table.numa) == len(table.cpus) == len(table.gpus) > 0
    assert sum(table.gpu_links().values()) == len(table.gpus) * (len(table.gpus) - 1) // 2


@given(st.text() | st.sampled_from(NAMES).flatmap(lambda name: spoiled(text(name, "list.txt"))))
def test_any_text_is_a_list(answer: str) -> None:
    assert all(isinstance(profiles, tuple) for profiles in nvidia.parse_list(answer).values())


@given(st.frozensets(st.integers(0, 65535), max_size=50))
def test_numbers_are_read_as_the_kernel_writes_them(numbers: frozenset[int]) -> None:
    assert nvidia.numbers(",".join(map(str, sorted(numbers)))) == tuple(sorted(numbers))


def test_numbers_have_an_end() -> None:
    assert nvidia.numbers("0-3,8-9") == (0, 1, 2, 3, 8, 9)
    assert [nvidia.numbers(text) for text in ("0-99999", "0-999999999999", "N/A", "", "3-1", "a")] == [()] * 6


@pytest.mark.parametrize(
    ("product", "type", "divided"),
    [
        ("NVIDIA H100 80GB HBM3", "h100", "h100_80gb_hbm3"),
        ("NVIDIA H100 PCIe", "h100", "h100_pcie"),
        ("NVIDIA H200", "h200", "h200"),
        ("NVIDIA A100-SXM4-40GB", "a100", "a100"),
        ("NVIDIA A100 80GB PCIe", "a100", "a100_80gb_pcie"),
        ("NVIDIA GH200 480GB", "gh200", "gh200_480gb"),
        ("NVIDIA GB200", "gb200", "gb200"),
        ("NVIDIA B200", "b200", "b200"),
        ("NVIDIA L40S", "l40s", "l40s"),
        ("NVIDIA A10G", "a10g", "a10g"),
        ("Tesla V100-SXM2-32GB", "v100", "tesla_v100"),
        ("Tesla T4", "t4", "tesla_t4"),
        ("NVIDIA GeForce RTX 4090", "rtx_4090", "geforce_rtx_4090"),
        ("NVIDIA GeForce RTX 2080 Ti", "rtx_2080_ti", "geforce_rtx_2080_ti"),
        ("NVIDIA RTX A6000", "rtx_a6000", "rtx_a6000"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx_6000_ada", "rtx_6000_ada_generation"),
        ("Quadro RTX 6000", "rtx_6000", "quadro_rtx_6000"),
        (
            "NVIDIA RTX PRO 6000 Blackwell Server Edition",
            "rtx_pro_6000",
            "rtx_pro_6000_blackwell_server_edition",
        ),
        ("NVIDIA TITAN V", "titan_v", "titan_v"),
        ("AMD Instinct MI300X", "mi300x", "amd_instinct_mi300x"),
        ("NVIDIA", "", "nvidia"),
        ("", "", ""),
    ],
)
def test_a_type_is_short_and_a_part_of_slurms_name(product: str, type: str, divided: str) -> None:
    assert nvidia.slurm_type(product) == type
    assert nvidia.mig_type(product) == divided
    assert type in nvidia.slurm_name(product)


@given(st.text() | st.from_regex(r"(NVIDIA |Tesla |)[A-Za-z0-9 _-]{1,40}", fullmatch=True))
def test_any_name_gives_a_type_that_slurm_finds(product: str) -> None:
    name = nvidia.slurm_name(product)
    for made in (nvidia.slurm_type(product), nvidia.mig_type(product)):
        assert made in name
        assert not made or re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", made)
    # gpu_nvml.c: an instance is named by what is before the first hyphen, and its profile.
    assert f"{nvidia.mig_type(product)}_1g.10gb" in f"{name.partition('-')[0]}_1g.10gb"
