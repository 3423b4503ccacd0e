"""Any valid inventory: it renders, lint finds nothing fatal, and it says of each host what is so."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hpctools.conf.candidate import Candidate, Record
from hpctools.conf.finding import Finding
from hpctools.conf.judge import judge
from hpctools.conf.load import candidates
from hpctools.conf.policy import Policy
from hpctools.conf.rendering import capacity, render, write
from hpctools.conf.topology import topologies
from hpctools.inventory.model import Inventory
from hpctools.slurm import tres
from hpctools.slurm.releases import RELEASES
from tests.conf.render.clusters import ACCOUNTED, PLAIN
from tests.inventory.strategies import inventories

POLICIES = st.sampled_from([PLAIN, ACCOUNTED])


def usable(inventory: Inventory) -> Inventory:
    """With memory left for jobs, and no larger disk than Slurm can have."""
    types = {
        name: replace(
            kind,
            memory_mb=max(kind.memory_mb, 4096),
            reserved_memory_mb=kind.reserved_memory_mb % 1024,
            tmp_disk_mb=kind.tmp_disk_mb % 2**31,
        )
        for name, kind in inventory.types.items()
    }
    return replace(inventory, types=types)


def rendered(inventory: Inventory, policy: Policy, release: str) -> tuple[Candidate, list[Finding]]:
    with tempfile.TemporaryDirectory() as folder:
        write(render(inventory, policy, release), Path(folder))
        (candidate,) = candidates([folder], release)
        return candidate, judge([candidate])


def geometry(record: Record) -> tuple[int | None, ...]:
    boards = record.number("Boards", 1) or 1
    sockets = record.number("SocketsPerBoard" if record.get("SocketsPerBoard") else "Sockets", 1) or 1
    return boards * sockets, record.number("CoresPerSocket", 1), record.number("ThreadsPerCore", 1)


@settings(max_examples=100, deadline=None)
@given(inventories(), POLICIES, st.sampled_from(RELEASES))
def test_nothing_fatal_is_made_of_a_valid_inventory(
    inventory: Inventory, policy: Policy, release: str
) -> None:
    _, found = rendered(usable(inventory), policy, release)
    assert [str(one) for one in found if one.severity == "fatal"] == []


@settings(max_examples=60, deadline=None)
@given(inventories(), st.sampled_from(RELEASES))
def test_each_host_has_what_the_inventory_says(inventory: Inventory, release: str) -> None:
    inventory = usable(inventory)
    slurm = rendered(inventory, PLAIN, release)[0].slurm
    assert slurm is not None
    assert set(slurm.node_of) == set(inventory.hosts)
    for host, kind in inventory.hosts.items():
        record = slurm.node_of[host]
        assert geometry(record) == (kind.boards * kind.sockets, kind.cores_per_socket, kind.threads_per_core)
        assert record.number("RealMemory", 0) == capacity.real_memory_mb(kind) <= kind.memory_mb
        gpus = [one for one in tres.parse_gres(record.value("Gres")) if one.name == "gpu"]
        wanted = {name: count for gpu in kind.gpus for name, count in gpu.gres}
        assert {one.type: one.count for one in gpus} == wanted


@settings(max_examples=60, deadline=None)
@given(inventories(), st.sampled_from(RELEASES))
def test_every_host_is_somewhere_in_the_default_topology(inventory: Inventory, release: str) -> None:
    inventory = usable(inventory)
    candidate = rendered(inventory, PLAIN, release)[0]
    found = [one for one in topologies(candidate) if one.is_default]
    assume(found and found[0].plugin in ("tree", "block"))
    # All hosts are in one partition, so none may be left to another topology.
    assert found[0].node_names == set(inventory.hosts)
