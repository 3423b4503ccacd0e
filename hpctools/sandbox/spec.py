"""What a sandbox is made of, as its user words it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from hpctools.errors import Problem

NAME = re.compile(r"[a-z][a-z0-9-]{0,15}")
CONF = re.compile(r"[A-Za-z]+\s*[+-]?=.*")
# Keys that keep the sandbox on loopback, in its own folders and apart from other clusters.
OWN_KEYS = frozenset(
    """clustername slurmctldhost slurmctldaddr slurmctldport slurmdport slurmuser slurmduser authtype authinfo
    statesavelocation slurmctldpidfile slurmdpidfile slurmctldlogfile slurmdlogfile slurmdspooldir
    accountingstoragehost accountingstorageport accountingstoragepass accountingstoragetype
    communicationparameters nodename include""".split()
)


@dataclass(frozen=True)
class Spec:
    """A sandbox: its nodes and the knobs of `hpctools sandbox up`.

    conf: lines KEY=VALUE of slurm.conf that win over the generated ones. conf_dir: a folder of
    configuration files laid over the generated ones (see config.overlay). slurm: the release of a
    root folder (24.11), None for the one that is installed here.
    """

    name: str = "default"
    nodes: int = 4
    gpus_per_node: int = 8
    gpu_type: str = "h100"
    cpus_per_node: int = 32
    memory_mb: int = 65536
    conf: tuple[str, ...] = ()
    conf_dir: str | None = None
    accounting: bool = True
    timezone: str | None = None
    proctrack: str = "linuxproc"
    netns: bool = False
    slurm: str | None = None

    @property
    def node_names(self) -> tuple[str, ...]:
        """n1, n2, ...; with cgroups NAME-n1, since Slurm names cgroup folders after the node alone."""
        prefix = f"{self.name}-n" if self.proctrack == "cgroup" else "n"
        return tuple(f"{prefix}{number}" for number in range(1, self.nodes + 1))

    @property
    def reachable(self) -> bool:
        """Whether commands reach it from outside: its release and network are the machine's own."""
        return not self.netns and self.slurm is None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Spec:
        known = {field.name for field in fields(cls)}
        kept = {key: value for key, value in values.items() if key in known}
        return cls(**{**kept, "conf": tuple(kept.get("conf", ()))})


def problems(spec: Spec, *, root: bool) -> list[Problem]:
    """What is wrong with spec, for the superuser (root) or an ordinary user."""
    found = []
    if not NAME.fullmatch(spec.name):
        found.append(
            Problem("--name", f"{spec.name!r} cannot be a name", "up to 16 of a-z, 0-9 and -, a letter first")
        )
    for option, value, low, high in (
        ("--nodes", spec.nodes, 1, 512),
        ("--gpus-per-node", spec.gpus_per_node, 0, 64),
        ("--cpus-per-node", spec.cpus_per_node, 1, 4096),
        ("--memory", spec.memory_mb, 16, 2**40),
    ):
        if not low <= value <= high:
            found.append(Problem(option, f"{value} is out of range", f"{low} to {high}"))
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", spec.gpu_type):
        found.append(
            Problem("--gpu-type", f"{spec.gpu_type!r} cannot be a GRES type", "such as h100, a100, mi300x")
        )
    found += [problem for line in spec.conf for problem in _conf_problems(line)]
    if spec.conf_dir and not Path(spec.conf_dir).is_dir():
        found.append(Problem("--conf-dir", f"{spec.conf_dir} is not a folder"))
    if spec.timezone and not _is_timezone(spec.timezone):
        found.append(
            Problem("--timezone", f"{spec.timezone!r} is not a time zone here", "such as Europe/Berlin, UTC")
        )
    for option, needed in (("--proctrack cgroup", spec.proctrack == "cgroup"), ("--netns", spec.netns)):
        if needed and not root:
            found.append(Problem(option, "needs root", "run as root, or leave it out"))
    return found


def _conf_problems(line: str) -> list[Problem]:
    if "\n" in line or not CONF.fullmatch(line):
        return [Problem("--conf", f"{line!r} is not KEY=VALUE")]
    key = line.partition("=")[0].rstrip("+- ").lower()
    if key in OWN_KEYS:
        return [Problem("--conf", f"{line.partition('=')[0]} is the sandbox's own", "it cannot be changed")]
    return []


def _is_timezone(name: str) -> bool:
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return False
    return True
