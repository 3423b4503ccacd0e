"""Values that are words of a list: Slurm stops at others, or says that it ignores them (read_config.c)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from hpctools.conf.candidate import Candidate
from hpctools.conf.finding import Problem
from hpctools.conf.rules import rule
from hpctools.conf.rules.plugins import gone_since
from hpctools.slurm.conf_text import Pair
from hpctools.slurm.releases import at_least
from hpctools.slurm.units import NO, YES


@dataclass(frozen=True)
class _Words:
    """What a key may hold, in Slurm's spelling. since, until: words that not every release knows (from,
    up to). single: one word and no list; exact: upper and lower case matter. fatal: a wrong word ends
    slurmctld; otherwise it is logged and ignored.
    """

    words: frozenset[str]
    since: Mapping[str, str] = field(default_factory=dict)
    until: Mapping[str, str] = field(default_factory=dict)
    single: bool = False
    exact: bool = False
    fatal: bool = True

    def of(self, release: str) -> list[str]:
        """Those that release knows."""
        new = {word for word, since in self.since.items() if not at_least(release, since)}
        old = {word for word, until in self.until.items() if not at_least(until, release)}
        return sorted((self.words | self.since.keys() | self.until.keys()) - new - old)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BOOLEAN = " ".join(sorted(YES | NO))
_DEBUG = _words("quiet fatal error info verbose debug debug2 debug3 debug4 debug5")
_LIMITS = _words("CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS")
_KEYS = {
    "AccountingStorageEnforce": _Words(
        _words("associations limits safe wckeys qos all nojobs nosteps 1 2"),
    ),
    "DebugFlags": _Words(
        _words(
            "Accrue Agent Backfill BackfillMap BurstBuffer Cgroup CPU_Bind CpuFrequency Data DB_Archive "
            "DB_Assoc DB_Event DB_Job DB_QOS DB_Query DB_Reservation DB_Resource DB_Step DB_TRES DB_Usage "
            "DB_WCKey Dependency Elasticsearch Energy Federation Gang Gres Hetjob Interconnect JAG "
            "JobAccountGather JobContainer License MPI Net NetRaw Network NetworkRaw NO_CONF_HASH "
            "NodeFeatures Power PowerSave Priority Profile Protocol Reservation Route Script SelectType "
            "Steps Switch Task TraceJobs Trigger Triggers WorkQ WorkQueue"
        ),
        since={
            "JobComp": "23.02",
            "GLOB_SILENCE": "23.11",
            "Sack": "23.11",
            "AuditRPCs": "24.05",
            "DBD_Agent": "24.05",
            "TLS": "24.05",
            "ConMgr": "24.11",
            "AuditTLS": "25.05",
            "Metrics": "25.11",
            "Namespace": "25.11",
            "thread": "26.05",
            "threads": "26.05",
        },
        until={"ExtSensors": "23.11", "TimeCray": "23.11", "FrontEnd": "24.11"},
    ),
    "EnforcePartLimits": _Words(_words(f"ALL ANY {_BOOLEAN}"), single=True),
    "HealthCheckNodeState": _Words(
        _words("ANY ALLOC CYCLE IDLE MIXED"),
        since={"NONDRAINED_IDLE": "23.02", "START_ONLY": "25.11", "REBOOT_ONLY": "26.05"},
        fatal=False,
    ),
    "PriorityUsageResetPeriod": _Words(_words("NONE NOW DAILY WEEKLY MONTHLY QUARTERLY YEARLY"), single=True),
    "PrologFlags": _Words(
        _words("Alloc Contain DeferBatch NoHold Serial X11"),
        since={"ForceRequeueOnFail": "23.02", "RunInJob": "24.05"},
    ),
    "ReconfigFlags": _Words(
        _words("KeepPartInfo KeepPartState"),
        since={"KeepPowerSaveSettings": "23.02", "KeepNodeStateFuture": "24.11"},
        until={"KeepNodeStateFuture": "24.11"},
        fatal=False,
    ),
    "SelectTypeParameters": _Words(
        _words(
            "CR_Core CR_Core_Memory CR_CPU CR_CPU_Memory CR_Memory CR_Socket CR_Socket_Memory CR_LLN "
            "CR_ONE_TASK_PER_CORE CR_CORE_DEFAULT_DIST_BLOCK CR_PACK_NODES"
        ),
        since={
            "LL_SHARED_GRES": "23.11",
            "MULTIPLE_SHARING_GRES_PJ": "23.11",
            "ENFORCE_BINDING_GRES": "23.11",
            "ONE_TASK_PER_SHARING_GRES": "23.11",
            "CR_NO_DIST_TOPO_BLOCK": "26.05",
        },
        until={"CR_ALLOCATE_FULL_SOCKET": "22.05", "OTHER_CONS_RES": "23.02", "OTHER_CONS_TRES": "23.11"},
    ),
    "SlurmctldDebug": _Words(_DEBUG, single=True),
    "SlurmctldSyslogDebug": _Words(_DEBUG, single=True),
    "SlurmdDebug": _Words(_DEBUG, single=True),
    "SlurmdSyslogDebug": _Words(_DEBUG, single=True),
    "TaskPluginParam": _Words(
        _words(
            "none sockets cores threads verbose SlurmdOffSpec autobind=none autobind=threads autobind=cores "
            "autobind=sockets"
        ),
        since={"OOMKillStep": "24.11", "SlurmdSpecOverride": "25.05"},
    ),
    "PropagateResourceLimits": _Words(_LIMITS, exact=True),
    "PropagateResourceLimitsExcept": _Words(_LIMITS, exact=True),
}


@rule("unknown-word", "fatal")
def unknown_word(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    for key, allowed in _KEYS.items():
        pair = slurm.get(key) if slurm else None
        if pair:
            yield from _wrong(pair, allowed, candidate.release)
    pair = slurm.get("BcastExclude") if slurm else None
    if pair and pair.value.lower() != "none":
        for word in pair.value.split(","):
            if word and not word.startswith("/"):
                yield Problem(pair, f"{word} in BcastExclude is no path", "each begins with /, or is none")


def _wrong(pair: Pair, allowed: _Words, release: str) -> Iterator[Problem]:
    known = allowed.of(release)
    meant = {word if allowed.exact else word.lower(): word for word in known}
    for word in _split(pair, allowed):
        if (word if allowed.exact else word.lower()) in meant:
            continue
        message = f"{word or 'nothing'} is no word of {pair.key}"
        since = next((since for name, since in allowed.since.items() if name.lower() == word.lower()), "")
        until = next((until for name, until in allowed.until.items() if name.lower() == word.lower()), "")
        if since and not at_least(release, since):
            message += f" before {since}"
        elif until:
            message += f" since {gone_since(until)}"
        lower = {name.lower(): name for name in known}
        near = get_close_matches(word.lower(), lower, n=1, cutoff=0.7)
        hint = f"did you mean {lower[near[0]]}?" if near else ", ".join(known)
        yield Problem(pair, message, hint, severity=None if allowed.fatal else "error")


def _split(pair: Pair, allowed: _Words) -> list[str]:
    text = pair.value
    if allowed.words is _DEBUG and text[:1].isdigit():
        return []
    if allowed.words is _LIMITS:
        # The only words for all of them, and by themselves.
        if text in ("ALL", "NONE"):
            return []
        return [word.removeprefix("RLIMIT_") for word in text.replace(",", " ").split()]
    return [text] if allowed.single else [word for word in text.split(",") if word]
