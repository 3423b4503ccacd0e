"""Inventories from what sites have: tables, Slurm's answers, facts, cables."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpctools.errors import InvalidInput, Problem
from hpctools.inventory.from_ibnet import ibnetdiscover
from hpctools.inventory.from_slurm import gpus_of
from hpctools.inventory.imports import FORMATS, Imported, Source, imported, kind_of
from hpctools.inventory.model import Fabric, Gpus, Switch
from hpctools.inventory.write import to_yaml
from hpctools.slurm import tres
from tests.inventory.fabrics import printed

HERE = Path(__file__).parent
RECORDED = HERE.parent / "recorded"
SLURMD = "NodeName={} CPUs=224 Boards=1 SocketsPerBoard=2 CoresPerSocket=56 ThreadsPerCore=2 RealMemory={}"


def made(*texts: str, format: str | None = None) -> Imported:
    return imported(
        "a", [Source(f"f{number}", text.encode()) for number, text in enumerate(texts, 1)], format
    )


def mistakes(*texts: str, format: str | None = None) -> list[str]:
    with pytest.raises(InvalidInput) as raised:
        made(*texts, format=format)
    return [str(problem) for problem in raised.value.problems]


# --- CSV ------------------------------------------------------------------------------------------
CSV = """\
host,sockets,cores_per_socket,threads_per_core,memory,gpu_type,gpu_count,gpu_memory,fabric,hcas,rate,switch,rack,serial
"gpu[001-016]",2,56,2,2014G,h100,8,80G,infiniband,8,400G,leaf1,r1,X1
"gpu[017-032]",2,56,2,2014G,h100,8,80G,infiniband,8,400G,leaf2,r2,X2
cpu1,2,64,2,768 GB,,,,,,,,,X3
"""


def test_a_table_is_an_inventory() -> None:
    found = made(CSV)
    assert list(found.inventory.types) == ["cpu-128c", "h100-8x112c"]
    h100 = found.inventory.types["h100-8x112c"]
    assert h100.gpus == (Gpus("h100", 8, 80 * 1024),)
    assert h100.fabric == Fabric("infiniband", 8, 400)
    assert found.inventory.types["cpu-128c"].memory_mb == 768 * 1024
    assert {name: len(hosts) for name, hosts in found.inventory.leaves.items()} == {"leaf1": 16, "leaf2": 16}
    assert found.remarks == ("f1: not used: the columns serial",)


@pytest.mark.parametrize("change", ["\ufeff{}", "{}\n\n", "# a remark\n{}", "{0}"])
def test_a_table_as_spreadsheets_write_it_is_the_same(change: str) -> None:
    text = change.format(CSV.replace(",", ";").replace("\n", "\r\n"))
    assert made(text).inventory == made(CSV).inventory
    assert (
        made(CSV.replace("host,sockets", "Host,Sockets").replace("cores_per", "Cores Per")).inventory
        == made(CSV).inventory
    )


def test_every_mistake_of_a_table_is_told_with_its_line() -> None:
    text = """\
