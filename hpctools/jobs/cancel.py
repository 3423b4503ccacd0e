"""Cancelling jobs: only what is there, and saying what became of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hpctools.errors import NotFound
from hpctools.jobs import queries, secrets, state, watch, words
from hpctools.jobs.named import Named
from hpctools.jobs.watch import Seen
from hpctools.process import Run
from hpctools.slurm import scancel, units


@dataclass(frozen=True)
class Cancelled:
    """What cancelling a job did. was: the state that it had; done: whether it was told to end."""

    job_id: str | None
    name: str
    was: str
    done: bool
    message: str


def cancel(named: Named, run: Run) -> Cancelled:
    """End a job, all tasks of an array, or one task.

    A job that has ended already, or is not the user's, is an answer, not an error. Raises NotFound
    for a job that nobody knows, SlurmUnavailable when slurmctld does not answer.
    """
    seen = watch.peek(named, run)
    named, job = seen.named, seen.jobs[0]  # of a run that goes on under another id, the job that has it
    was = state.overall(seen.jobs)
    if named.job_id is None or was in (state.UNKNOWN, state.FORGOTTEN):
        said = job.reason or f"{was}, on this machine and not by Slurm"
        return Cancelled(None, job.name, was, False, f"{named.word} ({job.name}): {said}")
    if seen.ended:
        when = f" at {words.moment(job.end_s)}" if job.end_s else ""
        return Cancelled(named.job_id, job.name, was, False, f"{named.label} has already ended: {was}{when}")
    done = run(scancel.command(named.job_id), timeout_s=queries.TIMEOUT_S)
    if done.unavailable:
        done.check()
    if done.status != 0:
        said = (done.stderr.strip() or "no message").splitlines()[-1].split("error: ")[-1]
        return Cancelled(named.job_id, job.name, was, False, f"{named.label} was not cancelled: {said}")
    if seen.record is not None and watch.is_whole_run(seen) and all(one.waiting for one in seen.jobs):
        secrets.forget(seen.record.run)  # it never runs, so nothing else would
    return Cancelled(named.job_id, job.name, was, True, _said(seen, was))


def _said(seen: Seen, was: str) -> str:
    job = seen.jobs[0]
    if len(seen.jobs) > 1:
        return f"{seen.named.label}: {words.tally(seen.jobs)}; those that had not ended were cancelled"
    if job.waiting:
        return f'{seen.named.label} "{job.name}" is cancelled; it had not started'
    ran = units.format_duration(job.elapsed_s)
    return f'{seen.named.label} "{job.name}" was {was} for {ran} and is told to end'


def cancel_all(names: Iterable[Named], run: Run) -> tuple[Cancelled, ...]:
    """End several jobs. One that nobody knows does not keep the others from being ended."""
    done = []
    for named in names:
        try:
            done.append(cancel(named, run))
        except NotFound as error:
            done.append(Cancelled(named.job_id, "", state.UNKNOWN, False, str(error)))
    return tuple(done)
