"""Nothing is fatal and nothing an error in what is made, on all releases, at all sizes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hpctools.conf.judge import lint
from hpctools.conf.policy import Policy
from hpctools.conf.rendering import render, write
from hpctools.inventory.model import Inventory
from hpctools.inventory.read import inventory as read_inventory
from hpctools.slurm.releases import RELEASES
from tests.conf.render.clusters import ACCOUNTED, PLAIN, example, homogeneous, mixed, nvl72, policy

CPU_RACK = '  - {hosts: "cpu[1-64]", type: cpu, switch: "leaf[1-2]"}'
FILES = policy(
    "slurm: {controllers: ctl1, autodetect: files}\npartitions: {main: {nodes: all, default: true}}"
)
POLICIES = Path(__file__).parents[3] / "slurm_conf" / "policies"


def ready(path: Path) -> tuple[Inventory, Policy]:
    """A packaged policy on its inventory; without the password's file, which is on one host alone."""
    choices = policy(path.read_text())
    database = replace(choices.daemons.database, secret="") if choices.daemons.database else None
    facts = read_inventory((POLICIES / "inventory.yaml").read_bytes(), "inventory.yaml")
    return facts, replace(choices, daemons=replace(choices.daemons, database=database))


CASES = {
    **{f"homogeneous-{count}": (homogeneous(count), ACCOUNTED) for count in (1, 64, 1000, 10000)},
    **{f"mixed-{count}": (mixed(count), ACCOUNTED) for count in (6, 64, 1000, 10000)},
    "files-64": (homogeneous(64), FILES),
    "no-database-64": (mixed(64), PLAIN),
    "nvl72": (nvl72(8), ACCOUNTED),
    "nvl72-and-cpu": (nvl72(8, CPU_RACK), ACCOUNTED),
    "example": example(),
    **{path.stem: ready(path) for path in sorted(POLICIES.glob("*.yaml")) if path.stem != "inventory"},
}


def wrong(inventory: Inventory, choices: Policy, release: str, folder: Path) -> list[str]:
    write(render(inventory, choices, release), folder)
    return [str(found) for found in lint([str(folder)], release=release) if found.severity != "warning"]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("case", CASES)
def test_lint_has_nothing_against_it(case: str, release: str, tmp_path: Path) -> None:
    assert wrong(*CASES[case], release, tmp_path) == []
