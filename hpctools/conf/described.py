"""A pending job in a few words, qos=prod,nodes=4,age=2h, read against a policy."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hpctools.conf.policy import NORMAL, Partition, Policy
from hpctools.conf.policy_words import seconds
from hpctools.conf.rendering.members import members
from hpctools.errors import InvalidInput, ParseError, Problem
from hpctools.inventory.model import Inventory
from hpctools.slurm import units

_NICE = 2**31 - 3
_FORMS = {
    "partition": "the name of one",
    "qos": "the name of one",
    "account": "the name of one",
    "user": "the name of one",
    "fairshare": "the FairShare of sshare, from 0 to 1",
    "age": "2h, 3d or 1-12:00:00",
    "nodes": "1 or more",
    "cpus": "1 or more",
    "gpus": "1 or more",
    "nice": "a whole number, perhaps negative",
}


@dataclass(frozen=True)
class Job:
    """A pending job. fairshare: its association's factor, as sshare prints it; cpus: as Slurm counts them
    before it runs. age_s: since it began to wait.
    """

    partition: str
    qos: str
    account: str = ""
    user: str = ""
    fairshare: float = 1.0
    age_s: int = 0
    nodes: int = 1
    cpus: int = 1
    nice: int = 0


def job(text: str, inventory: Inventory, policy: Policy, where: str = "--job") -> Job:
    """The job that KEY=VALUE,KEY=VALUE describes. Raises InvalidInput with every mistake.

    Without partition it is in the default one, without qos in that of its account. gpus stands for as many
    nodes of the partition as hold them, where nodes are not said.
    """
    problems: list[Problem] = []
    given = _given(text, where, problems)

    def read(key: str, parse: Callable[[str], int], default: int) -> int:
        try:
            return parse(given[key]) if key in given else default
        except (ParseError, ValueError):
            problems.append(Problem(where, f"{key}={given[key]} cannot be read", _FORMS[key]))
            return default

    partition = _partition(given.get("partition", ""), policy, where, problems)
    account, user = given.get("account", ""), given.get("user", "")
    qos = given.get("qos") or policy.default_qos_of(account, user)
    problems += _rights(account, user, qos, partition, policy, where)
    try:
        fairshare = float(given.get("fairshare", "1"))
        if not 0 <= fairshare <= 1:
            raise ValueError
    except ValueError:
        problems.append(Problem(where, f"fairshare={given['fairshare']} cannot be read", _FORMS["fairshare"]))
        fairshare = 1.0
    nodes, gpus = read("nodes", _count, 0), read("gpus", _count, 0)
    if not nodes and gpus and partition:
        nodes = -(-gpus // max(1, _most_gpus(inventory, policy, partition)))
    nodes = nodes or 1
    made = Job(
        partition=partition.name if partition else "",
        qos=qos,
        account=account,
        user=user,
        fairshare=fairshare,
        age_s=read("age", _age, 0),
        nodes=nodes,
        cpus=read("cpus", _count, nodes),
        nice=read("nice", _nice, 0),
    )
    if problems:
        raise InvalidInput(problems)
    return made


def _given(text: str, where: str, problems: list[Problem]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for word in text.split(","):
        key, equals, value = (part.strip() for part in word.partition("="))
        if not equals or key not in _FORMS or key in found:
            known = ", ".join(_FORMS)
            problems.append(Problem(where, f"{word!r} is no KEY=VALUE of a job", f"known are {known}"))
        found[key] = value
    return found


def _age(text: str) -> int:
    """90s, 5m, 2h, 3d, or a duration of Slurm's with : or -. Raises ParseError."""
    if "-" in text or ":" in text:
        return units.parse_duration_s(text) or 0
    return seconds(text)


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise ParseError("a whole number above 0", text)
    return int(text)


def _nice(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,10}", text) or abs(int(text)) > _NICE:
        raise ParseError("a whole number", text)
    return int(text)


def _partition(name: str, policy: Policy, where: str, problems: list[Problem]) -> Partition | None:
    found = [one for one in policy.partitions if (one.name == name if name else one.default)]
    if not found:
        known = ", ".join(one.name for one in policy.partitions)
        message = f"no partition {name}" if name else "no partition is the default"
        problems.append(Problem(where, message, f"partition={known}"))
        return None
    return found[0]


def _rights(
    account: str, user: str, qos: str, partition: Partition | None, policy: Policy, where: str
) -> list[Problem]:
    """What slurmctld would refuse the job for."""
    found = []
    known = {NORMAL, *(one.name for one in policy.qos)}
    at = next((one for one in policy.accounts if one.name == account), None)
    if qos not in known:
        found.append(Problem(where, f"no QOS {qos}", f"known are {', '.join(sorted(known))}"))
    if account and not at:
        names = ", ".join(one.name for one in policy.accounts)
        found.append(Problem(where, f"no account {account}", f"known are {names}"))
    if user and at and user not in at.users:
        found.append(Problem(where, f"account {account} has no user {user}"))
    if at and qos in known and qos not in policy.qos_of(account, user):
        allowed = ", ".join(policy.qos_of(account, user))
        found.append(Problem(where, f"account {account} may not use QOS {qos}", f"it may use {allowed}"))
    if partition and partition.allow_qos and qos not in partition.allow_qos:
        allowed = ", ".join(partition.allow_qos)
        found.append(Problem(where, f"partition {partition.name} takes no QOS {qos}", f"it takes {allowed}"))
    if partition and partition.allow_accounts and account and account not in partition.allow_accounts:
        allowed = ", ".join(partition.allow_accounts)
        found.append(
            Problem(where, f"partition {partition.name} takes no account {account}", f"it takes {allowed}")
        )
    return found


def _most_gpus(inventory: Inventory, policy: Policy, partition: Partition) -> int:
    """GPUs of the node type of the partition that has most."""
    kinds = members(policy, inventory)[partition.name].kinds
    return max((kind.gpu_count for kind in kinds), default=0)
