"""The accounts, users and QOS that a new sandbox begins with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hpctools.errors import CommandError
from hpctools.process import Completed

ACCOUNTS = {"research": 60, "product": 40}
QOS = "normal,high,scavenge"


def commands(cluster: str, user: str, users: Sequence[str]) -> list[list[str]]:
    """What sacctmgr is told once, in order: user is the one who runs the sandbox."""
    first, second = users
    told = [
        ["add", "cluster", cluster],
        ["add", "qos", "scavenge", "Priority=0", "GraceTime=60", "PreemptMode=Requeue", "UsageFactor=0.25"],
        ["add", "qos", "high", "Priority=100", "Preempt=normal,scavenge", "GraceTime=30"],
        [
            "modify",
            "qos",
            "where",
            "name=normal",
            "set",
            "Priority=10",
            "GraceTime=60",
            "PreemptMode=Requeue",
        ],
    ]
    for account, share in ACCOUNTS.items():
        told.append(
            [
                "add",
                "account",
                account,
                f"Cluster={cluster}",
                f"FairShare={share}",
                f"QOS={QOS}",
                "DefaultQOS=normal",
            ]
        )
    told += [
        ["add", "user", user, "Account=research,product", "DefaultAccount=research", f"Cluster={cluster}"],
        ["add", "user", first, "Account=research", f"Cluster={cluster}"],
        ["add", "user", second, "Account=product", f"Cluster={cluster}"],
        ["modify", "user", "where", f"name={user}", "set", "AdminLevel=Admin"],
        # root has an association with the account root from the start, without the QOS above.
        ["modify", "account", "where", "name=root", f"cluster={cluster}", "set", f"QOS+={QOS}"],
    ]
    return told


def create(
    sacctmgr: Callable[[Sequence[str]], Completed], cluster: str, user: str, users: Sequence[str]
) -> None:
    """Tell sacctmgr all of it; what is there already stays. Raises CommandError."""
    for words in commands(cluster, user, users):
        done = sacctmgr(["--immediate", *words])
        # "Nothing new added" and "Nothing modified" end with status 1 and say so on stdout.
        if done.status and "othing" not in done.stdout + done.stderr:
            raise CommandError(done.argv, done.status, done.stderr or done.stdout)
