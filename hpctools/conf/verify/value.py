"""What verify hands back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from hpctools.conf.finding import Finding

# What may be replaced in a candidate, and what is therefore not verified. Nothing else is.
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "hosts": "that hosts exist and their names resolve, and backup controllers",
        "addresses": "that addresses reach the hosts",
        "ports": "that the ports are free there, and pass firewalls",
        "paths": "that folders and files exist, are shared where they must be, and have the right owners",
        "users": "that SlurmUser and the groups exist, and PAM",
        "authentication": "keys and certificates",
        "devices": "that the device files exist, and what AutoDetect finds",
        "cgroup": "that jobs are tracked and confined by cgroups",
        "prologs": "what prologs, epilogs, health checks and power programs do",
        "spank": "SPANK plugins",
        "job_submit": "what job_submit and cli_filter plugins make of jobs",
        "database": "the database's host, access and contents, and job completion logs elsewhere",
        "hardware": "that nodes have the processors, memory and sensors that are configured",
        "files": "files of plugins that are replaced",
    }
)


@dataclass(frozen=True)
class Replacement:
    """One thing that was put in the place of the candidate's. old is "" where the candidate says nothing,
    new is "" where nothing takes its place."""

    file: str
    line: int
    key: str
    old: str
    new: str
    kind: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.key}: {self.change}"

    @property
    def change(self) -> str:
        return f"{self.old or '(not set)'} -> {self.new or '(left out)'}"


@dataclass(frozen=True)
class NodeCheck:
    """A node whose slurmd was started, for all nodes that are alike.

    alike: how many nodes have this hardware and these GRES. state: Slurm's, in lower case; registered:
    whether slurmd reached slurmctld. gres: configured, gres_found: what slurmd counted, both in
    Slurm's words; gres_ok: at least as many were counted. ok: it registered and may take jobs (or is
    configured not to).
    """

    name: str
    alike: int
    file: str
    line: int
    registered: bool
    state: str
    reason: str
    gres: str
    gres_found: str
    gres_ok: bool
    ok: bool


@dataclass(frozen=True)
class PartitionCheck:
    """A partition as slurmctld has it. state: UP, DOWN, DRAIN, INACTIVE."""

    name: str
    file: str
    line: int
    state: str
    nodes: int
    ok: bool


@dataclass(frozen=True)
class Canary:
    """The job that ran in a partition. state: "ran", "failed" or "not run"; why: of the last two."""

    partition: str
    node: str
    state: str
    why: str = ""


@dataclass(frozen=True)
class Verification:
    """The outcome for one candidate.

    release: the exact one of the daemons, 24.11.5. boots: whether slurmctld came up and stayed up.
    problems: what the daemons said, and checks that failed, at the candidate's own lines. not_verified:
    sentences. timings: seconds by step.
    """

    path: str
    release: str
    boots: bool
    problems: tuple[Finding, ...] = ()
    replacements: tuple[Replacement, ...] = ()
    not_verified: tuple[str, ...] = ()
    nodes: tuple[NodeCheck, ...] = ()
    partitions: tuple[PartitionCheck, ...] = ()
    canaries: tuple[Canary, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether it boots and all checks succeeded. What daemons only log is not a failure."""
        return (
            self.boots
            and not any(problem.severity == "fatal" for problem in self.problems)
            and all(node.ok and node.gres_ok for node in self.nodes)
            and all(partition.ok for partition in self.partitions)
            and not any(canary.state == "failed" for canary in self.canaries)
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "release": self.release,
            "boots": self.boots,
            "passed": self.passed,
            "problems": [problem.as_json() for problem in self.problems],
            "replacements": [asdict(one) for one in self.replacements],
            "not_verified": list(self.not_verified),
            "nodes": [asdict(one) for one in self.nodes],
            "partitions": [asdict(one) for one in self.partitions],
            "canaries": [asdict(one) for one in self.canaries],
            "timings": {name: round(seconds, 3) for name, seconds in self.timings.items()},
        }