host,sockets,cores_per_socket,memory,gpu_type,gpu_count,rate,fabric,address,weight
n1,two,8,64G,,,,,,
n[2-3],1,8,lots,h100,,,,10.0.0.1,
"n[4-",1,8,64G,,8,fast,myrinet,,-1
,1,,64G,,,,,,
n5,1,8,64G,,,,,,,,,
"""
    assert mistakes(text) == [
        "f1:2: sockets: two is no whole number from 1",
        "f1:3: memory: lots is not an amount of memory (2014G)",
        "f1:3: gpu_type without gpu_count (h100 and 8)",
        "f1:3: address: 1 for 2 hosts",
        "f1:4: gpu_count without gpu_type (h100 and 8)",
        "f1:4: rate: fast is no number of Gbit/s (400G)",
        "f1:4: fabric: myrinet is none of infiniband, roce, efa, slingshot, ethernet",
        "f1:4: weight: -1 is no whole number from 0",
        "f1:4: host: n[4- is not a list of names (gpu[001-064])",
        "f1:5: host is empty",
        "f1:5: cores_per_socket is empty",
        "f1:6: 13 cells, and there are 10 columns",
    ]


def test_a_table_without_a_needed_column_is_told() -> None:
    assert mistakes("host,memory,memory\nn1,1G,1G") == [
        "f1:1: no column sockets",
        "f1:1: no column cores_per_socket",
        "f1:1: the column memory stands there twice",
    ]


# --- Slurm ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("release", ["22.05", "24.11", "26.05"])
def test_what_scontrol_shows_is_an_inventory(release: str) -> None:
    found = made((RECORDED / release / "scontrol-nodes.txt").read_text())
    (type,) = found.inventory.types.values()
    assert (type.cores, type.memory_mb, type.gpu_count) == (32, 65536, 8)
    assert found.inventory.gpu_types == {type.gpus[0].type: 8 * len(found.inventory.hosts)}
    # The sandbox has one address for all, which therefore is none.
    assert all(group.addresses == () for group in found.inventory.groups)
    assert "slurmd -C" in found.remarks[0]


NODE = """\
NodeName={} Arch=x86_64 CoresPerSocket=32
   CPUAlloc=0 CPUEfctv=120 CPUTot=128 CPULoad=0.01
   AvailableFeatures=ib,milan
   ActiveFeatures=ib,milan
   Gres=gpu:a100:4(S:0-1),shard:a100:16(S:0-1)
   NodeAddr=10.0.0.{} NodeHostName=gpu Version=24.11.5
   RealMemory=1000000 AllocMem=0 FreeMem=900000 Sockets=4 Boards=2
   CoreSpecCount=4 CPUSpecList=0-3 MemSpecLimit=8192
   State=IDLE+DRAIN ThreadsPerCore=1 TmpDisk=900000 Weight=50 Owner=N/A MCS_label=N/A
   Partitions=gpu
   Reason=bad Gres=gpu:b200:8 here [root@2026-01-01T00:00:00]

