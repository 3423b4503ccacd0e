"""What became of jobs: squeue is asked first, then accounting, then our own records."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hpctools.errors import CommandError, NotFound, ParseError
from hpctools.jobs import clusters, queries, record, run_folder, state
from hpctools.jobs.named import Named, belongs
from hpctools.jobs.pace import AWAY, GLANCE_S, Away, Pace, Results, reason_of
from hpctools.jobs.record import Record
from hpctools.jobs.run_folder import Result
from hpctools.jobs.state import JobState
from hpctools.process import Run


@dataclass(frozen=True)
class Seen:
    """What was learnt of a job.

    jobs: its state; of an array the states of its tasks. record: ours, if we submitted it. away:
    slurmctld did not answer, so the state may be an old one. remarks: what could not be asked.
    """

    named: Named
    jobs: tuple[JobState, ...]
    record: Record | None
    away: bool = False
    remarks: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return all(job.ended for job in self.jobs)


def look(named: Named, run: Run) -> Seen:
    """The state of a job now, or of the successor that goes on with its run.

    Raises NotFound when nobody knows it, SlurmUnavailable when those who could know do not answer.
    """
    seen = _look(named, run)
    onward = _successor(seen)
    return look(onward, run) if onward else seen


def _successor(seen: Seen) -> Named | None:
    """The job that went on when this one had ended, where the site forbids that it is requeued."""
    job_id = seen.named.job_id or ""
    if seen.record is None or not seen.ended or not job_id.isdecimal() or seen.record.array is not None:
        return None
    newest = run_folder.successor(Path(seen.record.run))
    # Ids grow: so no job follows on itself, or on one that comes later.
    if newest is None or int(newest) <= int(job_id):
        return None
    return replace(seen.named, job_id=newest, records=(seen.record,), by_record=True)


def _look(named: Named, run: Run) -> Seen:
    jobs: tuple[JobState, ...] = ()
    trouble: CommandError | None = None
    remarks: list[str] = []
    if named.job_id is not None:
        try:
            jobs = _ours(named, map(state.queued, queries.queue(run, job_ids=[named.job_id])))
        except AWAY as error:
            trouble = error
            remarks.append(f"slurmctld does not answer ({reason_of(error)}); older knowledge is shown")
        if not jobs or _is_whole_array(named, jobs):
            known = queries.accounting(run, job_ids=[named.job_id])
            jobs = _joined(jobs, _ours(named, map(state.accounted, known.jobs)))
            if known.missing and not jobs:
                remarks.append(known.missing)
    if jobs:
        return Seen(named, jobs, _record_of(named, jobs[0]), trouble is not None, tuple(remarks))
    if named.records and trouble is None and not _may_have_task(named):
        raise NotFound(f"{named.label}: neither Slurm nor the run folder knows such a task")
    if named.records:
        ours = named.records[0]
        return Seen(
            named, (recorded(ours, asked=trouble is None),), ours, trouble is not None, tuple(remarks)
        )
    if trouble is not None:
        raise trouble
    where = "; ".join(["slurmctld does not know it (any more)", *(remarks or ["nor does accounting"])])
    raise NotFound(f"{named.label}: no such job: {where}")


def peek(named: Named, run: Run) -> Seen:
    """The same with one squeue as long as slurmctld knows the job: for those who ask often.

    Of an array, tasks that slurmctld has forgotten are missing.
    """
    if named.job_id is not None:
        jobs = _ours(named, map(state.queued, queries.queue(run, job_ids=[named.job_id])))
        if jobs:
            seen = Seen(named, tuple(sorted(jobs, key=_task_order)), _record_of(named, jobs[0]))
            onward = _successor(seen)
            return peek(onward, run) if onward else seen
    return look(named, run)


def _may_have_task(named: Named) -> bool:
    """Whether the run folder has what a name with a task says; one without a task is no question."""
    task = (named.job_id or "").partition("_")[2]
    return not task or (Path(named.records[0].run) / f"task-{task}").exists()


def _ours(named: Named, jobs: Iterable[JobState]) -> tuple[JobState, ...]:
    if "_" in (named.job_id or ""):
        # Asked for 21_9, Slurm answers with job 21 where that is no array.
        jobs = [job for job in jobs if job.array_task_id is not None]
    if not named.by_record:
        return tuple(jobs)
    return tuple(job for job in jobs if belongs(named.records[0], job.log, job.submit_line, job.submit_s))


def _record_of(named: Named, job: JobState) -> Record | None:
    for one in named.records:
        if belongs(one, job.log, job.submit_line, job.submit_s):
            return one
    return record.of_folder(job.log or "", job.submit_line)


def _is_whole_array(named: Named, jobs: Sequence[JobState]) -> bool:
    # slurmctld forgets tasks that ended a while ago although others still wait.
    return any(job.array_job_id == named.job_id for job in jobs)


def _joined(first: Sequence[JobState], second: Sequence[JobState]) -> tuple[JobState, ...]:
    """All of first, and of second what first does not have, in the order of tasks."""
    have = {job.slurm_id for job in first}
    # Waiting tasks stand together in one line, whose id is the array's own.
    more = (job for job in second if job.slurm_id not in have and not (first and job.waiting))
    latest = {job.job_id: job for job in more}  # of a requeued job the last run stands last
    return tuple(sorted((*first, *latest.values()), key=_task_order))


def _task_order(job: JobState) -> tuple[int, int]:
    task = job.array_task_id or ""
    return (0, int(task)) if task.isdecimal() else (1, 0)


def recorded(one: Record, asked: bool = True) -> JobState:
    """The state of a job that only our record and its run folder know; asked: Slurm had its say."""
    result = last_result(Path(one.run))
    word, reason = ("COMPLETED" if result.status == 0 else "FAILED", "") if result else _untold(one, asked)
    return JobState(
        job_id=one.job_id or "",
        slurm_id=one.job_id or "",
        name=one.name,
        user="",
        account="",
        partition="",
        qos="",
        state=word,
        reason=reason,
        source="record",
        submit_s=one.submitted_s or one.created_s,
        start_s=None,
        end_s=int(result.ended_s) if result else None,
        elapsed_s=0,
        time_limit_s=None,
        nodes=one.nodes,
        node_list="",
        gpus=one.gpus_per_node * one.nodes,
        restarts=None,
        dependency="",
        work_dir="",
        log=one.token or None,
        exit_status=result.status if result else None,
        exit_signal=0 if result else None,
    )


def _untold(one: Record, asked: bool) -> tuple[str, str]:
    """The state of a job without a result, and what there is to say about it."""
    if one.state == "local":
        return state.LOCAL, "it runs on this machine, or was ended before it left a result"
    if one.state == "refused":
        return state.UNKNOWN, "Slurm refused it: there is no such job"
    if not clusters.is_here(one):
        return state.UNKNOWN, clusters.elsewhere(one)
    if not asked:
        return state.UNKNOWN, "Slurm does not answer, and it has left no result yet"
    if one.job_id is None:
        return state.UNKNOWN, "sbatch gave no answer, and Slurm has no such job (yet)"
    return state.FORGOTTEN, "Slurm has forgotten it, and it left no result"


def last_result(run: Path, task: str | None = None) -> Result | None:
    """The result of the newest attempt, None while it has none."""
    attempts = run_folder.attempts(run, task)
    return run_folder.result(attempts[-1]) if attempts else None


def result_of(ours: Record | None, job: JobState) -> Result | None:
    """What the run folder says of a job or task; None for jobs that are not ours.

    None, too, where the last start failed and left nothing: Slurm could not launch it, say. The newest
    attempt is then that of an earlier start.
    """
    attempts = run_folder.attempts(Path(ours.run), job.array_task_id) if ours else ()
    if not attempts:
        return None
    failed = job.ended and job.state not in ("COMPLETED", "CANCELLED")
    if failed and run_folder.is_earlier(attempts[-1], job.slurm_id, job.restarts):
        return None
    return run_folder.result(attempts[-1])


def is_whole_run(seen: Seen) -> bool:
    """Whether no other job uses the run folder: not so for a task of an array, nor for an array of which a
    task goes on as a job of its own.
    """
    ours = seen.record
    if ours is None or ours.array is None:
        return ours is not None
    run = Path(ours.run)
    return seen.named.job_id == ours.job_id and not any(
        run_folder.successor(run, task) for task in run_folder.tasks(run)
    )


def finished(seen: Seen, run: Run) -> Seen:
    """seen, with the exit codes of what ended badly, which squeue does not tell."""
    return replace(seen, jobs=tuple(with_exit(job, run) for job in seen.jobs))


def with_exit(job: JobState, run: Run) -> JobState:
    """A job that has ended with its exit code, if slurmctld or accounting still knows it."""
    if not job.ended or job.exit_status is not None or not job.slurm_id:
        return job
    try:
        if fields := queries.details(run, job.slurm_id):
            return state.detailed(job, fields)
    except (*AWAY, ParseError):
        pass  # accounting may still know
    for row in reversed(queries.accounting(run, job_ids=[job.job_id]).jobs):
        if row.job_id == job.slurm_id and row.state in state.ENDED:
            return replace(job, exit_status=row.exit_status, exit_signal=row.exit_signal)
    return job


def status_of(seen: Seen) -> int:
    """What `wait` ends with: 0, or of the first task in order that did not end well its status."""
    for job in seen.jobs:
        result = result_of(seen.record, job)
        status = state.status_of(job, result.status if result else None)
        if status:
            return status
    return 0


def wait(
    names: Sequence[Named],
    run: Run,
    *,
    say: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Seen, ...]:
    """Wait until all these jobs have ended, and return how, in the order given.

    One squeue a time asks for all of them. While Slurm is away say is told once, and it goes on.
    Raises NotFound for a job that nobody knows, or that is not on this cluster.
    """
    ended: dict[Named, Seen] = {}
    pace, away = Pace(clock), Away(say)
    results = [Results(one.records[0].run if one.records else None, clock) for one in names]
    while len(ended) < len(names):
        if sum(new.appeared() for new in results):  # each is to look: any() would stop at the first
            pace.hurry()
        if pace.due():
            with away:
                for named in _maybe_ended([one for one in names if one not in ended], run):
                    seen = look(named, run)
                    if not seen.away and seen.jobs[0].state in (state.UNKNOWN, state.LOCAL):
                        raise NotFound(f"{named.label} cannot be waited for: {seen.jobs[0].reason}")
                    if seen.ended and not seen.away:
                        ended[named] = finished(seen, run)
            pace.asked()
        else:
            sleep(GLANCE_S)
    return tuple(ended[named] for named in names)


def _maybe_ended(names: Sequence[Named], run: Run) -> list[Named]:
    """Those of which no job is in the queue any more."""
    ids = [named.job_id for named in names if named.job_id is not None]
    rows = [state.queued(job) for job in queries.queue(run, job_ids=ids)] if ids else []
    busy = [job for job in rows if not job.ended]

    def waits(named: Named) -> bool:
        return any(named.job_id in (job.job_id, job.slurm_id, job.array_job_id) for job in _ours(named, busy))

    return [named for named in names if not waits(named)]
