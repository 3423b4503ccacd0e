"""Inventories of every kind, for property tests."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from hpctools.inventory.model import Fabric, Gpus, Group, Inventory, NodeType, Switch
from hpctools.inventory.read import FABRICS

words = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,8}", fullmatch=True)
names = st.one_of(words, st.sampled_from(["null", "true", "1e3", "123", "0x10", "no"]))
features = st.lists(names, max_size=3, unique=True).map(tuple)
amounts = st.integers(1, 2**32)
MIGS = ((), (("1g.10gb", 7),), (("1g.10gb", 1), ("3g.30gb", 2)), (("1g.10gb+me", 1), ("4g.40gb", 1)))


@st.composite
def gpus(draw: st.DrawFn, type: str, numa_nodes: int) -> Gpus:
    count = draw(st.integers(1, 16))
    numa = st.lists(st.integers(0, numa_nodes - 1), min_size=count, max_size=count).map(tuple)
    divided = draw(st.sampled_from(["", "mig", "shard", "mps"]))
    return Gpus(
        type=type,
        count=count,
        memory_mb=draw(st.one_of(st.none(), st.integers(80 * 1024, 2**20))),
        model=draw(st.text(max_size=12)),
        numa=draw(st.one_of(st.just(()), numa)),
        mig=draw(st.sampled_from(MIGS)) if divided == "mig" else (),
        shard=draw(st.integers(1, 1024)) if divided == "shard" else 0,
        mps=divided == "mps",
    )


@st.composite
def node_types(draw: st.DrawFn, name: str) -> NodeType:
    sockets, cores, numa = draw(st.integers(1, 8)), draw(st.integers(1, 128)), draw(st.integers(0, 4))
    numa_nodes = numa * sockets if cores % (numa or 1) == 0 else 0
    kinds = draw(st.lists(words, max_size=3, unique=True))
    memory_mb = draw(amounts)
    fabric = st.builds(
        Fabric, st.sampled_from(FABRICS), st.integers(0, 64), st.one_of(st.none(), st.integers(1, 99999))
    )
    # Files are numbered on: each device is one GPU's.
    some: list[Gpus] = []
    with_files = draw(st.booleans())
    for kind in kinds:
        made = draw(gpus(f"g-{kind}", numa_nodes or sockets))
        if with_files:
            low = sum(one.count for one in some)
            span = f"[{low}-{low + made.count - 1}]" if made.count > 1 else f"{low}"
            made = Gpus(**{**vars(made), "files": f"/dev/nvidia{span}"})
        some.append(made)
    return NodeType(
        name=name,
        sockets=sockets,
        cores_per_socket=cores,
        threads_per_core=draw(st.integers(1, 4)),
        memory_mb=memory_mb,
        boards=draw(st.integers(1, 2)),
        tmp_disk_mb=draw(st.one_of(st.just(0), amounts)),
        numa_nodes=numa_nodes,
        gpus=tuple(some),
        fabric=draw(st.one_of(st.none(), fabric)),
        features=draw(features),
        weight=draw(st.one_of(st.none(), st.integers(0, 2**32 - 2))),
        reserved_cores=draw(st.integers(0, sockets * cores - 1)),
        reserved_memory_mb=draw(st.integers(0, memory_mb - 1)),
    )


def places(draw: st.DrawFn, prefix: str, hosts: Sequence[str]) -> tuple[str, ...]:
    """Nothing, or a place for each host: in turn, or in any order."""
    each = draw(st.integers(0, 4))
    if each:
        return tuple(f"{prefix}{index // each}" for index in range(len(hosts)))
    some = st.lists(st.integers(0, 3), min_size=len(hosts), max_size=len(hosts))
    numbers = draw(some)
    return tuple(f"{prefix}{number}" for number in numbers) if draw(st.booleans()) else ()


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    types = {
        name: draw(node_types(name)) for name in draw(st.lists(names, min_size=1, max_size=3, unique=True))
    }
    groups = []
    for number in range(draw(st.integers(1, 3))):
        form = draw(st.sampled_from(["n{}x{}", "g{}-{:03}", "r{}n{}.site", "{}a_{}"]))
        hosts = [
            form.format(number, index)
            for index in draw(st.lists(st.integers(0, 200), min_size=1, max_size=9, unique=True))
        ]
        groups.append(
            Group(
                hosts=tuple(hosts),
                type=draw(st.sampled_from(sorted(types))),
                switches=places(draw, "leaf", hosts),
                blocks=places(draw, "b", hosts),
                racks=places(draw, "rack-", hosts),
                addresses=tuple(f"10.0.{number}.{index}" for index in range(len(hosts)))
                if draw(st.booleans())
                else (),
                features=draw(features),
            )
        )
    leaves = tuple(sorted({switch for group in groups for switch in group.switches}))
    above = draw(st.booleans()) and bool(leaves)
    switches = (Switch("spine", leaves), Switch("core", ("spine",))) if above else ()
    cluster = draw(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,39}", fullmatch=True))
    return Inventory(cluster, types, tuple(groups), switches)
