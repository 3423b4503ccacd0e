"""The programs that slurmd runs as root on each node, and what they are told."""

from __future__ import annotations

from hpctools.conf.policy import Policy
from hpctools.conf.rendering import text
from hpctools.conf.rendering.slurm_conf import has_rdma
from hpctools.inventory.model import Inventory

PROGRAMS = ("prolog.sh", "epilog.sh", "health-check.sh")
# Read by the programs.
_LIBRARY = "node-checks.sh"


def scripts(inventory: Inventory, policy: Policy, release: str) -> dict[str, str]:
    """node-checks.conf, which the scripts read line by line and never run, and the scripts as they are."""
    first, last = policy.daemons.ports
    settings = [
        ("memlock", "unlimited" if has_rdma(inventory) else "any"),
        ("ports", f"{first}-{last}"),
        *(("mount", path) for path in policy.daemons.mounts),
    ]
    conf = [text.header(release, "what the checks of a node look at."), _WHERE]
    conf += [f"{key}={value}\n" for key, value in settings]
    folder = text.FOLDER / "scripts"
    found = {name: (folder / name).read_text(encoding="utf-8") for name in (*PROGRAMS, _LIBRARY)}
    return {"node-checks.conf": "".join(conf), **found}


_WHERE = """\
# It lies beside prolog.sh, epilog.sh, health-check.sh and node-checks.sh, on every node, writable by root
# alone; configless mode does not bring it there.
"""
