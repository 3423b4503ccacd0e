"""The jobs of a user: what waits and runs, and what ended a short while ago."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from hpctools.errors import CommandError
from hpctools.jobs import clusters, queries, record, state, watch
from hpctools.jobs.named import belongs
from hpctools.jobs.pace import reason_of
from hpctools.jobs.record import Record
from hpctools.jobs.state import JobState
from hpctools.process import Run

DAY_S = 86400
EXITS_ASKED = 20


@dataclass(frozen=True)
class Listed:
    """One job with our record of it, if we submitted it; status: what `wait` would end with."""

    job: JobState
    record: Record | None
    status: int | None


@dataclass(frozen=True)
class Listing:
    """Jobs: those that run, those that wait, those that ended (the latest first)."""

    jobs: tuple[Listed, ...]
    remarks: tuple[str, ...] = ()


def listing(run: Run, *, user: str | None = None, everyone: bool = False, since_s: int = DAY_S) -> Listing:
    """My jobs (or another user's, or everyone's): all in the queue, and those that ended in the
    last since_s seconds. One squeue and one sacct; where there is no accounting, our records.

    Raises SlurmUnavailable when slurmctld does not answer.
    """
    mine = user is None and not everyone
    remarks: list[str] = []
    after_s = int(time.time()) - since_s
    queue = queries.queue(run, user=user, me=mine, ended=True)
    known = queries.accounting(
        run,
        user=user or (str(os.getuid()) if mine else None),
        everyone=everyone,
        start=f"now-{since_s}seconds",
    )
    if known.missing:
        remarks.append(
            f"{known.missing}: jobs that ended some minutes ago are known from hpctools' records alone"
        )
    jobs = {job.slurm_id: job for job in map(state.queued, queue)}
    for row in known.jobs:
        was = jobs.get(row.job_id)
        if row.state in state.ENDED and (was is None or was.ended):
            jobs[row.job_id] = state.accounted(row)
    if known.missing:
        jobs |= _exits(jobs.values(), run)
    listed = _with_records(jobs.values(), run, remarks, after_s, mine)
    return Listing(tuple(sorted(listed, key=_order)), tuple(remarks))


def _exits(jobs: Iterable[JobState], run: Run) -> dict[str, JobState]:
    """The latest failed jobs with their exit codes, which slurmctld tells only one by one."""
    failed = sorted((job for job in jobs if job.state == "FAILED"), key=lambda job: job.end_s or 0)
    return {job.slurm_id: watch.with_exit(job, run) for job in failed[-EXITS_ASKED:]}


def _with_records(
    jobs: Iterable[JobState], run: Run, remarks: list[str], after_s: int, mine: bool
) -> list[Listed]:
    """Jobs joined with our records; of those that are mine also what only a record knows."""
    by_id: dict[str, list[Record]] = {}
    lost: list[Record] = []
    for one in record.load_all(say=remarks.append):
        if one.state != "local" and not clusters.is_here(one):
            continue
        if not one.settled and mine:
            one = _resolved(one, run, remarks)
        if one.job_id:
            by_id.setdefault(one.job_id, []).append(one)
        if one.state != "refused" and one.created_s >= after_s:
            lost.append(one)
    listed = [_listed(job, by_id) for job in jobs if not job.ended or (job.end_s or after_s) >= after_s]
    have = {one.record for one in listed}
    if mine:
        alone = [(watch.recorded(one), one) for one in lost if one not in have]
        listed += [Listed(job, one, job.exit_status) for job, one in alone]
    return listed


def _listed(job: JobState, by_id: Mapping[str, list[Record]]) -> Listed:
    mine = by_id.get(job.array_job_id or job.slurm_id, [])
    ours = next((one for one in mine if belongs(one, job.log, job.submit_line, job.submit_s)), None)
    ours = ours or record.of_folder(job.log or "", job.submit_line)
    if ours and not job.gpus:  # on a cluster that does not track GPUs
        job = replace(job, gpus=ours.gpus_per_node * job.nodes)
    if not job.ended:
        return Listed(job, ours, None)
    result = watch.result_of(ours, job) if job.state != "COMPLETED" else None
    if job.state == "FAILED" and job.exit_status is None and result is None:
        return Listed(job, ours, None)  # nobody told
    return Listed(job, ours, state.status_of(job, result.status if result else None))


def _resolved(one: Record, run: Run, remarks: list[str]) -> Record:
    """A submission to which sbatch gave no answer: whether Slurm has the job, and that it is said."""
    try:
        known = record.resolve(one, run)
    except CommandError as error:
        remarks.append(f"{one.run}: sbatch gave no answer, and Slurm cannot be asked ({reason_of(error)})")
        return one
    if known.job_id:
        remarks.append(f"{one.run}: sbatch gave no answer, but Slurm has the job: {known.job_id}")
    elif known.settled:
        remarks.append(f"{one.run}: sbatch gave no answer, and Slurm has no such job; submit it again")
    else:
        remarks.append(f"{one.run}: sbatch gave no answer; Slurm has no such job yet, and may still get it")
    return known


def _order(listed: Listed) -> tuple[int, int]:
    job = listed.job
    if job.waiting:
        return 1, job.submit_s or 0
    return (2, -(job.end_s or job.submit_s or 0)) if job.ended else (0, job.start_s or 0)


def as_dict(listed: Listed) -> dict[str, object]:
    """A job as `jobs --json` prints it."""
    ours = listed.record
    return {
        **state.as_dict(listed.job),
        "status": listed.status,
        "run": ours.run if ours else None,
        "target": ours.target if ours else None,
    }
