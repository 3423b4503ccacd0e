"""The state of a job, whoever told it: squeue, scontrol, sacct, or our own record. All pure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hpctools.errors import ParseError
from hpctools.slurm import tres, units
from hpctools.slurm.sacct import AccountedJob
from hpctools.slurm.squeue import QueuedJob

# States in which nothing more happens (src/common/slurm_protocol_defs.c job_state_string; squeue(1)
# JOB STATE CODES). REVOKED: a federation started it on another cluster.
ENDED = frozenset(
    "COMPLETED CANCELLED FAILED TIMEOUT NODE_FAIL PREEMPTED BOOT_FAIL DEADLINE OUT_OF_MEMORY"
    " LAUNCH_FAILED RECONFIG_FAIL REVOKED".split()
)
WAITING = frozenset("PENDING REQUEUED REQUEUE_FED REQUEUE_HOLD SPECIAL_EXIT RESV_DEL_HOLD".split())
# Our own words, for jobs that Slurm does not tell of: run on this machine without Slurm; it cannot be
# told now (Slurm is away, or it went to another cluster); nobody remembers how it ended.
LOCAL, UNKNOWN, FORGOTTEN = "LOCAL", "UNKNOWN", "FORGOTTEN"

# What `wait` ends with for jobs that did not end by themselves. 124 is what timeout(1) ends with.
CANCELLED_STATUS = 128 + 15
TIMEOUT_STATUS = 124
OUT_OF_MEMORY_STATUS = 128 + 9


@dataclass(frozen=True)
class JobState:
    """One job, or one task of an array, or (job_id "12_[4-7%2]") all waiting tasks of an array.

    job_id is the id that people use, slurm_id the number that slurmctld keeps it under. Times are
    seconds since 1970; start_s of a waiting job is the scheduler's forecast. time_limit_s is None
    without a limit, exit_status and exit_signal are None where they are not known (yet).
    source: squeue, scontrol, sacct or record. log may hold sbatch's patterns (%j, %A, %a).
    """

    job_id: str
    slurm_id: str
    name: str
    user: str
    account: str
    partition: str
    qos: str
    state: str
    reason: str
    source: str
    submit_s: int | None
    start_s: int | None
    end_s: int | None
    elapsed_s: int
    time_limit_s: int | None
    nodes: int
    node_list: str
    gpus: int
    restarts: int | None
    dependency: str
    work_dir: str
    log: str | None
    submit_line: str = ""
    array_job_id: str | None = None
    array_task_id: str | None = None
    exit_status: int | None = None
    exit_signal: int | None = None
    error_log: str | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDED or self.state == FORGOTTEN

    @property
    def waiting(self) -> bool:
        """Whether it waits to be started (again)."""
        return self.state in WAITING

    @property
    def time_left_s(self) -> int | None:
        """Seconds until its time limit; None when it does not run or has no limit."""
        if self.state not in ("RUNNING", "SUSPENDED", "CONFIGURING") or self.time_limit_s is None:
            return None
        return max(0, self.time_limit_s - self.elapsed_s)


def queued(job: QueuedJob) -> JobState:
    """What squeue tells."""
    ended = job.state in ENDED
    return JobState(
        job_id=job.label,
        slurm_id=job.job_id,
        name=job.name,
        user=job.user,
        account=job.account,
        partition=job.partition,
        qos=job.qos,
        state=job.state,
        reason="" if job.reason == "None" else job.reason,
        source="squeue",
        submit_s=job.submit_s,
        start_s=job.start_s,
        end_s=job.end_s if ended else None,  # squeue's end of a running job is its time limit's
        elapsed_s=job.elapsed_s,
        time_limit_s=job.time_limit_s,
        nodes=job.nodes,
        node_list=job.node_list,
        gpus=tres.gpu_count(job.tres),
        restarts=job.restarts,
        dependency=job.dependency,
        work_dir=job.work_dir,
        log=_log(job),
        array_job_id=job.array_job_id,
        array_task_id=job.array_task_id,
        exit_status=0 if job.state == "COMPLETED" else None,
        exit_signal=0 if job.state == "COMPLETED" else None,
    )


def _log(job: QueuedJob) -> str | None:
    default = f"{job.work_dir}/slurm-{job.job_id}.out"
    if job.array_job_id is not None and job.stdout == default:
        # 22.05 names the default of a job of no array; sbatch(1) --output names an array's.
        return f"{job.work_dir}/slurm-%A_%a.out"
    # 26.05 gives it as it was given, which may be relative.
    return os.path.join(job.work_dir, job.stdout) if job.stdout else None


def accounted(job: AccountedJob) -> JobState:
    """What accounting tells."""
    ended = job.state in ENDED
    return JobState(
        job_id=job.label if job.het_offset is None else f"{job.label}+{job.het_offset}",
        slurm_id=job.job_id,
        name=job.name,
        user=job.user,
        account=job.account,
        partition=job.partition,
        qos=job.qos,
        state=job.state,
        reason=job.reason,
        source="sacct",
        submit_s=job.submit_s,
        start_s=job.start_s,
        end_s=job.end_s,
        elapsed_s=job.elapsed_s,
        time_limit_s=job.time_limit_s,
        nodes=job.nodes,
        node_list=job.node_list,
        gpus=tres.gpu_count(job.tres or job.asked),
        restarts=job.restarts,
        dependency="",
        work_dir=job.work_dir,
        log=os.path.join(job.work_dir, job.stdout) if job.stdout else None,
        submit_line=job.submit_line,
        array_job_id=job.array_job_id,
        array_task_id=job.array_task_id,
        exit_status=job.exit_status if ended else None,
        exit_signal=job.exit_signal if ended else None,
    )


def detailed(state: JobState, fields: Mapping[str, str]) -> JobState:
    """state with what only `scontrol show job` tells: the exit code, and the logs' real paths."""
    status, _, signal = fields.get("ExitCode", "").partition(":")
    known = state.ended and status.isdecimal() and signal.isdecimal()
    limit = fields.get("TimeLimit", "")
    return replace(
        state,
        exit_status=int(status) if known else state.exit_status,
        exit_signal=int(signal) if known else state.exit_signal,
        log=_path(fields.get("StdOut")) or state.log,
        error_log=_path(fields.get("StdErr")),
        time_limit_s=_limit(limit) if state.time_limit_s is None else state.time_limit_s,
        gpus=state.gpus or _asked_gpus(fields) * state.nodes,
    )


