"""Whether jobs are kept to what they were given: slurm.conf's plugins and cgroup.conf together.

cgroup.conf's Constrain* act only through TaskPlugin=task/cgroup, and that on memory only where Slurm
gives out memory (SelectTypeParameters).
"""

from __future__ import annotations

from collections.abc import Iterator

from hpctools.conf.candidate import Candidate, Conf
from hpctools.conf.finding import Place, Problem
from hpctools.conf.rules import rule
from hpctools.conf.rules.cgroup import is_yes
from hpctools.slurm.releases import at_least

_CONS_TRES_IS_DEFAULT = "23.11"
# _validate_and_set_defaults: cons_tres without SelectTypeParameters is CR_Core_Memory.
_MEMORY_IS_DEFAULT = "24.05"


@rule("gpu-without-task-cgroup", "error")
def gpu_without_task_cgroup(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or not slurm.uses_gpus or _uses_task_cgroup(slurm):
        return
    pair = slurm.get("TaskPlugin")
    if pair or not slurm.partial:
        message = "nodes have GPUs, but TaskPlugin has no task/cgroup: a job can use the GPUs of others"
        hint = "TaskPlugin=task/affinity,task/cgroup, and ConstrainDevices=yes in cgroup.conf"
        yield Problem(pair or slurm, message, hint)


@rule("gpu-not-constrained", "error")
def gpu_not_constrained(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if slurm and slurm.uses_gpus and _uses_task_cgroup(slurm):
        place = _unset(candidate, "ConstrainDevices")
        if place:
            message = "cgroup.conf does not set ConstrainDevices=yes: a job can use the GPUs of others"
            yield Problem(place, message, "ConstrainDevices=yes in cgroup.conf")


@rule("cores-not-constrained", "warning")
def cores_not_constrained(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if slurm and _uses_task_cgroup(slurm):
        place = _unset(candidate, "ConstrainCores")
        if place:
            message = "cgroup.conf does not set ConstrainCores=yes: a job can use the cores of others"
            yield Problem(place, message, "ConstrainCores=yes in cgroup.conf")


@rule("memory-not-constrained", "warning")
def memory_not_constrained(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or not gives_memory(slurm, candidate.release) or not _uses_task_cgroup(slurm):
        return
    if is_yes(candidate.conf("cgroup.conf"), "ConstrainSwapSpace") or _kills_over_memory(slurm):
        return
    place = _unset(candidate, "ConstrainRAMSpace")
    if place:
        message = "cgroup.conf does not set ConstrainRAMSpace=yes: a job can use the memory of others"
        yield Problem(place, message, "ConstrainRAMSpace=yes in cgroup.conf")


@rule("memory-constraint-unused", "warning")
def memory_constraint_unused(candidate: Candidate) -> Iterator[Problem]:
    slurm, cgroup = candidate.slurm, candidate.conf("cgroup.conf")
    if not slurm or not cgroup or slurm.partial or gives_memory(slurm, candidate.release):
        return
    for key in ("ConstrainRAMSpace", "ConstrainSwapSpace"):
        pair = cgroup.get(key)
        if pair and is_yes(cgroup, key):
            message = f"{pair.key}=yes: no job is given memory, so each is held to all of its node's"
            yield Problem(
                pair, message, "a SelectTypeParameters with Memory in slurm.conf, such as CR_Core_Memory"
            )
            return


@rule("memory-limited-twice", "fatal")
def memory_limited_twice(candidate: Candidate) -> Iterator[Problem]:
    """cgroup_memcg_job_confinement: by task/cgroup and ConstrainRAMSpace or ConstrainSwapSpace."""
    slurm, cgroup = candidate.slurm, candidate.conf("cgroup.conf")
    pair = slurm.get("JobAcctGatherParams") if slurm else None
    if not slurm or not cgroup or not pair or not _kills_over_memory(slurm) or not _uses_task_cgroup(slurm):
        return
    keys = [key for key in ("ConstrainRAMSpace", "ConstrainSwapSpace") if is_yes(cgroup, key)]
    if keys:
        message = f"OverMemoryKill, and {keys[0]}=yes in cgroup.conf: slurmctld stops"
        yield Problem(pair, message, "remove OverMemoryKill; cgroups hold jobs to their memory")


@rule("constraint-without-task-cgroup", "warning")
def constraint_without_task_cgroup(candidate: Candidate) -> Iterator[Problem]:
    slurm, cgroup = candidate.slurm, candidate.conf("cgroup.conf")
    if not slurm or not cgroup or slurm.partial or _uses_task_cgroup(slurm):
        return
    keys = ("ConstrainCores", "ConstrainDevices", "ConstrainRAMSpace", "ConstrainSwapSpace")
    on = [key for key in keys if is_yes(cgroup, key)]
    if on:
        verb = "do" if len(on) > 1 else "does"
        message = f"{', '.join(on)} {verb} nothing: TaskPlugin of slurm.conf has no task/cgroup"
        yield Problem(
            cgroup.get(on[0]) or cgroup, message, "TaskPlugin=task/affinity,task/cgroup in slurm.conf"
        )


@rule("proctrack-not-cgroup", "warning")
def proctrack_not_cgroup(candidate: Candidate) -> Iterator[Problem]:
    """The default is proctrack/cgroup. slurmctld logs an error where PrologFlags has Contain."""
    slurm = candidate.slurm
    pair = slurm.get("ProctrackType") if slurm else None
    if not slurm or not pair or pair.value.lower().removeprefix("proctrack/") not in ("linuxproc", "pgid"):
        return
    flags = {word.lower() for word in slurm.words("PrologFlags")}
    message = f"{pair.value}: processes that leave their parents stay when their job has ended"
    if flags & {"contain", "x11", "runinjob"}:
        message += ", and PrologFlags=Contain does not take in those of pam_slurm_adopt"
        yield Problem(pair, message, "ProctrackType=proctrack/cgroup", "error")
    else:
        yield Problem(pair, message, "ProctrackType=proctrack/cgroup")


@rule("cgroup-not-root", "error")
def cgroup_not_root(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("SlurmdUser") if slurm else None
    if not slurm or not pair or pair.value in ("root", "0"):
        return
    tracked = slurm.value("ProctrackType", "" if slurm.partial else "proctrack/cgroup")
    users = [
        key
        for key, value in (("ProctrackType", tracked), ("TaskPlugin", slurm.value("TaskPlugin")))
        if "cgroup" in value
    ]
    if users:
        message = f"SlurmdUser={pair.value}: the cgroup plugin of {' and '.join(users)} works only as root"
        yield Problem(pair, message, "SlurmdUser=root")


def _uses_task_cgroup(slurm: Conf) -> bool:
    return any(word.lower().removeprefix("task/") == "cgroup" for word in slurm.words("TaskPlugin"))


def gives_memory(slurm: Conf, release: str) -> bool:
    """Whether jobs are given memory, so that it runs out as cores do (SelectTypeParameters)."""
    if slurm.get("SelectTypeParameters"):
        return any("memory" in word.lower() for word in slurm.words("SelectTypeParameters"))
    default = "cons_tres" if at_least(release, _CONS_TRES_IS_DEFAULT) else "linear"
    chosen = slurm.value("SelectType", default)
    return not slurm.partial and "cons_tres" in chosen and at_least(release, _MEMORY_IS_DEFAULT)


def _kills_over_memory(slurm: Conf) -> bool:
    return "overmemorykill" in (word.lower() for word in slurm.words("JobAcctGatherParams"))


def _unset(candidate: Candidate, key: str) -> Place | None:
    """Where to say that cgroup.conf does not set key to yes; None where it does, or is not known."""
    cgroup = candidate.conf("cgroup.conf")
    if cgroup is None:
        slurm = candidate.slurm
        return slurm.get("TaskPlugin") if slurm and candidate.complete else None
    if is_yes(cgroup, key) or (cgroup.partial and not cgroup.get(key)):
        return None
    return cgroup.get(key) or cgroup
