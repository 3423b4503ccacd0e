"""policy.yaml, qos and accounts: what slurmdbd keeps."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hpctools.conf.policy import NORMAL, Account, Policy, Qos, User
from hpctools.conf.policy_words import check_database_name, read_limits, read_seconds
from hpctools.errors import ParseError
from hpctools.inventory.reading import Reader
from hpctools.slurm.yaml_text import Value

# sacctmgr(1): the limits of a QOS, and those of an association.
QOS_LIMITS = frozenset(
    """GrpJobs GrpSubmitJobs GrpTRES GrpTRESMins GrpTRESRunMins GrpWall MaxJobsPerAccount MaxJobsPerUser
    MaxSubmitJobsPerAccount MaxSubmitJobsPerUser MaxTRESMinsPerJob MaxTRESPerAccount MaxTRESPerJob
    MaxTRESPerNode MaxTRESPerUser MaxWall MinPrioThreshold MinTRESPerJob""".split()
)
ASSOCIATION_LIMITS = frozenset(
    """GrpJobs GrpJobsAccrue GrpSubmitJobs GrpTRES GrpTRESMins GrpTRESRunMins GrpWall MaxJobs MaxJobsAccrue
    MaxSubmitJobs MaxTRES MaxTRESMins MaxTRESPerNode MaxWall Priority""".split()
)
# slurmdb_qos_flags_map in src/common/slurmdb_defs.c; Relative came with 23.11.
QOS_FLAGS = tuple(
    """DenyOnLimit EnforceUsageThreshold NoDecay NoReserve OverPartQOS PartitionMaxNodes PartitionMinNodes
    PartitionTimeLimit Relative RequiresReservation UsageFactorSafe""".split()
)
# A QOS without a mode has the cluster's: "off" is that, too, for Slurm (preempt_p_get_mode, preempt_qos.c).
QOS_MODES = ("requeue", "cancel", "suspend")
ADMINS = ("operator", "administrator")
QOS_KEYS = tuple("priority preempt mode grace usage_factor flags".split())
ACCOUNT_KEYS = tuple("fairshare description qos default_qos users accounts".split())
USER_KEYS = ("fairshare", "qos", "admin")
# INFINITE and NO_VAL are above.
HIGHEST_PRIORITY = 2**32 - 3
_SHARES = 2**31 - 1


def read_qos(name: str, value: Value, reader: Reader) -> Qos:
    what = f"qos {name}"
    check_database_name(name, value, what, reader)
    if value.kind == "null":
        return Qos(name)
    fields = reader.fields(value, what, [*QOS_KEYS, *sorted(QOS_LIMITS)])
    flags = reader.texts(fields.get("flags"), f"{what}: flags")
    for flag in flags:
        if flag not in QOS_FLAGS:
            reader.say(fields["flags"], f"{what}: flags: {flag} is none of {', '.join(QOS_FLAGS)}")
    return Qos(
        name=name,
        priority=reader.integer(fields.get("priority"), f"{what}: priority", 0, 0, HIGHEST_PRIORITY),
        preempt=reader.texts(fields.get("preempt"), f"{what}: preempt"),
        mode=reader.one_of(fields.get("mode"), f"{what}: mode", QOS_MODES, ""),
        grace_s=read_seconds(fields.get("grace"), f"{what}: grace", reader),
        usage_factor=reader.parsed(fields.get("usage_factor"), f"{what}: usage_factor", _factor, ""),
        flags=flags,
        limits=read_limits(fields, QOS_LIMITS, what, reader),
    )


def read_accounts(value: Value | None, reader: Reader) -> tuple[tuple[Account, ...], Mapping[str, Value]]:
    """Each account after the one above it, and where each stands."""
    found: dict[str, Account] = {}
    places: dict[str, Value] = {}
    _accounts(value, "", found, places, reader)
    return tuple(found.values()), places


def check_qos(made: Policy, places: Mapping[str, Value], reader: Reader) -> None:
    """What QOS say of each other. places: where each stands."""
    known = {NORMAL, *(qos.name for qos in made.qos)}
    for qos in made.qos:
        place, what = places[qos.name], f"qos {qos.name}"
        for name in sorted(set(qos.preempt) - known):
            reader.say(place, f"{what}: no QOS {name} to preempt", "add it under qos")
        if qos.name in _preempted_by(qos.name, made):
            reader.say(place, f"{what} preempts itself", "slurmdbd refuses such a circle")
        if made.preempt != "qos" and (qos.preempt or qos.mode or qos.grace_s):
            message = f"preempt, mode and grace count under preemption by qos, and it is {made.preempt}"
            reader.say(place, f"{what}: {message}", "preempt: qos")


def check_accounts(made: Policy, places: Mapping[str, Value], reader: Reader) -> None:
    """What accounts say of QOS. places: where each stands."""
    known = {NORMAL, *(qos.name for qos in made.qos)}
    for account in made.accounts:
        place, what = places[account.name], f"account {account.name}"
        named = {*account.qos, account.default_qos}.union(*(user.qos for user in account.users.values()))
        for name in sorted(named - {""} - known):
            reader.say(place, f"{what}: no QOS {name}", "add it under qos")
        for user in ("", *account.users):
            default, allowed = made.default_qos_of(account.name, user), made.qos_of(account.name, user)
            if default not in allowed:
                who = f"{what}: user {user}" if user else what
                message = f"{who}: jobs that name no QOS get {default}, and may use {', '.join(allowed)} only"
                reader.say(place, message, "set default_qos, or add it to qos")
                break


def _preempted_by(name: str, made: Policy) -> set[str]:
    """All QOS that the named one preempts, and those that these preempt, and so on."""
    preempts = {qos.name: qos.preempt for qos in made.qos}
    found: set[str] = set()
    left = [name]
    while left:
        for one in preempts.get(left.pop(), ()):
            if one not in found:
                found.add(one)
                left.append(one)
    return found


def _accounts(
    value: Value | None,
    parent: str,
    found: dict[str, Account],
    places: dict[str, Value],
    reader: Reader,
) -> None:
    for name, below in reader.entries(value, "accounts").items():
        what = f"account {name}"
        if name in found:
            # Not to be read again: aliases of YAML can name one mapping any number of times.
            reader.say(below, f"{what} stands there twice", "a cluster has one of a name")
            continue
        check_database_name(name, below, what, reader)
        if name == "root":
            reader.say(below, f"{what}: is above all accounts already", "another name")
        found[name], places[name] = Account(name, parent=parent), below
        if below.kind == "null":
            continue
        fields = reader.fields(below, what, [*ACCOUNT_KEYS, *sorted(ASSOCIATION_LIMITS)])
        found[name] = Account(
            name=name,
            fairshare=reader.integer(fields.get("fairshare"), f"{what}: fairshare", 1, 0, _SHARES),
            parent=parent,
            description=reader.parsed(fields.get("description"), f"{what}: description", _description, ""),
            qos=reader.texts(fields.get("qos"), f"{what}: qos"),
            default_qos=reader.text(fields.get("default_qos"), f"{what}: default_qos"),
            limits=read_limits(fields, ASSOCIATION_LIMITS, what, reader),
            users=_users(fields.get("users"), what, reader),
        )
        _accounts(fields.get("accounts"), name, found, places, reader)


def _users(value: Value | None, what: str, reader: Reader) -> dict[str, User]:
    """A list of names, or a mapping from names to what is true of them."""
    if value is not None and value.kind == "list":
        for item in value.items:
            check_database_name(item.text, item, f"{what}: user {item.text}", reader)
        return {reader.text(item, f"{what}: users"): User() for item in value.items}
    users = {}
    for name, below in reader.entries(value, f"{what}: users").items():
        one = f"{what}: user {name}"
        check_database_name(name, below, one, reader)
        if below.kind == "null":
            users[name] = User()
            continue
        fields = reader.fields(below, one, [*USER_KEYS, *sorted(ASSOCIATION_LIMITS)])
        users[name] = User(
            fairshare=reader.integer(fields.get("fairshare"), f"{one}: fairshare", 1, 0, _SHARES),
            qos=reader.texts(fields.get("qos"), f"{one}: qos"),
            admin=reader.one_of(fields.get("admin"), f"{one}: admin", ADMINS, ""),
            limits=read_limits(fields, ASSOCIATION_LIMITS, one, reader),
        )
    return users


def _factor(text: str) -> str:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise ParseError("a factor such as 0.25", text)
    return text


def _description(text: str) -> str:
    """Quotes, backslashes and # have a meaning in the files of sacctmgr, and no way around it."""
    if not text.isprintable() or set(text) & set("'\"`\\#") or len(text) > 255:
        raise ParseError("up to 255 characters without quotes, backslashes and #", text)
    return text
