"""policy.yaml: read and checked. Its form is in slurm_conf/schemas/policy.schema.json."""

from __future__ import annotations

from collections.abc import Mapping

from hpctools.conf.policy import NORMAL, Daemons, Partition, Policy, Priority
from hpctools.conf.policy_accounts import check_accounts, check_qos, read_accounts, read_qos
from hpctools.conf.policy_daemons import read_daemons
from hpctools.conf.policy_words import check_name, read_seconds, read_settings, read_time
from hpctools.errors import InvalidInput
from hpctools.inventory.reading import Reader
from hpctools.slurm import yaml_text
from hpctools.slurm.yaml_text import Value

POLICY_KEYS = ("slurm", "partitions", "qos", "accounts", "priority", "preempt")
PARTITION_KEYS = tuple(
    (
        "nodes default tier factor max_time default_time max_nodes qos allow_qos allow_accounts preempt grace"
        " settings"
    ).split()
)
PRIORITY_KEYS = ("order", "half_life", "max_age", "favor")
PREEMPT_KEYS = ("by", "exempt")
FACTORS = ("qos", "partition", "fairshare", "age", "size", "assoc")
FAVOR = ("large", "small")
PREEMPT_BY = ("qos", "partition", "off")
PREEMPT_MODES = ("off", "requeue", "cancel", "suspend")
# slurm.conf(5): PriorityTier and PriorityJobFactor.
HIGHEST_TIER = 65533
# Keys of PartitionName that a partition of the policy has by other names.
_ELSEWHERE = {
    "prioritytier": "tier",
    "priorityjobfactor": "factor",
    "priority": "tier and factor",
    "preemptmode": "preempt",
    "gracetime": "grace",
    "nodes": "nodes",
}
# What a partition cannot be called, since it means something else in slurm.conf.
_RESERVED = ("default", "all", "none", "no")


def policy(data: bytes, path: str) -> Policy:
    """The policy in data; path is for messages. Raises InvalidInput with every mistake."""
    reader = Reader()
    root = reader.root(yaml_text.parse(data, path))
    found = _policy(root, reader) if root else None
    if reader.problems or found is None:
        raise InvalidInput(reader.in_order)
    return found


def _policy(root: Value, reader: Reader) -> Policy:
    fields = reader.fields(root, "the policy", POLICY_KEYS, ("slurm", "partitions"))
    qos = tuple(
        read_qos(name, value, reader) for name, value in reader.entries(fields.get("qos"), "qos").items()
    )
    partitions = tuple(
        _partition(name, value, reader)
        for name, value in reader.entries(fields.get("partitions"), "partitions").items()
    )
    # Who names modes of preemption for partitions, or QOS that preempt, need not say it again.
    otherwise = "off"
    if any(one.preempt not in ("", "off") for one in partitions):
        otherwise = "partition"
    elif any(one.preempt for one in qos):
        otherwise = "qos"
    preempt, exempt_s = _preempt(fields.get("preempt"), otherwise, reader)
    accounts, places = read_accounts(fields.get("accounts"), reader)
    made = Policy(
        daemons=read_daemons(fields["slurm"], reader) if "slurm" in fields else Daemons(()),
        partitions=partitions,
        qos=qos,
        accounts=accounts,
        priority=_priority(fields["priority"], reader) if "priority" in fields else Priority(),
        preempt=preempt,
        exempt_s=exempt_s,
    )
    _check(made, fields, reader)
    check_qos(made, reader.entries(fields.get("qos"), "qos"), reader)
    check_accounts(made, places, reader)
    return made


def _check(made: Policy, fields: Mapping[str, Value], reader: Reader) -> None:
    """What no part can know alone: names of QOS, one default partition, preemption that can happen."""
    _check_partitions(made, fields, reader)
    if made.accounts and made.daemons.database is None and "slurm" in fields:
        reader.say(fields["slurm"], "accounts need a database", "slurm: {database: {host: ...}}")
    half_life = reader.entries(fields.get("priority"), "").get("half_life")
    forgets = {key.lower() for key in made.daemons.settings} & {"priorityusageresetperiod"}
    if half_life and not made.priority.half_life_s and not forgets:
        hint = "7-0, or set PriorityUsageResetPeriod in slurm: settings"
        reader.say(half_life, "priority: half_life: use would never be forgotten, which Slurm refuses", hint)
    place = fields.get("preempt") or fields.get("partitions")
    if place and made.preempt == "qos" and not any(qos.preempt for qos in made.qos):
        reader.say(place, "preemption is by qos, and no qos preempts another", "qos: {prod: {preempt: ...}}")
    if place and made.preempt == "partition":
        highest = max((one.tier for one in made.partitions), default=0)
        if not any(one.tier < highest and one.preempt != "off" for one in made.partitions):
            message = "preemption is by partition, and no partition of a lower tier may be preempted"
            reader.say(place, message, "give that partition a lower tier, or leave its preempt: off away")


