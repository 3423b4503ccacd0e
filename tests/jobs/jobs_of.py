"""Requests and clusters for tests: settings as a user gives them, facts as real clusters told them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from hpctools.jobs import request, resources
from hpctools.jobs.facts import Facts
from hpctools.jobs.request import Request
from hpctools.jobs.resources import Resources
from hpctools.slurm import scontrol, sinfo

# What a real cluster answered once; tests count on its sizes, so it is not recorded anew.
ANSWERS = Path(__file__).parent / "cluster"

# Two kinds of GPU in one partition, nodes without GPUs in another, a partition that is closed.
MIXED_SINFO = """\
gpu*|up|4|128|1000000|gpu:a100:4|2-00:00:00|1:00:00|idle|ib,fast|a[1-4]
gpu*|up|2|64|500000|gpu:v100:8|2-00:00:00|1:00:00|idle|ib|v[1-2]
gpu*|up|1|128|1000000|gpu:a100:4|2-00:00:00|1:00:00|down*|ib,fast|a5
cpu|up|10|32|128000|(null)|infinite|n/a|idle|(null)|c[1-10]
old|up|2|16|64000|gpu:2|1:00:00|n/a|idle|(null)|o[1-2]
"""
_LINE = "PartitionName={} Default={} MaxNodes={} MinNodes={} MaxTime={} State={} AllowAccounts={} TRES=(null)"
MIXED_PARTITIONS = "\n".join(
    _LINE.format(*values)
    for values in (
        ("gpu", "YES", "4", "1", "2-00:00:00", "UP", "ALL"),
        ("cpu", "NO", "UNLIMITED", "2", "UNLIMITED", "UP", "ALL"),
        ("old", "NO", "UNLIMITED", "0", "01:00:00", "INACTIVE", "staff,guests"),
    )
)


def facts(sinfo_text: str, partitions_text: str) -> Facts:
    """A cluster from what two commands printed."""
    partitions = {one.name: one for one in scontrol.parse_partitions(partitions_text)}
    return Facts(MappingProxyType(partitions), sinfo.parse(sinfo_text))


def recorded() -> Facts:
    """A real cluster: 4 nodes of 64 CPUs, 64000 MB and 8 h200 each."""
    return facts((ANSWERS / "sinfo.txt").read_text(), (ANSWERS / "scontrol-partitions.txt").read_text())


def mixed() -> Facts:
    """A cluster with several kinds of nodes."""
    return facts(MIXED_SINFO, MIXED_PARTITIONS)


def ask(
    folder: Path,
    values: Mapping[str, object] | None = None,
    *args: str,
    target: str = "train.py",
    environ: Mapping[str, str] | None = None,
) -> Request:
    """A request for a script in folder, which is made if it is not there."""
    if not Path(folder, target).exists():
        Path(folder, target).write_text("print()\n")
    return request.gather(
        target, args, values or {}, environ=environ or {"HOME": str(folder)}, cwd=str(folder)
    )


def sized(folder: Path, cluster: Facts, **values: object) -> Resources:
    """The resources of a job with these settings on a cluster."""
    asked = ask(folder, values)
    return resources.resolve(asked.spec, asked.site, cluster)
