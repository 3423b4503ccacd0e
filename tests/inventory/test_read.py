"""Reading inventory.yaml: what it says, and every mistake with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpctools.errors import InvalidInput, Problem
from hpctools.inventory.model import Fabric, Gpus, Inventory, Switch
from hpctools.inventory.read import inventory as read

HERE = Path(__file__).parent
ALPHA = (HERE / "alpha.yaml").read_text()
# A node type that is right, and hosts of it: what a test puts beside them is what it is about.
RIGHT = """\
cluster: a
node_types:
  t: {sockets: 2, cores_per_socket: 8, memory: 64G%s}
nodes:
  - {hosts: 'n[1-4]', type: t%s}
"""


def alpha() -> Inventory:
    return read(ALPHA.encode(), "alpha.yaml")


def mistakes(text: str | bytes) -> list[str]:
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(InvalidInput) as raised:
        read(data, "i.yaml")
    return [str(problem) for problem in raised.value.problems]


def of_type(text: str) -> list[str]:
    """The mistakes where text stands in a node type."""
    return mistakes(RIGHT % (f", {text}", ""))


def of_group(text: str, more: str = "") -> list[str]:
    return mistakes(RIGHT % ("", f", {text}") + more)


# --- what it says ---------------------------------------------------------------------------------
def test_the_facts_of_a_type_are_read() -> None:
    dgx = alpha().types["dgx-h100"]
    assert (dgx.cores, dgx.cpus, dgx.memory_mb, dgx.tmp_disk_mb) == (112, 224, 2014 * 1024, 28 * 1024**2)
    assert dgx.gpus == (Gpus("h100", 8, 80 * 1024, "", (0, 0, 0, 0, 1, 1, 1, 1), "/dev/nvidia[0-7]"),)
    assert dgx.fabric == Fabric("infiniband", 8, 400)
    assert (dgx.features, dgx.weight) == (("ib", "nvme"), 100)
    assert (dgx.reserved_cores, dgx.reserved_memory_mb) == (4, 32 * 1024)


def test_whole_and_divided_gpus_of_one_model_stand_in_one_host() -> None:
    found = alpha().types["a100-mig"]
    assert [gpus.gres for gpus in found.gpus] == [
        (("a100", 2),),
        (("a100_1g.5gb", 8), ("a100_3g.20gb", 2)),
    ]
    assert found.gpu_count == 4


def test_what_is_left_out_is_the_usual() -> None:
    gb200 = alpha().types["gb200"]
    assert (gb200.boards, gb200.threads_per_core, gb200.numa_nodes, gb200.weight) == (1, 1, 0, None)
    assert (gb200.fabric, gb200.features, gb200.reserved_cores) == (None, (), 0)


def test_hosts_switches_blocks_and_racks_are_shared_out() -> None:
    found = alpha()
    assert len(found.hosts) == 64 + 2 + 36 + 11
    assert found.leaves["leaf02"] == tuple(f"gpu{number:03}" for number in range(9, 17))
    assert len(found.leaves["leaf09"]) == 38
    assert {name: len(hosts) for name, hosts in found.blocks.items()} == {"b1": 18, "b2": 18}
    assert found.groups[0].racks[4] == "r2"
    assert found.groups[3].addresses[-1] == "10.0.0.11"
    assert found.switches == (Switch("spine1", tuple(f"leaf{number:02}" for number in range(1, 10))),)
    assert found.of_type("cpu")[-1] == "login1"


def test_gpus_are_counted_by_type() -> None:
    assert alpha().gpu_types == {"h100": 512, "a100": 8, "gb200": 144}


def test_the_last_switch_may_have_fewer_hosts() -> None:
    found = read((RIGHT % ("", ", switch: 's[1-2]', per_switch: 3")).encode(), "i.yaml")
    assert found.leaves == {"s1": ("n1", "n2", "n3"), "s2": ("n4",)}


def test_one_value_stands_for_a_list_of_one() -> None:
    text = "cluster: a\nnode_types: {t: {sockets: 1, cores_per_socket: 4, memory: 1G, features: x}}\n"
    found = read((text + "nodes: {hosts: n1, type: t}").encode(), "")
    assert (found.types["t"].features, tuple(found.hosts)) == (("x",), ("n1",))


def test_device_files_may_be_a_list() -> None:
    found = read(
        (RIGHT % (", gpus: {type: x, count: 2, files: [/dev/nvidia0, /dev/nvidia1]}", "")).encode(), ""
    )
    assert found.types["t"].gpus[0].files == "/dev/nvidia[0-1]"


# --- mistakes -------------------------------------------------------------------------------------
def test_every_mistake_is_told_with_its_line_and_key_in_the_order_of_the_file() -> None:
    text = """\
