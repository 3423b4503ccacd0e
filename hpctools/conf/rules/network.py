"""What jobs need of the fabric between nodes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpctools.conf.candidate import Candidate
from hpctools.conf.finding import Problem
from hpctools.conf.rules import rule
from hpctools.conf.rules.amounts import gres
from hpctools.slurm.releases import at_least

_IMEX_SINCE = "24.05"
# GPUs that are built into racks with NVLink between the nodes.
_RACK_SCALE = re.compile(r"gb[23]00", re.IGNORECASE)


@rule("imex-missing", "warning")
def imex_missing(candidate: Candidate) -> Iterator[Problem]:
    """Only with topology/block, by which a site says that its NVLink domains count."""
    slurm = candidate.slurm
    if not slurm or slurm.partial or not at_least(candidate.release, _IMEX_SINCE):
        return
    if "block" not in slurm.value("TopologyPlugin").lower() or "imex" in slurm.value("SwitchType").lower():
        return
    found = next(
        (kind[0] for kind in slurm.kinds for one in gres(kind[0]) if _RACK_SCALE.search(one.type)), None
    )
    if found:
        message = (
            f"{found.name} has GPUs with NVLink between nodes, and SwitchType is not switch/nvidia_imex: "
            f"jobs get no IMEX channel"
        )
        yield Problem(
            slurm.get("SwitchType") or found.where("Gres"), message, "SwitchType=switch/nvidia_imex"
        )
