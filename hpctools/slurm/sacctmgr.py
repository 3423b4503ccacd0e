"""sacctmgr: which accounts, partitions and QOS a user may use, and within what limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hpctools.errors import ParseError
from hpctools.slurm import tres, units

# Names and limits are the administrator's and hold no "|".
_FIELDS = (
    "Cluster",
    "Account",
    "User",
    "Partition",
    "QOS",
    "DefaultQOS",
    "GrpTRES",
    "MaxTRES",
    "MaxTRESPerNode",
    "MaxWall",
    "MaxJobs",
    "MaxSubmit",
)


@dataclass(frozen=True)
class Association:
    """A user's right to use one account (in one partition, if that is not empty).

    Limits are those set here; those of the account above and of the QOS count too. None, and an
    empty mapping, is "no limit set". grp_tres is what all jobs of this association may hold at
    once, max_tres what one job may, max_tres_per_node what it may on each node. max_wall_s is in
    seconds; max_submit counts waiting and running jobs, max_jobs running ones.
    """

    cluster: str
    account: str
    user: str
    partition: str
    qos: tuple[str, ...]
    default_qos: str
    grp_tres: Mapping[str, int]
    max_tres: Mapping[str, int]
    max_tres_per_node: Mapping[str, int]
    max_wall_s: int | None
    max_jobs: int | None
    max_submit: int | None


@dataclass(frozen=True)
class Qos:
    """A quality of service: the seconds that its jobs get when they are preempted, and whose jobs it
    preempts."""

    name: str
    grace_s: int
    preempts: tuple[str, ...]


def qos_command() -> list[str]:
    """The words that ask for all QOS."""
    return ["sacctmgr", "--parsable2", "--noheader", "show", "qos", "format=Name,GraceTime,Preempt"]


def parse_qos(text: str) -> dict[str, Qos]:
    """The QOS of an answer to qos_command, by name. Raises ParseError."""
    found = {}
    for line in text.split("\n"):
        if line.strip():
            values = line.split("|")
            if len(values) != 3:
                raise ParseError("a line of sacctmgr", line)
            name, grace, preempts = values
            grace_s = (units.parse_duration_s(grace) if grace else 0) or 0
            found[name] = Qos(name, grace_s, tuple(filter(None, preempts.split(","))))
    return found


def associations_command(user: str, cluster: str | None = None) -> list[str]:
    """The words that ask for a user's associations, of all clusters or one."""
    where = ["where", f"user={user}", *([f"cluster={cluster}"] if cluster else [])]
    return [
        "sacctmgr",
        "--parsable2",
        "--noheader",
        "show",
        "associations",
        *where,
        f"format={','.join(_FIELDS)}",
    ]


def parse_associations(text: str) -> tuple[Association, ...]:
    """The associations of an answer to associations_command. Raises ParseError."""
    return tuple(_association(line) for line in text.split("\n") if line.strip())


def _association(line: str) -> Association:
    values = line.split("|")
    if len(values) != len(_FIELDS):
        raise ParseError("a line of sacctmgr", line)
    cluster, account, user, partition, qos, default_qos, grp, most, per_node, wall, jobs, submit = values
    return Association(
        cluster=cluster,
        account=account,
        user=user,
        partition=partition,
        qos=tuple(filter(None, qos.split(","))),
        default_qos=default_qos,
        grp_tres=MappingProxyType(tres.parse(grp)),
        max_tres=MappingProxyType(tres.parse(most)),
        max_tres_per_node=MappingProxyType(tres.parse(per_node)),
        max_wall_s=units.parse_duration_s(wall) if wall else None,
        max_jobs=units.parse_count(jobs) if jobs else None,
        max_submit=units.parse_count(submit) if submit else None,
    )