"""


def test_what_scontrol_shows_over_many_lines_is_the_same() -> None:
    found = made(NODE.format("g1", 1) + NODE.format("g2", 2))
    (type,) = found.inventory.types.values()
    assert (type.boards, type.sockets, type.cores) == (2, 2, 128)
    assert type.gpus == (Gpus("a100", 4, shard=4),)
    assert (type.features, type.weight) == (("ib", "milan"), 50)
    assert (type.reserved_cores, type.reserved_memory_mb, type.tmp_disk_mb) == (4, 8192, 900000)
    assert found.inventory.groups[0].addresses == ("10.0.0.1", "10.0.0.2")


def test_a_node_that_lacks_what_is_needed_is_told_with_its_line() -> None:
    text = (
        NODE.format("g1", 1)
        + "NodeName=g2 CPUTot=8 Sockets=2 CoresPerSocket=4\nNodeName=g3 CPUTot=8 Gres=gpu:a:b:c:d\n"
    )
    assert mistakes(text)[0] == "f1:13: g2: no RealMemory"
    assert mistakes(text)[1].startswith("f1:14: ")


@pytest.mark.parametrize(
    "old", ["Sockets=4", "RealMemory=1000000", "Weight=50", "a100:4(", "NodeName=g1", "TmpDisk=900000"]
)
def test_a_number_of_thousands_of_digits_is_a_mistake_and_no_crash(old: str) -> None:
    text = NODE.format("g1", 1)
    assert old in text
    for digits in (300, 4200, 5000):
        changed = text.replace(old, re.sub(r"[0-9]+(\(?)$", rf"{'9' * digits}\1", old), 1)
        assert max(map(len, mistakes(changed))) < 300


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("(null)", ()),
        ("gpu:8", (Gpus("gpu", 8),)),
        ("gpu:model_a:2,gpu:model_b:2", (Gpus("model_a", 2), Gpus("model_b", 2))),
        ("gpu:h100:8(S:0-1),shard:32", (Gpus("h100", 8, shard=4),)),
        ("gpu:v100:2,mps:200", (Gpus("v100", 2, mps=True),)),
        ("gpu:a:2,gpu:b:2,shard:b:8", (Gpus("a", 2), Gpus("b", 2, shard=4))),
        ("gpu:a100_1g.5gb:28", (Gpus("a100", 4, mig=(("1g.5gb", 7),)),)),
        ("gpu:a100_3g.20gb:8,gpu:a100:2", (Gpus("a100", 2), Gpus("a100", 4, mig=(("3g.20gb", 2),)))),
        ("gpu:a100_1g.5gb:2,gpu:a100_3g.20gb:1", (Gpus("a100", 1, mig=(("1g.5gb", 2), ("3g.20gb", 1))),)),
        (
            "gpu:a100_1g.5gb:9,gpu:a100_3g.20gb:1",
            (Gpus("a100", 3, mig=(("1g.5gb", 3),)), Gpus("a100", 1, mig=(("3g.20gb", 1),))),
        ),
        ("craynetwork:4,gpu:0", ()),
    ],
)
def test_gpus_are_told_from_gres(gres: str, gpus: tuple[Gpus, ...]) -> None:
    assert gpus_of(tres.parse_gres(gres)) == gpus


def test_lines_of_slurmd_of_many_hosts_are_an_inventory_and_the_odd_one_is_told() -> None:
    lines = [SLURMD.format(f"gpu{number:03}", 2063000 + number) for number in range(1, 33)]
    lines[6] = SLURMD.format("gpu007", 1998000)
    text = "\n".join(f"gpu: {line}\ngpu: UpTime=1-00:00:00" for line in lines)
    found = made(text)
    assert [(type.name, type.memory_mb) for type in found.inventory.types.values()] == [("cpu-112c", 2063001)]
    assert len(found.inventory.hosts) == 32
    assert list(map(str, found.outliers)) == ["gpu007: memory: 1951G, and 2015G on the others"]


def test_gpus_that_slurmd_found_have_short_types() -> None:
    text = SLURMD.format("gpu1", 1000) + " Gres=gpu:nvidia_h100_80gb_hbm3:8\n"
    (type,) = made(text).inventory.types.values()
    assert type.gpus == (Gpus("h100", 8, model="nvidia_h100_80gb_hbm3"),)


def test_a_broken_line_of_slurmd_is_told() -> None:
    text = SLURMD.format("n1", "x") + "\n" + SLURMD.format("n2", "1000")
    assert mistakes(text) == ["f1:1: not a line of slurmd -C (NodeName=... RealMemory=...)"]


# --- Ansible --------------------------------------------------------------------------------------
def facts(host: str, **more: object) -> dict[str, object]:
    return {
        "ansible_hostname": host,
        "ansible_processor_count": 2,
        "ansible_processor_cores": 64,
        "ansible_processor_threads_per_core": 2,
        "ansible_memtotal_mb": 773000,
        "ansible_interfaces": ["lo", "ib0", "bond-0"],
        "ansible_ib0": {"type": "infiniband", "speed": 200000},
        "ansible_lo": {"type": "loopback"},
    } | more


def test_facts_of_a_file_a_host_are_an_inventory() -> None:
    texts = [json.dumps({"ansible_facts": facts(f"n{number}"), "changed": False}) for number in (1, 2, 3)]
    found = made(*texts)
    (type,) = found.inventory.types.values()
    assert (type.cores, type.cpus, type.memory_mb) == (128, 256, 773000)
    assert type.fabric == Fabric("infiniband", 1, 200)
    assert found.inventory.groups[0].hosts == ("n1", "n2", "n3")
    assert len(found.remarks) == 1


def test_facts_as_ansible_prints_them_are_the_same() -> None:
    text = "".join(
        f"{host}.site | SUCCESS => {json.dumps({'ansible_facts': facts(host)}, indent=4)}\n"
        for host in ("n1", "n2", "n3")
    )
    assert list(made(text).inventory.hosts) == ["n1", "n2", "n3"]


def test_hosts_that_ansible_did_not_reach_and_facts_that_are_missing_are_told() -> None:
    text = (
        'n1 | UNREACHABLE! => {"msg": "no route"}\n'
        f"n2 | SUCCESS => {json.dumps({'ansible_facts': facts('n2', ansible_processor_cores='x')})}\n"
        'n3 | SUCCESS => {"ansible_facts": \n'
    )
    assert mistakes(text) == [
        "f1: n1: UNREACHABLE: Ansible did not reach it",
        "f1:2: no fact ansible_processor_cores of n2 (gather_subset: hardware)",
        "f1:3: is no JSON: Expecting value: line 4 column 1 (char " + str(len(text)) + ")",
    ]


# --- cables ---------------------------------------------------------------------------------------
LEAVES = [f"leaf{number:02}" for number in range(1, 9)]
HOSTS = [f"gpu{number:03}" for number in range(1, 33)]


def hosts_of(count: int) -> str:
    return f'host,sockets,cores_per_socket,memory\n"gpu[001-{count:03}]",2,56,2014G\n'


def test_a_fat_tree_is_leaves_below_one_switch() -> None:
    cables = [(leaf, f"spine{number}") for leaf in LEAVES for number in (1, 2)]
    hosts = {host: [LEAVES[index // 4]] for index, host in enumerate(HOSTS)}
    found = ibnetdiscover(printed([*LEAVES, "spine1", "spine2"], cables, hosts, "4xHDR"), "ib")
    assert found.leaves == {host: LEAVES[index // 4] for index, host in enumerate(HOSTS)}
    assert found.switches == (Switch("spine1-spine2", tuple(LEAVES)),)
    assert found.fabrics["gpu001"] == Fabric("infiniband", 1, 200)
    assert found.remarks == ()


def test_three_levels_are_a_tree() -> None:
    cables = [(leaf, f"spine{1 + index // 4}") for index, leaf in enumerate(LEAVES)]
    cables += [(f"spine{number}", f"core{other}") for number in (1, 2) for other in (1, 2, 3)]
    names = [*LEAVES, "spine1", "spine2", "core1", "core2", "core3"]
    hosts = {host: [LEAVES[index // 4]] for index, host in enumerate(HOSTS)}
    assert ibnetdiscover(printed(names, cables, hosts), "ib").switches == (
        Switch("spine1", tuple(LEAVES[:4])),
        Switch("spine2", tuple(LEAVES[4:])),
        Switch("core1-core3", ("spine1", "spine2")),
    )


def test_the_leaves_of_rails_stand_as_one_and_a_missing_cable_is_told() -> None:
    units = {host: LEAVES[:4] if index < 16 else LEAVES[4:] for index, host in enumerate(HOSTS)}
    units["gpu005"] = LEAVES[1:4]
    cables = [(leaf, "spine1") for leaf in LEAVES]
    found = ibnetdiscover(printed([*LEAVES, "spine1"], cables, units), "ib")
    assert set(found.leaves.values()) == {"leaf01-leaf04", "leaf05-leaf08"}
    assert found.leaves["gpu005"] == "leaf01-leaf04"
    assert found.switches == (Switch("spine1", ("leaf01-leaf04", "leaf05-leaf08")),)
    assert found.fabrics["gpu001"] == Fabric("infiniband", 4, 400)
    assert found.remarks == ("gpu005 has no cable to leaf01, and others beside it have",)


def test_leaves_that_are_cabled_to_each_other_are_joined_and_others_told() -> None:
    hosts = {"gpu001": ["leaf01"], "gpu002": ["leaf02"], "gpu003": ["leaf03"]}
    found = ibnetdiscover(printed(LEAVES[:3], [("leaf01", "leaf02")], hosts), "ib")
    assert found.switches == (Switch("above-leaf01", ("leaf01", "leaf02")),)
    assert found.remarks == ("no cable joins above-leaf01, leaf03",)


def test_one_switch_has_none_above() -> None:
    found = ibnetdiscover(printed(["sw"], [], {"gpu001": ["sw"], "gpu002": ["sw"]}), "ib")
    assert (dict(found.leaves), found.switches) == ({"gpu001": "sw", "gpu002": "sw"}, ())


def test_switches_without_a_name_of_their_own_are_called_by_their_guid_or_their_part() -> None:
    text = printed(["a", "b"], [("a", "b")], {"gpu001": ["a"], "gpu002": ["b"]})
    unnamed = text.replace("MF0;a:MQM9700/U1", "Quantum Mellanox Technologies")
    assert ibnetdiscover(unnamed, "ib").leaves["gpu001"] == "S-900a840300000001"
    chassis = text.replace("MF0;a:MQM9700/U1", "MF0;dir:CS7500/L01/U1").replace(
        "MF0;b:MQM9700/U1", "MF0;dir:CS7500/L02/U1"
    )
    assert ibnetdiscover(chassis, "ib").leaves == {"gpu001": "dir-L01-U1", "gpu002": "dir-L02-U1"}


def test_cables_and_hosts_make_an_inventory_together() -> None:
    cables = [(leaf, "spine1") for leaf in LEAVES]
    hosts = {host: [LEAVES[index // 4]] for index, host in enumerate(HOSTS)}
    hosts["storage1"] = ["leaf08"]
    found = made(hosts_of(40), printed([*LEAVES, "spine1"], cables, hosts))
    assert found.inventory.leaves["leaf02"] == ("gpu005", "gpu006", "gpu007", "gpu008")
    assert found.inventory.switches == (Switch("spine1", tuple(LEAVES)),)
    assert found.remarks == ("at no switch: gpu[033-040]",)
    assert [outlier.what for outlier in found.outliers] == []
    assert {type.fabric for type in found.inventory.types.values()} == {Fabric("infiniband", 1, 400), None}


def test_an_inventory_is_given_switches_and_keeps_its_types() -> None:
    alpha = (HERE / "alpha.yaml").read_text()
    found = made(
        alpha, printed(["sw1", "sw2"], [("sw1", "sw2")], {"gpu001": ["sw1"], "mig1": ["sw2"], "x": ["sw2"]})
    )
    assert list(found.inventory.types) == ["dgx-h100", "a100-mig", "gb200", "cpu"]
    assert found.inventory.leaves == {"sw1": ("gpu001",), "sw2": ("mig1",)}
    assert found.inventory.switches == (Switch("above-sw1", ("sw1", "sw2")),)
    assert found.inventory.blocks["b2"][-1] == "nvl36"
    assert len(found.inventory.hosts) == 113


# --- all ------------------------------------------------------------------------------------------
def test_hosts_that_two_sources_have_are_told() -> None:
    assert mistakes(hosts_of(2), SLURMD.format("gpu002", 1000)) == ["gpu002: was found more than once"]


def test_the_mistakes_of_all_sources_are_told_at_once() -> None:
    assert mistakes("host,x\nn1,2", SLURMD.format("n1", "x"), "??") == [
        "f1:1: no column sockets",
        "f1:1: no column cores_per_socket",
        "f1:1: no column memory",
        "f2:1: not a line of slurmd -C (NodeName=... RealMemory=...)",
        "f3: is of no known form (name it with --format: csv, scontrol, slurmd, ansible, ibnetdiscover,"
        " inventory)",
    ]


def test_sources_that_do_not_fit_together_are_told() -> None:
    cables = printed(["sw"], [], {"gpu001": ["sw"]})
    assert mistakes(cables)[0].startswith(
        "import: ibnetdiscover says how hosts are wired, and not what they are"
    )
    assert mistakes((HERE / "alpha.yaml").read_text(), hosts_of(2)) == [
        "import: an inventory is given switches, and no more hosts"
    ]
    assert mistakes(hosts_of(2), cables, cables) == [
        "import: 2 answers of ibnetdiscover (one of them, for one fabric)"
    ]
    assert mistakes("host,sockets,cores_per_socket,memory\n") == ["import: no host was found"]


def test_what_is_no_name_is_told() -> None:
    assert mistakes("host,sockets,cores_per_socket,memory,rack\nn1,1,8,1G,row 7") == [
        "import: 'row 7' is no name of a host, a place or an address"
    ]


def test_what_could_not_be_read_again_is_not_written() -> None:
    assert mistakes("host,sockets,cores_per_socket,memory,features\nlocalhost,1,8,1G,\n") == [
        "what was imported:8: nodes: hosts: localhost is no name of a host"
        " (the short name, as hostname -s prints)"
    ]


def fine(form: str, data: bytes) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        assert to_yaml(imported("a", [Source("f", data)], form).inventory)
    except InvalidInput as error:
        problems = error.problems
    else:
        return
    assert problems


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(FORMATS), st.binary(max_size=200))
def test_any_bytes_are_an_inventory_or_mistakes(form: str, data: bytes) -> None:
    fine(form, data)


SAMPLES = {
    "csv": CSV,
    "scontrol": NODE.format("g1", 1),
    "slurmd": SLURMD.format("n1", 1000),
    "ansible": json.dumps({"ansible_facts": facts("n1")}),
    "ibnetdiscover": printed(["a", "b"], [("a", "b")], {"n1": ["a"], "n2": ["b"]}),
    "inventory": (HERE / "alpha.yaml").read_text(),
}


@pytest.mark.parametrize("form", FORMATS)
def test_the_form_of_each_is_told_by_what_it_holds(form: str) -> None:
    assert kind_of(SAMPLES[form], "f") == form


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FORMATS), st.data())
def test_any_change_of_a_good_source_gives_an_inventory_or_mistakes(form: str, data: st.DataObject) -> None:
    text = SAMPLES[form]
    start, cut = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 20))
    put = data.draw(
        st.one_of(st.text(max_size=5), st.sampled_from(["", "\n", "=", ",", '"', "-1", "9" * 5000]))
    )
    fine(form, (text[:start] + put + text[start + cut :]).encode("utf-8", "surrogatepass"))