def _check_partitions(made: Policy, fields: Mapping[str, Value], reader: Reader) -> None:
    entries = reader.entries(fields.get("partitions"), "partitions")
    known_qos = {NORMAL, *(qos.name for qos in made.qos)}
    known_accounts = {"root", *(account.name for account in made.accounts)}
    for partition in made.partitions:
        place, what = entries[partition.name], f"partition {partition.name}"
        for name in sorted({partition.qos, *partition.allow_qos} - {""} - known_qos):
            reader.say(place, f"{what}: no QOS {name}", "add it under qos")
        for name in sorted(set(partition.allow_accounts) - known_accounts):
            reader.say(place, f"{what}: allow_accounts: no account {name}", "add it under accounts")
        if made.preempt != "partition" and (partition.grace_s or partition.preempt not in ("", "off")):
            hint = "preempt: partition" if made.preempt == "off" else "set grace and mode of the QOS"
            message = (
                f"{what}: preempt and grace count under preemption by partition, and it is {made.preempt}"
            )
            reader.say(place, message, hint)
    defaults = [partition.name for partition in made.partitions if partition.default]
    for name in defaults[1:]:
        reader.say(entries[name], f"partition {name}: {defaults[0]} is the default already")
    if "partitions" in fields and not entries and fields["partitions"].kind == "map":
        reader.say(fields["partitions"], "there is no partition", "main: {nodes: all, default: true}")


def _partition(name: str, value: Value, reader: Reader) -> Partition:
    what = f"partition {name}"
    check_name(name, value, what, reader)
    if name.lower() in _RESERVED:
        reader.say(value, f"{what}: is a word of slurm.conf", "another name")
    fields = reader.fields(value, what, PARTITION_KEYS, ("nodes",))
    max_time, default_time = (
        read_time(fields.get("max_time"), f"{what}: max_time", reader),
        read_time(fields.get("default_time"), f"{what}: default_time", reader),
    )
    if max_time is not None and default_time is not None and default_time > max_time:
        reader.say(fields["default_time"], f"{what}: default_time is above max_time")
    nodes = reader.texts(fields.get("nodes"), f"{what}: nodes")
    if "nodes" in fields and not any(nodes):
        reader.say(fields["nodes"], f"{what}: nodes: names no node", "all, or names of node types or hosts")
    return Partition(
        name=name,
        nodes=nodes,
        default=reader.flag(fields.get("default"), f"{what}: default"),
        tier=reader.integer(fields.get("tier"), f"{what}: tier", 1, 0, HIGHEST_TIER),
        factor=reader.integer(fields.get("factor"), f"{what}: factor", 1, 0, HIGHEST_TIER),
        max_time_s=max_time,
        default_time_s=default_time,
        max_nodes=reader.integer(fields["max_nodes"], f"{what}: max_nodes", 1, 1)
        if "max_nodes" in fields
        else None,
        qos=reader.text(fields.get("qos"), f"{what}: qos"),
        allow_qos=reader.texts(fields.get("allow_qos"), f"{what}: allow_qos"),
        allow_accounts=reader.texts(fields.get("allow_accounts"), f"{what}: allow_accounts"),
        preempt=_word(fields.get("preempt"), f"{what}: preempt", PREEMPT_MODES, "", reader),
        grace_s=read_seconds(fields.get("grace"), f"{what}: grace", reader),
        settings=read_settings(fields.get("settings"), what, reader, _ELSEWHERE),
    )


def _priority(value: Value, reader: Reader) -> Priority:
    fields = reader.fields(value, "priority", PRIORITY_KEYS)
    default = Priority()
    order = reader.texts(fields.get("order"), "priority: order") if "order" in fields else default.order
    for name in order:
        if name not in FACTORS:
            reader.say(fields["order"], f"priority: order: {name} is none of {', '.join(FACTORS)}")
    if len(set(order)) < len(order):
        reader.say(fields["order"], "priority: order: a factor stands there twice")

    def time(key: str, otherwise: int, least: int) -> int:
        found = read_time(fields.get(key), f"priority: {key}", reader)
        if found is None or found < least:
            if key in fields:
                reader.say(fields[key], f"priority: {key} is no time that ends, of {least} s or more", "7-0")
            return otherwise
        return found

    return Priority(
        order=order,
        half_life_s=time("half_life", default.half_life_s, 0),
        max_age_s=time("max_age", default.max_age_s, 60),
        favor=reader.one_of(fields.get("favor"), "priority: favor", FAVOR, default.favor),
    )


def _preempt(value: Value | None, otherwise: str, reader: Reader) -> tuple[str, int]:
    if value is None:
        return otherwise, 0
    if value.kind != "map":
        return _word(value, "preempt", PREEMPT_BY, "off", reader), 0
    fields = reader.fields(value, "preempt", PREEMPT_KEYS, ("by",))
    return (
        _word(fields.get("by"), "preempt: by", PREEMPT_BY, "off", reader),
        read_seconds(fields.get("exempt"), "preempt: exempt", reader),
    )


def _word(value: Value | None, what: str, choices: tuple[str, ...], default: str, reader: Reader) -> str:
    """One of choices. YAML takes a bare off for false."""
    if value is not None and value.kind == "bool" and value.text.lower() in ("off", "false", "no"):
        return "off"
    return reader.one_of(value, what, choices, default)
