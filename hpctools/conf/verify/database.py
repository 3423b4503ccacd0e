"""The accounting database that stands beside the candidate: with the QOS and accounts its files name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from hpctools.conf.candidate import Conf
from hpctools.conf.verify.ground import Ground
from hpctools.process import Completed

# Where the canary jobs are accounted, unless a partition asks for another account.
ACCOUNT = "hpctools"
# What sacctmgr takes for a name, and not for an option.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*")


@dataclass(frozen=True)
class Contents:
    """The QOS and accounts that partitions name, in their order."""

    cluster: str
    qos: tuple[str, ...]
    accounts: tuple[str, ...]


def contents(slurm: Conf) -> Contents:
    def named(*keys: str) -> tuple[str, ...]:
        words = (
            word.strip().lower()
            for line in slurm.all("PartitionName")
            for key in keys
            for word in (line.value(key) or "").split(",")
        )
        return tuple(dict.fromkeys(word for word in words if _NAME.fullmatch(word) and word != "all"))

    return Contents(
        slurm.value("ClusterName").lower(),
        named("QOS", "AllowQOS", "DenyQOS"),
        named("AllowAccounts", "DenyAccounts"),
    )


def slurm_conf(cluster: str, ground: Ground) -> str:
    """What sacctmgr needs to reach slurmdbd, before there is a slurm.conf that is known to be sound."""
    lines = (
        f"ClusterName={cluster if _NAME.fullmatch(cluster) else 'cluster'}",
        f"SlurmctldHost={ground.host}({ground.address})",
        f"SlurmUser={ground.user}",
        f"AuthInfo=socket={ground.munge_socket}",
        "AccountingStorageType=accounting_storage/slurmdbd",
        f"AccountingStorageHost={ground.address}",
        f"AccountingStoragePort={ground.ports['slurmdbd']}",
        f"AccountingStoragePass={ground.munge_socket}",
        "NodeName=none",
        "PartitionName=none Nodes=none",
    )
    return "\n".join(lines) + "\n"


def commands(wanted: Contents, user: str) -> Iterator[list[str]]:
    """What sacctmgr is told, in order; nothing for a cluster whose name slurmctld has to refuse."""
    if not _NAME.fullmatch(wanted.cluster):
        return
    cluster = f"Cluster={wanted.cluster}"
    qos = [name for name in wanted.qos if name != "normal"]
    accounts = ",".join([ACCOUNT, *(name for name in wanted.accounts if name not in (ACCOUNT, "root"))])
    yield ["add", "cluster", wanted.cluster]
    if qos:
        yield ["add", "qos", ",".join(qos)]
    yield ["add", "account", accounts, cluster, f"QOS={','.join(['normal', *qos])}"]
    yield ["add", "user", user, f"Account={accounts}", f"DefaultAccount={ACCOUNT}", cluster]


def fill(
    sacctmgr: Callable[[Sequence[str]], Completed], wanted: Contents, user: str
) -> Iterator[tuple[list[str], str]]:
    """Tell sacctmgr all of it; gives what it refused and why."""
    for words in commands(wanted, user):
        done = sacctmgr(["sacctmgr", "--immediate", *words])
        # "Nothing new added" ends with status 1 and is said on stdout.
        if done.status and "othing" not in done.stdout + done.stderr:
            yield words, (done.stderr or done.stdout).strip()
