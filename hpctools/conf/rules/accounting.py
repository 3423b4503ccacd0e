"""Whether what jobs use is measured, kept, and held to limits: slurmdbd and JobAcctGather."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpctools.conf.candidate import Candidate, Conf
from hpctools.conf.finding import Problem
from hpctools.conf.rules import rule
from hpctools.conf.rules.amounts import tracked

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
# What each word of AccountingStorageEnforce stands for (_validate_accounting_storage_enforce).
_LIMITS = frozenset({"limits", "2", "safe", "all"})
_QOS = frozenset({"qos", "all"})


@rule("enforce-without-slurmdbd", "error")
def enforce_without_slurmdbd(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("AccountingStorageEnforce") if slurm else None
    if slurm and pair and not slurm.partial and not slurm.uses_slurmdbd and pair.value not in ("0", ""):
        message = f"{pair.key}={pair.value} needs slurmdbd; without it slurmctld enforces nothing"
        yield Problem(
            pair, message, f"AccountingStorageType=accounting_storage/slurmdbd, or remove {pair.key}"
        )


@rule("qos-limits-not-enforced", "error")
def qos_limits_not_enforced(candidate: Candidate) -> Iterator[Problem]:
    """acct_policy.c looks at no limit without ACCOUNTING_ENFORCE_LIMITS."""
    slurm = candidate.slurm
    if not slurm or slurm.partial or not slurm.uses_slurmdbd or _enforced(slurm) & _LIMITS:
        return
    for partition in slurm.partitions:
        pair = partition.get("QOS")
        if pair:
            message = f"QOS={pair.value} of partition {partition.name}: no limit of a QOS is enforced"
            yield Problem(pair, message, "AccountingStorageEnforce=associations,limits,qos")
            return


@rule("qos-open-to-all", "warning")
def qos_open_to_all(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or slurm.partial or not slurm.uses_slurmdbd or _enforced(slurm) & _QOS:
        return
    preempt, weight = slurm.get("PreemptType"), slurm.get("PriorityWeightQOS")
    hint = "AccountingStorageEnforce=associations,limits,qos"
    if preempt and preempt.value.lower().removeprefix("preempt/") == "qos":
        message = f"{preempt.key}={preempt.value}, and any user may take any QOS: each can push others off"
        yield Problem(preempt, message, hint)
    elif weight and slurm.number(weight.key, 0):
        message = f"{weight.key}={weight.value}, and any user may take any QOS: each can take the highest"
        yield Problem(weight, message, hint)


@rule("accounting-not-stored", "error")
def accounting_not_stored(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("JobAcctGatherType") if slurm else None
    if slurm and pair and _is_set(pair.value) and not slurm.partial and not _is_set(_storage(slurm)):
        message = f"{pair.key}={pair.value} measures jobs, but there is no AccountingStorageType to keep it"
        yield Problem(pair, message, "AccountingStorageType=accounting_storage/slurmdbd")


@rule("usage-not-gathered", "warning")
def usage_not_gathered(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or slurm.partial or not slurm.uses_slurmdbd or _is_set(slurm.value("JobAcctGatherType")):
        return
    place = slurm.get("JobAcctGatherType") or slurm.get("AccountingStorageType") or slurm
    message = "no JobAcctGatherType: sacct has neither memory (MaxRSS) nor CPU time of jobs"
    yield Problem(place, message, "JobAcctGatherType=jobacct_gather/cgroup, or jobacct_gather/linux")


@rule("gpu-usage-not-read", "warning")
def gpu_usage_not_read(candidate: Candidate) -> Iterator[Problem]:
    """gpu_nvidia.c: gpu_p_usage_read and gpu_p_energy_read do nothing."""
    slurm, gres = candidate.slurm, candidate.conf("gres.conf")
    if not slurm or not gres or not slurm.uses_slurmdbd or not _is_set(slurm.value("JobAcctGatherType")):
        return
    known = tracked(slurm)
    if known is None or "gres/gpu" not in known or "disablegpuacct" in _params(slurm):
        return
    pairs = (pair for line in gres.lines if (pair := line.get("AutoDetect")))
    pair = next((pair for pair in pairs if pair.value.lower() == "nvidia"), None)
    if pair:
        message = (
            f"{pair.key}=nvidia reads neither use nor energy of GPUs: gres/gpuutil stays empty for all jobs"
        )
        yield Problem(pair, message, "AutoDetect=nvml where Slurm has it; or take the use from DCGM")


@rule("over-memory-kill-idle", "warning")
def over_memory_kill_idle(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("JobAcctGatherParams") if slurm else None
    if not slurm or not pair or "overmemorykill" not in _params(slurm):
        return
    frequency = slurm.get("JobAcctGatherFrequency")
    if not slurm.partial and not _is_set(slurm.value("JobAcctGatherType")):
        message = "OverMemoryKill acts when jobs are measured, and there is no JobAcctGatherType"
        yield Problem(
            pair, message, "JobAcctGatherType=jobacct_gather/cgroup; or ConstrainRAMSpace=yes instead"
        )
    elif frequency and _task_interval(frequency.value) == "0":
        message = (
            f"OverMemoryKill acts when jobs are measured, and {frequency.key}={frequency.value} stops that"
        )
        yield Problem(
            frequency, message, f"{frequency.key}=30; or ConstrainRAMSpace=yes in cgroup.conf instead"
        )


@rule("energy-not-sampled", "warning")
def energy_not_sampled(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("AcctGatherEnergyType") if slurm else None
    if not slurm or not pair or slurm.partial or not _is_set(pair.value):
        return
    frequency = slurm.get("AcctGatherNodeFreq")
    if slurm.number("AcctGatherNodeFreq", 0) == 0:
        message = f"{pair.key}={pair.value}, but AcctGatherNodeFreq is 0: the energy of nodes is not sampled"
        yield Problem(frequency or pair, message, "AcctGatherNodeFreq=30")
    elif frequency and "rapl" in pair.value.lower() and (slurm.number("AcctGatherNodeFreq", 0) or 0) >= 300:
        message = f"{frequency.key}={frequency.value}: the counters of RAPL overflow in between"
        yield Problem(frequency, message, "less than 300, such as 30")


@rule("slurmdbd-host-local", "error")
def slurmdbd_host_local(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or slurm.partial or not slurm.uses_slurmdbd:
        return
    hosts = [line.pairs[0].value for line in slurm.all("SlurmctldHost") if line.pairs]
    hosts += [slurm.value(key) for key in ("ControlMachine", "BackupController") if slurm.get(key)]
    pair = slurm.get("AccountingStorageHost")
    if len(set(hosts)) > 1 and slurm.value("AccountingStorageHost", "localhost").lower() in _LOCAL:
        says = f"{pair.key}={pair.value}" if pair else "AccountingStorageHost is not set, thus localhost"
        names = " and ".join(re.sub(r"\(.*", "", host) for host in hosts[:2])
        message = f"{says}: of {names} at most one has slurmdbd there"
        yield Problem(
            pair or slurm.get("AccountingStorageType") or slurm, message, "the name of slurmdbd's machine"
        )


def _enforced(slurm: Conf) -> set[str]:
    return {word.lower() for word in slurm.words("AccountingStorageEnforce")}


def _params(slurm: Conf) -> set[str]:
    return {word.lower() for word in slurm.words("JobAcctGatherParams")}


def _storage(slurm: Conf) -> str:
    return slurm.value("AccountingStorageType")


def _is_set(plugin: str) -> bool:
    """Slurm takes a name with "none" in it for none (_validate_and_set_defaults)."""
    return bool(plugin) and "none" not in plugin.lower()


def _task_interval(frequency: str) -> str:
    """The interval of tasks in JobAcctGatherFrequency: "30", or "task=30,energy=60"; "" where none."""
    for word in frequency.split(","):
        name, equals, interval = word.strip().partition("=")
        if not equals or name.lower() == "task":
            return interval if equals else name
    return ""