def _asked_gpus(fields: Mapping[str, str]) -> int:
    # Where AccountingStorageTRES does not name gres/gpu, no TRES of a job tells its GPUs.
    try:
        return sum(
            gres.count for gres in tres.parse_gres(fields.get("TresPerNode", "")) if gres.name == "gpu"
        )
    except ParseError:
        return 0


def _path(text: str | None) -> str | None:
    return None if text in (None, "", "(null)") else text


def _limit(text: str) -> int | None:
    return None if text in ("", "Partition_Limit", "N/A", "INVALID") else units.parse_duration_s(text)


def status_of(job: JobState, recorded: int | None) -> int:
    """The exit status of a job that has ended, as `wait` and `submit --follow` give it.

    recorded: the status in the run folder's result.json, which is that of the first rank that
    failed. Slurm has the last word on whether the job failed at all, and on those that it ended.
    """
    if job.state == "COMPLETED":
        return 0
    if job.state == "PREEMPTED" and recorded is not None:
        # 24.05 and newer call it so at its end, too, when it had been preempted and went on from there
        # (GRACE_PREEMPT of job_mgr.c outlives a requeue that was asked for).
        return recorded
    if job.state in ("CANCELLED", "PREEMPTED"):
        return CANCELLED_STATUS
    if job.state in ("TIMEOUT", "DEADLINE"):
        return TIMEOUT_STATUS
    if recorded or (recorded is not None and job.state == FORGOTTEN):
        return recorded
    if job.state == "OUT_OF_MEMORY":
        return OUT_OF_MEMORY_STATUS
    if job.state != "FAILED":
        return 1  # a node failed, say: the exit code is no program's (26.05 gives 0:1)
    if job.exit_signal:
        return min(255, 128 + job.exit_signal)
    return job.exit_status or 1


def overall(jobs: Sequence[JobState]) -> str:
    """One state for all tasks of an array: of one that runs, else waits, else did not end well."""
    busy = [job.state for job in jobs if not job.ended and not job.waiting]
    waiting = [job.state for job in jobs if job.waiting]
    bad = [job.state for job in jobs if job.state != "COMPLETED"]
    return (busy + waiting + bad + ["COMPLETED"])[0]


def as_dict(job: JobState) -> dict[str, object]:
    """A job as --json prints it: times in seconds since 1970, durations in seconds."""
    return {
        "job_id": job.job_id or None,
        "array_job_id": job.array_job_id,
        "array_task_id": job.array_task_id,
        "name": job.name,
        "user": job.user,
        "account": job.account,
        "partition": job.partition,
        "qos": job.qos,
        "state": job.state,
        "source": job.source,
        "ended": job.ended,
        "reason": job.reason,
        "dependency": job.dependency,
        "submit_s": job.submit_s,
        "start_s": None if job.waiting else job.start_s,
        "expected_start_s": job.start_s if job.waiting else None,
        "expected_nodes": "",
        "end_s": job.end_s,
        "elapsed_s": job.elapsed_s,
        "time_limit_s": job.time_limit_s,
        "time_left_s": job.time_left_s,
        "nodes": job.nodes,
        "node_list": job.node_list,
        "gpus": job.gpus,
        "restarts": job.restarts,
        "exit_status": job.exit_status,
        "exit_signal": job.exit_signal,
    }


def expanded(pattern: str, job: JobState) -> str | None:
    """The path of a job's log: sbatch(1) filename pattern, with padding (%4j).

    None where it cannot be told from here (%N, %h: the first node's name for itself).
    """
    import re

    if "\\" in pattern:  # sbatch(1): a backslash turns all replacement off
        return pattern.replace("\\", "")
    task = job.array_task_id or "4294967294"  # NO_VAL, as Slurm prints it for a job of no array
    array = job.array_job_id or job.slurm_id
    values = {"j": job.slurm_id, "J": job.slurm_id, "A": array, "a": task, "x": job.name, "u": job.user}
    values |= {"n": "0", "t": "0", "s": "batch", "b": task[-1:], "%": "%"}
    if set(re.findall(r"%[0-9]{0,2}(.)", pattern)) - values.keys():
        return None

    def value(match: re.Match[str]) -> str:
        width, letter = match.groups()
        return values[letter].zfill(min(10, int(width or 0))) if letter in "jJAant" else values[letter]

    return re.sub(r"%([0-9]{0,2})(.)", value, pattern)
