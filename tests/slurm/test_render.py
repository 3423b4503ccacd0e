"""What is rendered, booted by real daemons, and read back from them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from hpctools import process
from hpctools.conf import load
from hpctools.conf.policy import Policy
from hpctools.conf.rendering import capacity, render, write
from hpctools.conf.verify import run, stages, throwaway
from hpctools.conf.verify.run import verify
from hpctools.errors import NotFound
from hpctools.inventory.model import Inventory, NodeType
from hpctools.sandbox import programs, roots
from hpctools.slurm import scontrol
from hpctools.slurm.scontrol import Node
from tests.conf.render.clusters import ACCOUNTED, PLAIN, example, homogeneous, mixed, nvl72
from tests.conf.render.test_properties import usable
from tests.inventory.strategies import inventories

pytestmark = pytest.mark.native

CPU_RACK = '  - {hosts: "cpu[1-8]", type: cpu, switch: "leaf[1-2]"}'
CASES = {
    "example": example(),
    "1": (homogeneous(1), PLAIN),
    "1000": (homogeneous(1000), ACCOUNTED),
    "mixed": (mixed(64), ACCOUNTED),
    "mixed-10000": (mixed(10000), PLAIN),
    "nvl72": (nvl72(4), PLAIN),
    "nvl72-and-cpu": (nvl72(2, CPU_RACK), PLAIN),
}


@pytest.fixture(params=[None, "24.11", "26.05"], ids=["native", "24.11", "26.05"])
def release(request: pytest.FixtureRequest, slurm_programs: None) -> str:
    """A release whose daemons are here: major.minor."""
    if request.param is None:
        return programs.release(process.run).rpartition(".")[0]
    try:
        roots.existing(request.param)
    except NotFound as error:
        pytest.skip(str(error))
    return str(request.param)


def daemons(release: str) -> str | None:
    """As verify wants it: None for the installed ones."""
    installed = programs.release(process.run).rpartition(".")[0]
    return None if release == installed else release


@pytest.mark.parametrize("case", CASES)
def test_it_boots_and_nodes_register_and_jobs_run_without_an_error(
    case: str, release: str, tmp_path: Path
) -> None:
    write(render(*CASES[case], release), tmp_path)
    found = verify(tmp_path, daemons(release))
    errors = [str(one) for one in found.problems if one.severity != "warning"]
    assert errors == []
    assert found.passed
    assert [node.name for node in found.nodes if not node.ok] == []
    assert {job.state for job in found.canaries} == {"ran"}


def booted(inventory: Inventory, policy: Policy, release: str) -> Mapping[str, Node]:
    """The nodes as slurmctld has them."""
    with (
        tempfile.TemporaryDirectory() as folder,
        throwaway.throwaway(daemons(release), accounting=False) as cluster,
    ):
        write(render(inventory, policy, release), Path(folder))
        (candidate,) = load.candidates([folder], release)
        found = stages.Found()
        ground = run._ground(cluster, release)
        stages.stand(cluster, candidate, ground, found)
        assert stages.boot_alone(cluster, candidate, ground, found) is not None, found.problems
        assert [str(one) for one in found.problems if one.severity != "warning"] == []
        said = cluster.command(scontrol.node_command()).check()
        return {node.name: node for node in scontrol.parse_nodes(said)}


def told(node: Node) -> tuple[int, int, dict[tuple[str, str], int]]:
    return node.cpus, node.memory_mb, {(one.name, one.type): one.count for one in node.gres}


def meant(kind: NodeType) -> tuple[int, int, dict[tuple[str, str], int]]:
    gres = {(one.name, one.type): one.count for one in capacity.gres(kind)}
    return kind.cpus, capacity.real_memory_mb(kind), gres


def test_slurmctld_has_every_node_as_the_inventory_says(release: str) -> None:
    inventory = mixed(600)
    found = booted(inventory, PLAIN, release)
    assert {host: told(node) for host, node in found.items()} == {
        host: meant(kind) for host, kind in inventory.hosts.items()
    }


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(inventory=inventories())
def test_any_valid_inventory_boots_as_it_is(inventory: Inventory, release: str) -> None:
    inventory = usable(inventory)
    assert {host: told(node) for host, node in booted(inventory, PLAIN, release).items()} == {
        host: meant(kind) for host, kind in inventory.hosts.items()
    }
