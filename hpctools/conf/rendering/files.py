"""All files of a configuration: their texts, and how they are put into a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hpctools import files
from hpctools.conf import accounts
from hpctools.conf.policy import Policy
from hpctools.conf.rendering import check, members, nodes, partitions, scripts, text, topology
from hpctools.conf.rendering.cgroup_conf import cgroup_conf
from hpctools.conf.rendering.gres_conf import gres_conf
from hpctools.conf.rendering.job_container_conf import job_container_conf
from hpctools.conf.rendering.slurm_conf import slurm_conf
from hpctools.conf.rendering.slurmdbd_conf import slurmdbd_conf
from hpctools.errors import InvalidInput, Problem
from hpctools.inventory.model import Inventory

# slurmdbd refuses a file of its own that others can read.
_PRIVATE = frozenset({"slurmdbd.conf"})
# Made for some clusters and releases only, and read wherever they lie.
_OPTIONAL = ("gres.conf", "topology.conf", "topology.yaml", "job_container.conf", "slurmdbd.conf")


def render(inventory: Inventory, policy: Policy, release: str) -> dict[str, str]:
    """The text of every file by its name, in the order in which one reads them.

    release: major.minor, one of hpctools.slurm.releases.RELEASES. The same input gives the same bytes.
    Raises InvalidInput for what the two say together that no configuration can be made of.
    """
    if found := check.problems(inventory, policy, release):
        raise InvalidInput(found)
    parts = members.members(policy, inventory)
    plan = topology.plan(inventory, parts, release)
    texts = {
        "slurm.conf": slurm_conf(inventory, policy, plan, release),
        "nodes.conf": nodes.nodes_conf(inventory, release),
        "partitions.conf": partitions.partitions_conf(policy, parts, plan.of_partition, release),
        "gres.conf": gres_conf(inventory, policy, release),
        "cgroup.conf": cgroup_conf(release),
        "topology.conf": topology.topology_conf(plan, release),
        "topology.yaml": topology.topology_yaml(plan, release),
        "job_container.conf": job_container_conf(policy, release),
        "slurmdbd.conf": slurmdbd_conf(policy, release),
        **accounts.files(inventory, policy, release),
        **scripts.scripts(inventory, policy, release),
    }
    return {name: one for name, one in texts.items() if one}


def mode(name: str) -> int:
    """The permissions that a file needs."""
    if name in _PRIVATE:
        return 0o600
    return 0o755 if name in scripts.PROGRAMS else 0o644


def write(texts: Mapping[str, str], folder: Path) -> list[str]:
    """Write the files into folder, which is made where it is not there; returns their paths.

    A folder whose slurm.conf hpctools made is written over, and files of it that are made no more are
    removed, since Slurm would still read them. Raises InvalidInput for any other that has files of these
    names; nothing is written then.
    """
    there = [name for name in texts if (folder / name).exists()]
    if there and not _made(folder / "slurm.conf"):
        message = "is there, and was not made by hpctools"
        problems = [Problem(str(folder / name), message, "name another folder") for name in there]
        raise InvalidInput(problems)
    folder.mkdir(parents=True, exist_ok=True)
    for name in _OPTIONAL:
        if name not in texts and _made(folder / name):
            (folder / name).unlink()
    for name, one in texts.items():
        files.write(folder / name, one, mode(name))
    return [str(folder / name) for name in texts]


def _made(path: Path) -> bool:
    """Whether path is a file that hpctools made."""
    return path.is_file() and text.MARK.encode() in path.read_bytes()[:512]
