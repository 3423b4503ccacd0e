"""scontrol: what slurmctld says of partitions, nodes, single jobs, itself and its configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hpctools.errors import ParseError
from hpctools.slurm import tres, units

# Patterns are compiled where they are used (re keeps them): a command that needs one of them does not
# wait for the others.
_PAIR = r"(?:^|\s)([A-Z][A-Za-z0-9_/:]*)="
# What stands between a job's name, which may hold anything, and the rest.
_AFTER_NAME = (
    r"(?:\sSLUID=\S+)?(?:\sHetJobIdSet=\S+)?"
    r"\sUserId=[^=]*\([0-9]+\)\sGroupId=[^=]*\([0-9]+\)\sMCS_label=\S*\sPriority=[0-9]+\sNice="
)
_RECORD = r"\s*JobId=[0-9]+ (?:((?:Array|Het)JobId)=([0-9]+) )?"
# What follows a job's paths: fields of Slurm's own.
_AFTER_PATHS = (
    r"\s(?:SegmentSize|Switches|BurstBuffer|Power|Gres|KillO|SpreadJob|ExpeditedRequeue|OOMKill|Cpus|Mem|Tres|"
    r"MailUser|Ntasks|Container|SELinux|ResvPorts|StepMgr)[A-Za-z]*="
)
# Texts of the user's own, in scontrol's order. Each may hold blanks, "=" and newlines.
_TEXTS = (
    "Command",
    "SubmitLine",
    "WorkDir",
    "AdminComment",
    "SystemComment",
    "Comment",
    "Extra",
    "StdErr",
    "StdIn",
    "StdOut",
)
# A node's reason ends with who gave it and when; without that, at the next field.
_REASON = r"\sReason=(?:(.*) \[([^@\[\]]*)@[^\[\]]*\]|(.*?)(?=\s+[A-Z][A-Za-z]*=|\s*$))"
_CONTROLLER = r"Slurmctld\(([^)]*)\) at (\S+) is (UP|DOWN)"
_SETTING = r"(\S(?:.*?\S)?)\s*= ?(.*)"


@dataclass(frozen=True)
class Partition:
    """A partition's limits; None where there is none. Times are seconds.

    allow_accounts, deny_accounts, allow_qos, deny_qos, allow_groups: empty means that none is
    named, so everyone may. other holds every field of scontrol's by its name.
    """

    name: str
    is_default: bool
    state: str
    tier: int
    min_nodes: int
    max_nodes: int | None
    max_time_s: int | None
    default_time_s: int | None
    grace_time_s: int
    preempt_mode: str
    allow_accounts: tuple[str, ...]
    deny_accounts: tuple[str, ...]
    allow_qos: tuple[str, ...]
    deny_qos: tuple[str, ...]
    allow_groups: tuple[str, ...]
    qos: str | None
    nodes: int
    node_list: str
    cpus: int
    tres: Mapping[str, int]
    other: Mapping[str, str]


@dataclass(frozen=True)
class Node:
    """A node. state is in parts: ("MIXED", "DRAIN"). reason_by is who gave the reason."""

    name: str
    address: str
    hostname: str
    port: int | None
    version: str
    state: tuple[str, ...]
    reason: str
    reason_by: str
    cpus: int
    memory_mb: int
    gres: tuple[tres.Gres, ...]
    partitions: tuple[str, ...]
    boot_s: int | None
    configured: Mapping[str, int]
    allocated: Mapping[str, int]
    other: Mapping[str, str]


@dataclass(frozen=True)
class Controller:
    """One slurmctld as scontrol ping sees it: role "primary", "backup" or "backup1"."""

    role: str
    host: str
    up: bool


def partitions_command() -> list[str]:
    """The words that ask for all partitions, hidden ones too."""
    return ["scontrol", "--all", "--oneliner", "show", "partitions"]


def job_command(job_id: str) -> list[str]:
    """The words that ask for one job; of an array or heterogeneous job, for each of its jobs.

    To be run with squeue.ENV.
    """
    return ["scontrol", "--oneliner", "show", "job", job_id]


def node_command(name: str | None = None) -> list[str]:
    """The words that ask for one node, or nodes (n[1-4]), or all. Run with squeue.ENV."""
    return ["scontrol", "--oneliner", "show", "nodes", *([name] if name else [])]


def config_command() -> list[str]:
    """The words that ask for the configuration that slurmctld runs with."""
    return ["scontrol", "show", "config"]


def ping_command() -> list[str]:
    """The words that ask which slurmctld answer. Its status is 1 when one is down."""
    return ["scontrol", "ping"]


def parse_partitions(text: str) -> tuple[Partition, ...]:
    """The partitions of an answer to partitions_command. Raises ParseError."""
    return tuple(_partition(_pairs(line)) for line in text.split("\n") if line.startswith("PartitionName="))


def parse_nodes(text: str) -> tuple[Node, ...]:
    """The nodes of an answer to node_command. Raises ParseError."""
    return tuple(_node(line) for line in text.split("\n") if line.startswith("NodeName="))


def parse_jobs(text: str) -> tuple[dict[str, str], ...]:
    """Every field of each job by scontrol's names ("JobState", "StdOut", "CPUs/Task"), from an
    answer to job_command. Raises ParseError.

    A job's name, command, comment and paths may hold newlines, "=" and whole fields of scontrol's;
    they do not change JobState or any other field of Slurm's own.
    """
    first = re.match(_RECORD, text)
    if not first:
        raise ParseError("a job of scontrol", text[:200])
    if first[1] is None:
        return (_job(text),)
    # Only arrays and heterogeneous jobs have several records, and those name what they belong to.
    return tuple(map(_job, re.split(rf"\n(?=JobId=[0-9]+ {first[1]}={first[2]} )", text)))


def parse_job(text: str) -> dict[str, str]:
    """The first job of parse_jobs, for the id of one job or one task. Raises ParseError."""
    return parse_jobs(text)[0]


def parse_config(text: str) -> dict[str, str]:
    """The settings of an answer to config_command, by name; "(null)" and blanks as they are.

    Includes cgroup.conf's and others that follow; of a name that comes twice, the first.
    """
    found: dict[str, str] = {}
    for line in text.split("\n"):
        if match := re.fullmatch(_SETTING, line):
            found.setdefault(match[1], match[2].rstrip())
    if not found:
        raise ParseError("a configuration of scontrol", text[:200])
    return found


def parse_ping(text: str) -> tuple[Controller, ...]:
    """The controllers of an answer to ping_command; empty when none is named."""
    return tuple(Controller(role, host, state == "UP") for role, host, state in re.findall(_CONTROLLER, text))


def _pairs(text: str) -> dict[str, str]:
    """Key=value pairs; values may hold blanks and "=". The first of a key wins."""
    matches = list(re.finditer(_PAIR, text))
    ends = [match.start() for match in matches[1:]] + [len(text)]
    found: dict[str, str] = {}
    for match, end in zip(matches, ends, strict=True):
        found.setdefault(match[1], text[match.end() : end].strip())
    return found


def _job(text: str) -> dict[str, str]:
    head, _, rest = text.partition("JobName=")
    after = re.search(_AFTER_NAME, rest)
    if not after:
        raise ParseError("a job of scontrol", text[:200])
    facts, command, texts = rest[after.start() :].partition(" Command=")
    found = {**_pairs(head), "JobName": rest[: after.start()], **_pairs(facts)}
    return {**found, **_texts(command + texts)} if command else found


def _texts(text: str) -> dict[str, str]:
    """Command and what follows it. The last mention of each name counts, from the end backwards: a
    command's arguments may look like a field, the paths behind them hardly do.
    """
    found: dict[str, str] = {}
    for name in reversed(_TEXTS):
        before, mark, value = text.rpartition(f" {name}=")
        if mark:
            found = {name: value.strip(" \n" if name == _TEXTS[-1] else " "), **found}
            text = before
    last = found.get("StdOut", "")
    if match := re.search(_AFTER_PATHS, last):
        found = {**found, "StdOut": last[: match.start()], **_pairs(last[match.start() :])}
    return found


def _partition(value: Mapping[str, str]) -> Partition:
    default_time = value.get("DefaultTime", "NONE")
    return Partition(
        name=value["PartitionName"],
        is_default=value.get("Default") == "YES",
        state=value.get("State", ""),
        tier=_number(value, "PriorityTier"),
        min_nodes=_number(value, "MinNodes"),
        max_nodes=None if value.get("MaxNodes", "UNLIMITED") == "UNLIMITED" else _number(value, "MaxNodes"),
        max_time_s=units.parse_duration_s(value.get("MaxTime", "UNLIMITED")),
        default_time_s=None if default_time == "NONE" else units.parse_duration_s(default_time),
        grace_time_s=_number(value, "GraceTime"),
        preempt_mode=value.get("PreemptMode", ""),
        allow_accounts=_names(value, "AllowAccounts"),
        deny_accounts=_names(value, "DenyAccounts"),
        allow_qos=_names(value, "AllowQos"),
        deny_qos=_names(value, "DenyQos"),
        allow_groups=_names(value, "AllowGroups"),
        qos=None if value.get("QoS", "N/A") == "N/A" else value["QoS"],
        nodes=_number(value, "TotalNodes"),
        node_list=_given(value.get("Nodes", "")),
        cpus=_number(value, "TotalCPUs"),
        tres=MappingProxyType(tres.parse(value.get("TRES", ""))),
        other=MappingProxyType(dict(value)),
    )


def _node(line: str) -> Node:
    reason = re.search(_REASON, line)
    value = _pairs(line[: reason.start()] + line[reason.end() :] if reason else line)
    return Node(
        name=value["NodeName"],
        address=value.get("NodeAddr", value["NodeName"]),
        hostname=value.get("NodeHostName", value["NodeName"]),
        port=_number(value, "Port") or None,
        version=value.get("Version", ""),
        state=tuple(value.get("State", "UNKNOWN").split("+")),
        reason=(reason[1] or reason[3] or "").strip() if reason else "",
        reason_by=(reason[2] or "") if reason else "",
        cpus=_number(value, "CPUTot"),
        memory_mb=_number(value, "RealMemory"),
        gres=tres.parse_gres(value.get("Gres", "")),
        partitions=tuple(filter(None, value.get("Partitions", "").split(","))),
        boot_s=units.parse_time_s(value.get("BootTime", "")),
        configured=MappingProxyType(tres.parse(value.get("CfgTRES", ""))),
        allocated=MappingProxyType(tres.parse(value.get("AllocTRES", ""))),
        other=MappingProxyType(value),
    )


def _names(value: Mapping[str, str], key: str) -> tuple[str, ...]:
    text = value.get(key, "ALL")
    return () if text in ("ALL", "(null)", "") else tuple(text.split(","))


def _number(value: Mapping[str, str], key: str) -> int:
    return units.parse_count(value.get(key, "0"))


def _given(text: str) -> str:
    return "" if text == "(null)" else text
