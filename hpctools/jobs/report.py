"""All that one wants to know of a job, gathered: the noun behind `hpctools status`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hpctools.errors import CommandError
from hpctools.jobs import logs, queries, run_folder, secrets, state, watch
from hpctools.jobs.pace import reason_of
from hpctools.jobs.queries import Accounting
from hpctools.jobs.run_folder import Result
from hpctools.jobs.state import JobState
from hpctools.jobs.watch import Seen
from hpctools.process import Run
from hpctools.slurm import tres
from hpctools.slurm.sacct import AccountedJob
from hpctools.slurm.squeue import ExpectedStart

LAST_LINES = 10
# slurmctld sends the end of a job to slurmdbd within a second or so.
SETTLES_S = 5.0


@dataclass(frozen=True)
class OneRun:
    """One time that Slurm ran a job: requeued ones have several. Times in seconds since 1970."""

    state: str
    start_s: int | None
    end_s: int | None
    elapsed_s: int
    gpus: int
    nodes: int
    node_list: str


@dataclass(frozen=True)
class Usage:
    """The GPU-seconds of all runs. accounted: from accounting, so all runs are in it.

    settled: accounting knows the end of the last run, so the figure will not change.
    """

    runs: tuple[OneRun, ...]
    accounted: bool
    settled: bool

    @property
    def gpu_seconds(self) -> int:
        """Allocated GPUs times elapsed seconds, of every run."""
        return sum(run.gpus * run.elapsed_s for run in self.runs)

    @property
    def gpu_hours(self) -> float:
        """The same in hours."""
        return self.gpu_seconds / 3600


@dataclass(frozen=True)
class Part:
    """A job, or a task of an array: its state and all around it.

    status: what `wait` ends with, None until it has ended. expected: the scheduler's present plan
    for one that waits. log and error_log may not be there (yet). last_lines: the end of the log,
    where the job failed and no rank recorded its own.
    """

    job: JobState
    usage: Usage
    status: int | None = None
    expected: ExpectedStart | None = None
    result: Result | None = None
    attempts: int = 0
    log: Path | None = None
    error_log: Path | None = None
    last_lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """A job with its parts: one, or one a task of an array."""

    seen: Seen
    parts: tuple[Part, ...]
    remarks: tuple[str, ...] = ()

    @property
    def is_array(self) -> bool:
        """Whether the whole of an array is meant."""
        number = self.seen.named.job_id
        return number is not None and any(part.job.array_job_id == number for part in self.parts)

    @property
    def state(self) -> str:
        """Slurm's state of the job; of an array that of the tasks that are least far."""
        return state.overall(self.seen.jobs)

    @property
    def status(self) -> int | None:
        """What `wait` ends with: 0, or that of the first task that did not end well; None before."""
        if not self.seen.ended:
            return None
        return next((part.status for part in self.parts if part.status), 0)

    @property
    def usage(self) -> Usage:
        """What all parts used together."""
        each = [part.usage for part in self.parts]
        runs = tuple(run for usage in each for run in usage.runs)
        return Usage(runs, all(u.accounted for u in each), all(u.settled for u in each))


def report(seen: Seen, run: Run) -> Report:
    """Everything about a job that was looked at. What cannot be asked is a remark, not an error."""
    if seen.record is not None and seen.ended and not seen.away and watch.is_whole_run(seen):
        secrets.forget(seen.record.run)
    remarks = list(seen.remarks)
    single = seen.jobs[0] if len(seen.jobs) == 1 else None
    expected = None
    try:
        if single and single.source == "squeue":
            # One more call, for what squeue does not tell: exit code, time limit, the logs' paths.
            seen = replace(seen, jobs=(state.detailed(single, queries.details(run, single.slurm_id)),))
        if single and single.state == "PENDING" and single.slurm_id:
            expected = queries.forecast(run, single.slurm_id)
    except CommandError as error:
        remarks.append(f"slurmctld does not answer ({reason_of(error)})")
    known = Accounting()
    if seen.named.job_id is not None:
        known = queries.accounting(run, job_ids=[seen.named.job_id], duplicates=True)
        seen = _with_exits(seen, known.jobs)
        if single and not seen.away:
            seen = watch.finished(seen, run)
    if known.missing:
        remarks.append(f"{known.missing}: GPU-hours are those of the last run alone")
    parts = tuple(_part(seen, job, known.jobs, expected) for job in seen.jobs)
    return Report(seen, parts, tuple(dict.fromkeys(remarks)))


def settled(seen: Seen, run: Run, sleep: Callable[[float], None] = time.sleep) -> Report:
    """The report of a job that has just ended, once accounting knows it, at most SETTLES_S later."""
    made = report(seen, run)
    for _ in range(int(SETTLES_S / 0.5)):
        if made.usage.settled or not made.usage.accounted:
            break
        sleep(0.5)
        made = report(seen, run)
    return made