cluster: Alpha
node_type: {}
node_types:
  dgx:
    sockets: two
    cores_per_socket: 56
    memory: lots
    gpu: {type: h100, count: 8}
    fabric: {kind: infinband}
    reserved: {cores: 900}
nodes:
  - {hosts: "gpu[01-08]", type: dgz, switch: "leaf[1-3]"}
  - {hosts: "gpu08", type: dgx}
  - {hosts: "gpu[9-", type: dgx, racks: r1}
switches:
  - {name: spine, switches: "leaf[1-4]"}
"""
    assert mistakes(text) == [
        "i.yaml:1: cluster: Alpha is no name of a cluster (small letters, digits, - and _, up to 40)",
        "i.yaml:2: the inventory: no key node_type (did you mean node_types?)",
        "i.yaml:5: node type dgx: sockets: two is no whole number from 1 to 65535",
        "i.yaml:7: node type dgx: memory: lots is not an amount of memory",
        "i.yaml:8: node type dgx: no key gpu (did you mean gpus?)",
        "i.yaml:9: node type dgx: fabric kind: infinband is none of infiniband, roce, efa, slingshot,"
        " ethernet (did you mean infiniband?)",
        "i.yaml:10: node type dgx: 900 of 56 cores are reserved",
        "i.yaml:12: nodes: type: there is no node type dgz (known are dgx)",
        "i.yaml:12: nodes: 8 hosts do not share 3 evenly (add per_switch)",
        "i.yaml:13: nodes: gpu08 stands in line 12 already",
        "i.yaml:14: nodes: no key racks (did you mean rack?)",
        "i.yaml:14: nodes: hosts: gpu[9- is not a list of node names",
        "i.yaml:14: nodes: hosts: there are none",
        "i.yaml:16: switches: no leaf1 is known (the groups of nodes name leaves)",
        "i.yaml:16: switches: no leaf2 is known (the groups of nodes name leaves)",
        "i.yaml:16: switches: no leaf3 is known (the groups of nodes name leaves)",
        "i.yaml:16: switches: no leaf4 is known (the groups of nodes name leaves)",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["i.yaml:1: is empty"]),
        ("- 1", ["i.yaml:1: is no mapping of keys"]),
        ("cluster: [", ["i.yaml:1: is not YAML"]),
        (
            "cluster: a\ncluster: b",
            [
                "i.yaml:1: the inventory: node_types is missing",
                "i.yaml:1: the inventory: nodes is missing",
                "i.yaml:2: cluster stands here a second time",
            ],
        ),
        (
            "cluster:\nnode_types:\nnodes:\n",
            [
                f"i.yaml:{line}: the inventory: {key} is missing"
                for line, key in enumerate(("cluster", "node_types", "nodes"), 1)
            ],
        ),
        (
            "cluster: a\nnode_types: {}\nnodes: []",
            ["i.yaml:2: node_types: there is none", "i.yaml:3: nodes: there are none"],
        ),
        (
            "cluster: a\nnode_types: {t: }\nnodes:\n- \n",
            [
                "i.yaml:2: node type t is empty",
                "i.yaml:4: nodes: there are none",
                "i.yaml:4: nodes: an item is empty",
            ],
        ),
        (
            "cluster: [a]\nnode_types: t\nnodes: n",
            [
                "i.yaml:1: cluster is a list, and one value is wanted",
                "i.yaml:2: node_types is no mapping of names",
            ],
        ),
    ],
)
def test_a_file_of_another_form_is_told(text: str, said: list[str]) -> None:
    found = mistakes(text)
    for line in said:
        assert any(one.startswith(line) for one in found), (line, found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("boards: 0", "boards: 0 is no whole number from 1 to 65535"),
        ("threads_per_core: 2.0", "threads_per_core: 2.0 is no whole number from 1 to 16"),
        ("boards: 65535", "1048560 hardware threads; Slurm knows 65533"),
        ("weight: 4294967295", "weight: 4294967295 is no whole number from 0 to 4294967294"),
        ("numa_nodes: 3", "16 cores are not shared evenly by 3 NUMA nodes"),
        ("reserved: 4", "reserved is no mapping of names"),
        ("reserved: {cores: 16}", "16 of 16 cores are reserved"),
        ("reserved: {memory: 64G}", "all of its memory is reserved"),
        ("reserved: {memory: 1e9}", "reserved memory: 1e9 is not an amount of memory"),
        ("tmp_disk: 2000000T", "tmp_disk: 2000000T is too much"),
        ("features: [a b]", "features: a b is no feature"),
        ("features: [[a]]", "features is a list, and one value is wanted"),
        ("features: 'a,b'", "features: a,b is no feature"),
        ("fabric: infiniband", "fabric is no mapping of names"),
        ("fabric: {hcas: 8}", "fabric: kind is missing"),
        ("fabric: {kind: roce, rate: 400Gb}", "fabric rate: 400Gb is no number of Gbit/s (400G)"),
        ("gpus: {count: 8}", "gpus: type is missing"),
        ("gpus: {type: h100, count: 0}", "gpus: count: 0 is no whole number from 1 to 64"),
        ("gpus: {type: NVIDIA H100, count: 1}", "gpus: NVIDIA H100 is no type"),
        ("gpus: {type: x, count: 8, numa: [0, 1]}", "gpus: 2 NUMA nodes for 8 GPUs (one for each GPU)"),
        (
            "gpus: {type: x, count: 1, numa: 2}",
            "a GPU at NUMA node 2, but there are 2, counted from 0 (say how many",
        ),
        (
            "numa_nodes: 4, gpus: {type: x, count: 1, numa: 4}",
            "a GPU at NUMA node 4, but there are 4, counted from 0",
        ),
        ("gpus: {type: x, count: 8, files: '/dev/nvidia[0-6]'}", "gpus: 7 device files for 8 GPUs"),
        ("gpus: {type: x, count: 1, files: nvidia0}", "gpus: a device file lies below /dev"),
        ("gpus: {type: x, count: 2, files: [/dev/a, /dev/a]}", "the device file /dev/a stands there twice"),
        (
            "gpus: [{type: x, count: 1, files: /dev/a}, {type: y, count: 1, files: /dev/a}]",
            "the device file /dev/a",
        ),
        (
            "gpus: [{type: x, count: 1, files: /dev/a}, {type: y, count: 1}]",
            "device files for some of its GPUs only",
        ),
        (
            "gpus: [{type: x, count: 1}, {type: x, count: 2}]",
            "GPUs of type x stand there twice (put them together)",
        ),
        ("gpus: {type: x, count: 1, shard: 4, mps: yes}", "a GPU is divided by one of mig, shard and mps"),
        ("gpus: {type: x, count: 1, mps: 100}", "mps: 100 is neither true nor false"),
        ("gpus: {type: x, count: 1, mig: {1g.10gb: 8}}", "mig 1g.10gb: 8 is no whole number from 1 to 7"),
        ("gpus: {type: x, count: 1, mig: {10g: 1}}", "10g is no MIG profile (such as 1g.10gb or 3g.40gb)"),
        (
            "gpus: {type: x, count: 1, mig: {3g.40gb: 2, 2g.20gb: 1}}",
            "8 compute slices of MIG on a GPU that has 7",
        ),
        (
            "gpus: {type: x, count: 1, memory: 40G, mig: {3g.40gb: 2}}",
            "MIG instances of 80G on a GPU that has 40G",
        ),
        ("gpus: {type: x, count: 1, mig: 1g.10gb}", "gpus: mig is no mapping of names"),
    ],
)
def test_a_mistake_in_a_type_is_told(text: str, said: str) -> None:
    assert [one for one in of_type(text) if one.startswith("i.yaml:3: node type t") and said in one], of_type(
        text
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("switch: 's[1-3]', per_switch: 4", "switch: 3 with 4 hosts each, and there are 4 hosts (1 of them)"),
        ("switch: 's[1-2]', per_switch: 1", "switch: 2 with 1 hosts each, and there are 4 hosts (4 of them)"),
        ("per_block: 2", "per_block without block"),
        ("rack: a b", "rack: a b is not a list of node names"),
        ("rack: -a", "rack: -a is no name"),
        ("addresses: 10.0.0.1", "1 addresses for 4 hosts"),
        ("addresses: '10.0.0.[1-3]/24'", "3 addresses for 4 hosts"),
        ("addresses: 'http[1-4]//'", "addresses: http1// is none"),
        ("addresses: [a, b, c, a]", "the address a stands in line 5 already"),
        ("features: [x, ]y", "is not YAML"),
    ],
)
def test_a_mistake_in_a_group_is_told(text: str, said: str) -> None:
    assert [one for one in of_group(text) if one.startswith("i.yaml:5: ") and said in one], of_group(text)


@pytest.mark.parametrize("name", ["localhost", "ALL", "-n", "n-", "n:1", "'n\\x07'", "a" * 65])
def test_what_no_host_is_called_is_told(name: str) -> None:
    text = f'{RIGHT % ("", "")}  - {{hosts: "{name}", type: t}}\n'
    found = mistakes(text)
    assert len(found) == 1
    assert found[0].startswith("i.yaml:6: nodes: hosts: ")
    assert found[0].isprintable()


def test_hosts_that_stand_twice_are_told_in_short() -> None:
    again = "  - {hosts: 'n[2-9]', type: t}\n"
    assert of_group("rack: r", again) == ["i.yaml:6: nodes: n[2-4] stands in line 5 already"]


@pytest.mark.parametrize(
    ("switches", "said"),
    [
        ("[{name: s1, switches: s2}]", "switches: hosts hang on s1, so no switches do"),
        ("[{name: a, switches: 's[1-2]'}, {name: b, switches: s1}]", "switches: s1 hangs on a and on b"),
        ("[{name: a, switches: [s1, s1]}]", "switches: s1 hangs on a and on a"),
        ("[{name: a, switches: b}, {name: b, switches: a}]", "switches: a is above itself"),
        ("[{name: a, switches: s1}, {name: a, switches: s2}]", "switches: a stands in line 6 already"),
        ("[{name: a, switches: s9}]", "switches: no s9 is known"),
        ("[{name: a, switches: ''}]", "switches: none hangs on a"),
        ("[{name: a}]", "switches: switches is missing"),
        ("[{name: a b, switches: s1}]", "switches: a b is no name"),
    ],
)
def test_a_mistake_in_the_switches_is_told(switches: str, said: str) -> None:
    found = of_group("switch: 's[1-2]'", f"switches: {switches}\n")
    assert [one for one in found if one.startswith("i.yaml:6: ") and said in one], found


def test_a_default_that_stands_in_for_a_mistake_makes_no_second_one() -> None:
    text = "sockets: x, gpus: {type: h100, count: x, numa: [0, 0]}, numa_nodes: 8"
    found = mistakes(
        f"cluster: a\nnode_types: {{t: {{cores_per_socket: 8, {text}}}}}\nnodes: {{hosts: n, type: t}}"
    )
    assert len([one for one in found if "memory" in one]) == 1
    assert not [one for one in found if "evenly" in one or "at NUMA node" in one or "NUMA nodes for" in one]


@pytest.mark.parametrize("key", ["sockets", "memory", "weight", "boards"])
def test_a_number_of_thousands_of_digits_is_a_mistake_and_no_crash(key: str) -> None:
    digits = "9" * 5000
    assert max(map(len, of_type(f"{key}2: 1, {key}: {digits}"))) < 300
    assert max(map(len, mistakes(RIGHT % ("", "") + f"  - {{hosts: 'n[1-{digits}]', type: t}}"))) < 300


# --- any bytes ------------------------------------------------------------------------------------
def _fine(data: bytes) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        found = read(data, "i.yaml")
    except InvalidInput as error:
        problems = error.problems
    else:
        assert found.hosts
        return
    assert problems
    assert all(problem.where.startswith("i.yaml:") for problem in problems)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
@example(b"\xff\xfe")
@example(b"cluster: &a [*a]")
@example(b"cluster: a\nnode_types: &t {t: *t}\nnodes: *t")
def test_any_bytes_are_an_inventory_or_mistakes(data: bytes) -> None:
    _fine(data)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, len(ALPHA)),
    st.integers(0, 30),
    st.one_of(
        st.text(max_size=6),
        st.sampled_from(["", "[", "{}", "null", ": ", "\n", "- ", "&x ", "*x", "-1", "[]", '"']),
    ),
)
def test_any_change_of_a_good_file_gives_an_inventory_or_mistakes(start: int, cut: int, put: str) -> None:
    _fine((ALPHA[:start] + put + ALPHA[start + cut :]).encode("utf-8", "surrogatepass"))
