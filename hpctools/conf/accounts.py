"""Accounts, users and QOS as sacctmgr takes them: a file for `sacctmgr load`, and commands for the rest.

`sacctmgr load` makes clusters, accounts and users, and changes those that are there. It cannot replace a
list of QOS or a default QOS, and though it knows QOS since 25.05, it makes none that preempts another of
the same file, or that an account of the same file names (file_functions.c reads the QOS that are known
once). So QOS come first, as commands.

The commands are lines of sacctmgr's own: `sacctmgr --immediate < accounts.sacctmgr`, or one after the
other as words. No shell is between, and no word holds a blank or a quote. The file has no comments: for
them sacctmgr ends with 1, as it does for "Nothing new added". Both may be used any number of times. What
the policy no longer names stays in the database until somebody removes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hpctools.conf.policy import Account, Limits, Policy, Qos, User
from hpctools.errors import InvalidInput, Problem
from hpctools.inventory.model import Inventory
from hpctools.slurm import tres
from hpctools.slurm.releases import at_least

LOAD, COMMANDS = "accounts.cfg", "accounts.sacctmgr"
# sacctmgr(1) calls it MinPrioThreshold, and sacctmgr takes no more than this of it.
_SHORTER = {"MinPrioThreshold": "MinPrioThresh"}
_HEADER = """\
# Accounts and users of the cluster {cluster}, made from the policy. To put them into the database:
#   sacctmgr --immediate < {commands}
# which makes the QOS first and then loads this file, from the folder that both are in. It adds and
# changes; nothing is removed.
"""


def files(inventory: Inventory, policy: Policy, release: str) -> dict[str, str]:
    """The text of each file by name; {} where the policy names neither accounts nor QOS.

    Raises InvalidInput for what release or the inventory does not have.
    """
    if problems := list(_problems(inventory, policy, release)):
        raise InvalidInput(problems)
    if not (policy.accounts or policy.qos) or policy.daemons.database is None:
        return {}
    found = {}
    lines = list(_qos(policy))
    if policy.accounts:
        found[LOAD] = "\n".join(_load(inventory.cluster, policy)) + "\n"
        lines += [["load", f"file={LOAD}"], *_lists(inventory.cluster, policy)]
    return {**found, COMMANDS: "".join(f"{' '.join(words)}\n" for words in lines)}


def bounded(limit: str) -> str:
    """A limit of TRES as sacctmgr takes it, with its GPUs bounded both by type and in all.

    A job that asks for GPUs of no type is held by the limit on gres/gpu alone (slurm.conf(5),
    AccountingStorageTRES): where only types are named, all together get the sum of these.
    """
    amounts = tres.parse(limit)
    typed = [amount for name, amount in amounts.items() if name.startswith("gres/gpu:")]
    if typed and "gres/gpu" not in amounts:
        amounts["gres/gpu"] = sum(typed)
    return ",".join(f"{name}={amount}" for name, amount in amounts.items())


def _problems(inventory: Inventory, policy: Policy, release: str) -> Iterator[Problem]:
    types = {name for kind in inventory.types.values() for gpus in kind.gpus for name, _ in gpus.gres}
    known = f"known are {', '.join(sorted(types))}" if types else "the inventory has no GPUs"
    for where, limits in _all_limits(policy):
        for key, limit in limits.items():
            for name in tres.parse(limit) if "TRES" in key else ():
                if name.startswith("gres/gpu:") and name.removeprefix("gres/gpu:") not in types:
                    yield Problem(where, f"{key}: there are no GPUs of type {name[9:]}", known)
    for qos in policy.qos:
        if "Relative" in qos.flags and not at_least(release, "23.11"):
            yield Problem(f"qos {qos.name}", f"the flag Relative is new in 23.11, and not in {release}")


def _all_limits(policy: Policy) -> Iterator[tuple[str, Limits]]:
    yield from ((f"qos {qos.name}", qos.limits) for qos in policy.qos)
    for account in policy.accounts:
        yield f"account {account.name}", account.limits
        for name, user in account.users.items():
            yield f"account {account.name}: user {name}", user.limits


def _qos(policy: Policy) -> Iterator[list[str]]:
    """First all of them, then what each is, since one may preempt any other."""
    if policy.qos:
        yield ["add", "qos", ",".join(qos.name for qos in policy.qos)]
    for qos in policy.qos:
        others = [other.name for other in policy.qos if other.name != qos.name]
        yield ["modify", "qos", "where", f"name={qos.name}", "set", *_settings(qos, others)]


def _settings(qos: Qos, others: Sequence[str]) -> list[str]:
    # An empty Preempt= made slurmdbd of before 24.05 see a circle wherever this QOS is preempted
    # (as_mysql_modify_qos sets the bit of QOS 0), so what shall not be preempted is taken away.
    preempt = f"Preempt={','.join(qos.preempt)}" if qos.preempt else f"Preempt-={','.join(others)}"
    return [
        f"Priority={qos.priority}",
        *([preempt] if qos.preempt or others else []),
        f"PreemptMode={qos.mode or 'cluster'}",
        f"GraceTime={qos.grace_s}",
        f"UsageFactor={qos.usage_factor or 1}",
        # -1 takes all away.
        f"Flags={','.join(qos.flags) or -1}",
        *_limits(qos.limits),
    ]


def _limits(limits: Limits) -> list[str]:
    return [f"{_SHORTER.get(key, key)}={_value(key, text)}" for key, text in limits.items() if text]


def _value(key: str, text: str) -> str:
    if "TRES" not in key:
        return text
    return text if key.startswith("Min") else bounded(text)


def _load(cluster: str, policy: Policy) -> Iterator[str]:
    """The lines of the file; every account after its parent."""
    yield _HEADER.format(cluster=cluster, commands=COMMANDS).rstrip("\n")
    yield f"Cluster - '{cluster}'"
    yield "Parent - 'root'"
    yield from map(_account, policy.children(""))
    defaults = _default_accounts(policy)
    for account in policy.accounts:
        children = list(policy.children(account.name))
        if children or account.users:
            yield f"Parent - '{account.name}'"
            yield from map(_account, children)
            for name, user in account.users.items():
                yield _user(name, user, defaults[name])


def _account(account: Account) -> str:
    parts = [
        f"Account - '{account.name}'",
        f"Description='{account.description or account.name}'",
        f"Organization='{account.parent or account.name}'",
        f"Fairshare={account.fairshare}",
        *([f"DefaultQOS='{account.default_qos}'"] if account.default_qos else []),
    ]
    return ":".join([*parts, *_rest(account.limits, account.qos)])


def _user(name: str, user: User, default_account: str) -> str:
    parts = [
        f"User - '{name}'",
        f"DefaultAccount='{default_account}'",
        *([f"AdminLevel='{user.admin.capitalize()}'"] if user.admin else []),
        f"Fairshare={user.fairshare}",
    ]
    return ":".join([*parts, *_rest(user.limits, user.qos)])


def _rest(limits: Limits, qos: tuple[str, ...]) -> Iterator[str]:
    for word in _limits(limits):
        key, _, text = word.partition("=")
        # In quotes, since before 26.05 the colon of gres/gpu:h100 would end the value.
        yield f"{key}='{text}'"
    if qos:
        yield f"QOS='{','.join(qos)}'"


def _default_accounts(policy: Policy) -> dict[str, str]:
    """The account of jobs that name none: the first that lists the user."""
    found: dict[str, str] = {}
    for account in policy.accounts:
        for name in account.users:
            found.setdefault(name, account.name)
    return found


def _lists(cluster: str, policy: Policy) -> Iterator[list[str]]:
    """What load does not change where it is there: lists of QOS, to which it only adds, the default QOS,
    and rights. From the top down, since what is said of an account holds below it, too.
    """
    for account in policy.accounts:
        lists = [f"QOS={','.join(account.qos)}"] if account.qos else []
        lists += [f"DefaultQOS={account.default_qos}"] if account.default_qos else []
        if lists:
            where = ["where", f"name={account.name}", f"cluster={cluster}"]
            yield ["modify", "account", *where, "set", *lists]
        for name, user in account.users.items():
            if user.qos:
                where = ["where", f"name={name}", f"account={account.name}", f"cluster={cluster}"]
                yield ["modify", "user", *where, "set", f"QOS={','.join(user.qos)}"]
            if user.admin:
                yield [
                    "modify",
                    "user",
                    "where",
                    f"name={name}",
                    "set",
                    f"AdminLevel={user.admin.capitalize()}",
                ]