def _with_exits(seen: Seen, rows: Sequence[AccountedJob]) -> Seen:
    """The exit codes of an array's tasks, from the one answer of accounting."""
    exits = {row.job_id: row for row in rows if row.state in state.ENDED}

    def known(job: JobState) -> JobState:
        row = exits.get(job.slurm_id)
        if row is None or job.exit_status is not None or not job.ended:
            return job
        return replace(job, exit_status=row.exit_status, exit_signal=row.exit_signal)

    return replace(seen, jobs=tuple(map(known, seen.jobs)))


def _part(seen: Seen, job: JobState, rows: Sequence[AccountedJob], expected: ExpectedStart | None) -> Part:
    result = watch.result_of(seen.record, job)
    attempts = len(run_folder.attempts(Path(seen.record.run), job.array_task_id)) if seen.record else 0
    log = log_of(seen, job)
    status = state.status_of(job, result.status if result else None) if job.ended else None
    told = result is not None and result.first_failure is not None
    return Part(
        job=job,
        usage=usage_of(job, rows),
        status=status,
        expected=expected,
        result=result,
        attempts=attempts,
        log=log,
        error_log=Path(job.error_log) if job.error_log and job.error_log != job.log else None,
        last_lines=logs.last_lines(log, LAST_LINES) if status and log and not told else (),
    )


def log_of(seen: Seen, job: JobState) -> Path | None:
    """Where the job's output goes; None where that cannot be known."""
    if seen.record is not None:
        return seen.record.log(job.array_task_id)
    if job.log:
        found = state.expanded(job.log, job)
        return Path(found) if found else None
    # sbatch(1) --output: the default. salloc and srun without sbatch have no such file.
    name = (
        f"slurm-{job.array_job_id}_{job.array_task_id}.out"
        if job.array_job_id
        else f"slurm-{job.slurm_id}.out"
    )
    guess = Path(job.work_dir) / name
    return guess if job.work_dir and guess.is_file() else None


def usage_of(job: JobState, rows: Sequence[AccountedJob]) -> Usage:
    """What a job used: each run in accounting; without any, the last run as slurmctld counts it."""
    mine = [row for row in rows if row.job_id == job.slurm_id]
    if mine:
        # On a cluster that was set up again ids come twice: the last one's runs are meant.
        last = mine[-1]
        mine = [row for row in mine if (row.user, row.submit_line) == (last.user, last.submit_line)]
        mine = [row for row in mine if row.start_s is not None]
        return Usage(tuple(map(_accounted_run, mine)), True, last.state in state.ENDED)
    ran = job.start_s is not None and not job.waiting and job.elapsed_s > 0
    one = OneRun(job.state, job.start_s, job.end_s, job.elapsed_s, job.gpus, job.nodes, job.node_list)
    return Usage((one,) if ran else (), False, job.ended)


def _accounted_run(row: AccountedJob) -> OneRun:
    gpus = tres.gpu_count(row.tres)
    return OneRun(row.state, row.start_s, row.end_s, row.elapsed_s, gpus, row.nodes, row.node_list)


def as_dict(whole: Report) -> dict[str, object]:
    """The report as `status --json` prints it; keys as in docs/jobs.md, units in their names."""
    first, record = whole.parts[0], whole.seen.record
    common: dict[str, object] = {
        "run": record.run if record else None,
        "target": record.target if record else None,
        "remarks": list(whole.remarks),
    }
    if not whole.is_array:
        return {**part_as_dict(first), **common, "tasks": []}
    usage = whole.usage
    return {
        **part_as_dict(first),
        **common,
        "job_id": whole.seen.named.job_id,
        "array_task_id": None,
        "state": whole.state,
        "ended": whole.seen.ended,
        "status": whole.status,
        "gpu_seconds": usage.gpu_seconds,
        "gpu_hours": round(usage.gpu_hours, 4),
        "tasks": [part_as_dict(part) for part in whole.parts],
    }


def part_as_dict(part: Part) -> dict[str, object]:
    """One job or task, with plain values only."""
    usage, expected = part.usage, part.expected
    failure = part.result.first_failure if part.result else None
    return {
        **state.as_dict(part.job),
        **({"expected_start_s": expected.start_s, "expected_nodes": expected.node_list} if expected else {}),
        "status": part.status,
        "first_failure": asdict(failure) if failure else None,
        "attempts": part.attempts,
        "outcome": (part.result.state or None) if part.result else None,
        "outcome_reason": (part.result.reason or None) if part.result else None,
        "checkpoint_step": part.result.checkpoint_step if part.result else None,
        "checkpoint_s": part.result.checkpoint_s if part.result else None,
        "gpu_seconds": usage.gpu_seconds,
        "gpu_hours": round(usage.gpu_hours, 4),
        "gpu_hours_accounted": usage.accounted,
        "gpu_hours_final": usage.settled,
        "runs": [asdict(run) for run in usage.runs],
        "log": str(part.log) if part.log else None,
        "error_log": str(part.error_log) if part.error_log else None,
        "last_lines": list(part.last_lines),
    }
