"""How long a preempted job may still save, and whether its checkpoint takes longer.

Slurm gives it the GraceTime of its partition (preempt/partition_prio) or of its QOS (preempt/qos; then the
partition's counts for nothing), by default none; slurm.conf(5), sacctmgr(1). Where that is 0 there is still
KillWait between SIGTERM and SIGKILL (slurmd's rpc_terminate_job).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpctools.errors import HpctoolsError, ParseError, Problem
from hpctools.jobs import record, run_folder
from hpctools.jobs.facts import TIMEOUT_S, Facts
from hpctools.jobs.resources import partition_of
from hpctools.jobs.spec import JobSpec
from hpctools.process import Run
from hpctools.slurm import hostlist, sacctmgr, scontrol

# So many of the newest runs of a name are asked for how long their checkpoints took.
RUNS = 5


@dataclass(frozen=True)
class Checkpoint:
    """How long saving takes, in seconds, and who says so."""

    seconds: float
    where: str


@dataclass(frozen=True)
class Grace:
    """The seconds that a job gets when it is preempted, what gives them, and the setting's name."""

    seconds: int
    giver: str
    setting: str = "GraceTime"


def checkpoint(spec: JobSpec) -> Checkpoint | None:
    """As --checkpoint-time says, else as measured in earlier runs of this name; None if nobody knows."""
    given = spec.settings.number("checkpoint-time")
    if given is not None:
        return Checkpoint(given, spec.settings.where("checkpoint-time"))
    for run in _earlier(Path(spec.runs_dir), spec.folder_name):
        found = [run_folder.result(one) for one in run_folder.attempts(run)]
        seconds = [one.checkpoint_s for one in found if one is not None and one.checkpoint_s]
        if seconds:
            return Checkpoint(max(seconds), f"the checkpoint of {run.name}")
    return None


def _earlier(runs_dir: Path, name: str) -> list[Path]:
    """The newest runs of a name: their folders' names tell when they were made."""
    stamp = "YYYYMMDDThhmmssZ-xxxxxx"
    try:
        names = [one for one in os.listdir(runs_dir) if one.startswith(f"{name}-")]
    except OSError:
        return []
    same = [one for one in names if len(one) == len(name) + 1 + len(stamp)]
    return [runs_dir / one for one in sorted(same, reverse=True)[:RUNS]]


def problems(spec: JobSpec, saving: Checkpoint | None, facts: Facts, run: Run) -> tuple[Problem, ...]:
    """The warning that a preempted job could not save in time. Asks Slurm only if saving is known;
    where Slurm does not tell, nothing is claimed.
    """
    partition = partition_of(spec, facts)
    if saving is None or partition is None or partition not in facts.partitions:
        return ()
    environ = record.query_environment()
    try:
        config = scontrol.parse_config(
            run(scontrol.config_command(), env=environ, timeout_s=TIMEOUT_S).check()
        )
        known: Mapping[str, sacctmgr.Qos] = {}
        qos = spec.settings.text("qos") or ""
        if config.get("PreemptType") == "preempt/qos":
            known = sacctmgr.parse_qos(run(sacctmgr.qos_command(), env=environ, timeout_s=TIMEOUT_S).check())
            qos = qos or _default_qos(run, environ)
    except (HpctoolsError, ParseError):
        return ()
    found = grace(config, partition, facts, known, qos)
    return (warning(saving, found),) if found is not None and saving.seconds > found.seconds else ()


def _default_qos(run: Run, environ: Mapping[str, str]) -> str:
    words = sacctmgr.associations_command(record.user_name())
    mine = sacctmgr.parse_associations(run(words, env=environ, timeout_s=TIMEOUT_S).check())
    # Without one, slurmctld takes "normal" (sacctmgr(1), DefaultQOS).
    return next((one.default_qos for one in mine if one.default_qos), "normal")


def grace(
    config: Mapping[str, str], partition: str, facts: Facts, known: Mapping[str, sacctmgr.Qos], qos: str
) -> Grace | None:
    """What a job of this partition and QOS gets; None where nothing preempts it."""
    kind = config.get("PreemptType")
    if kind == "preempt/qos" and qos in known:
        if any(qos in one.preempts for one in known.values()):
            return _given(known[qos].grace_s, f"QOS {qos}", config)
    if kind == "preempt/partition_prio":
        mine = facts.partitions[partition]
        if "OFF" not in mine.preempt_mode and any(
            other.tier > mine.tier and _overlap(other, mine) for other in facts.partitions.values()
        ):
            return _given(mine.grace_time_s, f"partition {partition}", config)
    return None


def _given(grace_s: int, giver: str, config: Mapping[str, str]) -> Grace:
    kill_wait = config.get("KillWait", "").split()[:1]
    if grace_s or not kill_wait or not kill_wait[0].isdecimal():
        return Grace(grace_s, giver)
    return Grace(int(kill_wait[0]), giver, "KillWait; GraceTime is 0")


def _overlap(one: scontrol.Partition, other: scontrol.Partition) -> bool:
    try:
        return bool(set(hostlist.expand(one.node_list)) & set(hostlist.expand(other.node_list)))
    except ParseError:
        return True


def warning(saving: Checkpoint, found: Grace) -> Problem:
    """In words."""
    gives = f"{found.seconds} s ({found.setting})"
    message = f"takes {saving.seconds:.0f} s, but {found.giver} gives a preempted job {gives}"
    hint = "save at short intervals: what was learned since the last checkpoint would be lost"
    return Problem(saving.where, message, hint)
