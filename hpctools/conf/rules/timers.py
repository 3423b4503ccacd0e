"""Times that have to fit each other, and times so short that healthy nodes and jobs suffer."""

from __future__ import annotations

from collections.abc import Iterator

from hpctools.conf.candidate import Candidate
from hpctools.conf.finding import Problem
from hpctools.conf.rules import rule
from hpctools.slurm.releases import at_least

# read_config.h, in seconds.
_MESSAGE_S = 10
_UNKILLABLE_S = 60
_HEALTH_CHECK_S = 60
_RESUME_S = 60
# _validate_and_set_defaults says so above it.
_LONGEST_MESSAGE_S = 100
# Where slurmctld sets the default by MessageTimeout, and complains about less.
_UNKILLABLE_FOLLOWS = "24.05"
_HEALTH_CHECK_TIMES_OUT = "26.05"
# A switch that restarts, or a file system that hangs, takes longer.
_SHORT_SLURMD_S = 60


@rule("unkillable-step-timeout", "error")
def unkillable_step_timeout(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm:
        return
    message_s = slurm.number("MessageTimeout", _MESSAGE_S)
    pair, waited = slurm.get("UnkillableStepTimeout"), slurm.number("UnkillableStepTimeout", _UNKILLABLE_S)
    follows = at_least(candidate.release, _UNKILLABLE_FOLLOWS)
    if message_s is None or waited is None or waited >= 5 * message_s or (follows and not pair):
        return
    place = pair or slurm.get("MessageTimeout")
    if place and (pair or not slurm.partial):
        message = (
            f"UnkillableStepTimeout is {waited} s, less than 5 times MessageTimeout ({message_s} s): "
            f'nodes may be drained with "Kill task failed"'
        )
        yield Problem(
            place, message, f"UnkillableStepTimeout={5 * message_s}", None if follows else "warning"
        )


@rule("health-check-timeout", "error")
def health_check_timeout(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("HealthCheckInterval") if slurm else None
    if not slurm or not pair or not at_least(candidate.release, _HEALTH_CHECK_TIMES_OUT):
        return
    interval = slurm.number("HealthCheckInterval", 0)
    timeout = slurm.number("HealthCheckTimeout", _HEALTH_CHECK_S) or _HEALTH_CHECK_S
    if interval and timeout >= interval:
        message = f"HealthCheckTimeout is {timeout} s, not less than {pair.key}={interval}"
        yield Problem(pair, message, f"HealthCheckTimeout={max(interval // 2, 1)}, or a longer interval")


@rule("health-check-never-runs", "warning")
def health_check_never_runs(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("HealthCheckProgram") if slurm else None
    if (
        not slurm
        or not pair
        or slurm.partial
        or not pair.value
        or slurm.number("HealthCheckInterval", 0) != 0
    ):
        return
    states = slurm.value("HealthCheckNodeState").upper()
    if "START_ONLY" not in states and "REBOOT_ONLY" not in states:
        message = f"{pair.key}={pair.value} is never run: HealthCheckInterval is 0, its default"
        yield Problem(slurm.get("HealthCheckInterval") or pair, message, "HealthCheckInterval=300")


@rule("message-timeout-long", "error")
def message_timeout_long(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("MessageTimeout") if slurm else None
    if slurm and pair and (slurm.number("MessageTimeout", 0) or 0) > _LONGEST_MESSAGE_S:
        message = f"{pair.key}={pair.value} is too high for effective fault tolerance, as slurmctld says"
        yield Problem(
            pair, message, f"at most {_LONGEST_MESSAGE_S}; 10 is the default, 60 is enough for large clusters"
        )


@rule("min-job-age", "error")
def min_job_age(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("MinJobAge") if slurm else None
    age = slurm.number("MinJobAge", 300) if slurm else None
    if pair and age is not None and age < 2:
        message = f"{pair.key}={pair.value} is taken as 2: a job is forgotten 2 s after its end"
        yield Problem(pair, message, "300, the default, so that scontrol and dependencies still find it")


@rule("slurmd-timeout-short", "warning")
def slurmd_timeout_short(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("SlurmdTimeout") if slurm else None
    waited = slurm.number("SlurmdTimeout", 300) if slurm else None
    if pair and waited and waited < _SHORT_SLURMD_S:
        message = (
            f"{pair.key}={waited}: a node that does not answer for {waited} s is down, and its jobs are ended"
        )
        yield Problem(pair, message, "300, the default")


@rule("power-save-off", "warning")
def power_save_off(candidate: Candidate) -> Iterator[Problem]:
    """slurmctld needs all three, and says at most "automatic power save mode disabled"."""
    slurm = candidate.slurm
    if not slurm or slurm.partial:
        return
    keys = ("SuspendProgram", "ResumeProgram")
    missing = [key for key in keys if not slurm.value(key)]
    times = [slurm.get("SuspendTime"), *(one.get("SuspendTime") for one in (*slurm.partitions, *slurm.nodes))]
    time = next((one for one in times if one and one.value.upper() not in ("-1", "NONE", "INFINITE")), None)
    if time and missing:
        message = f"{time.key}={time.value}, but no {' and no '.join(missing)}: nodes are never powered down"
        yield Problem(time, message, f"set {' and '.join(missing)}, or {time.key}=INFINITE")
    elif not time and not missing:
        pair = slurm.get(keys[0]) or slurm
        message = "SuspendProgram and ResumeProgram are set, but no SuspendTime: nodes are never powered down"
        yield Problem(pair, message, "SuspendTime=600, for the cluster, a partition or nodes")


@rule("cloud-without-resume", "error")
def cloud_without_resume(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or slurm.partial or slurm.value("ResumeProgram") or not slurm.get("ClusterName"):
        return
    node = next((one for one in slurm.nodes if one.value("State").upper().startswith("CLOUD")), None)
    if node:
        message = f"{node.name} is State=CLOUD, thus powered down, and no ResumeProgram can power it up"
        yield Problem(node.where("State"), message, "set ResumeProgram, SuspendProgram and SuspendTime")


@rule("resume-timeout-short", "warning")
def resume_timeout_short(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("ResumeProgram") if slurm else None
    if not slurm or not pair or not pair.value or slurm.partial:
        return
    waited = slurm.number("ResumeTimeout", _RESUME_S)
    if (
        waited is not None
        and waited <= _RESUME_S
        and not any(one.get("ResumeTimeout") for one in slurm.partitions)
    ):
        message = (
            f"ResumeTimeout is {waited} s: a node that boots longer is set down, and its job starts again"
        )
        yield Problem(
            slurm.get("ResumeTimeout") or pair, message, "longer than the slowest boot, such as 600"
        )
