"""Questions to Slurm about jobs: each one call, bounded in time, its answer as values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

from hpctools.errors import CommandError, SlurmUnavailable
from hpctools.jobs.record import query_environment
from hpctools.process import Completed, Run
from hpctools.slurm import sacct, scontrol, squeue
from hpctools.slurm.sacct import AccountedJob
from hpctools.slurm.squeue import ExpectedStart, QueuedJob

# Slurm's commands give up after about 10 s when slurmctld is away (slurm.conf(5) MessageTimeout);
# a busy one may take longer to answer.
TIMEOUT_S = 30.0

NO_ACCOUNTING = "Slurm accounting storage is disabled"


@dataclass(frozen=True)
class Accounting:
    """What accounting knows (jobs), or why it tells nothing (missing)."""

    jobs: tuple[AccountedJob, ...] = ()
    missing: str = ""


def queue(
    run: Run,
    *,
    job_ids: Sequence[str] = (),
    user: str | None = None,
    me: bool = False,
    ended: bool = False,
) -> tuple[QueuedJob, ...]:
    """The jobs that slurmctld knows; those named, in whatever state, or those that wait or run.

    ended: also those that ended a short while ago. Jobs that it does not know are not in the
    answer. Raises SlurmUnavailable, CommandTimeout, CommandError, NotFound (no squeue).
    """
    argv = squeue.command(job_ids=job_ids, user=user, me=me)
    if ended and not job_ids:
        argv.append("--states=all")
    done = _ask(run, argv, squeue)
    if done.status != 0 and squeue.UNKNOWN_JOB in done.stderr:
        return ()
    return squeue.parse(done.check())


def forecast(run: Run, job_id: str) -> ExpectedStart | None:
    """When the scheduler now thinks that a waiting job starts; None where it has no plan."""
    done = _ask(run, squeue.start_command(job_id), squeue)
    if done.status != 0 and squeue.UNKNOWN_JOB in done.stderr:
        return None
    expected = [start for start in squeue.parse_start(done.check()) if start.start_s is not None]
    return expected[0] if expected else None


def details(run: Run, slurm_id: str) -> Mapping[str, str]:
    """scontrol's fields of one job; empty when slurmctld does not know it any more."""
    done = _ask(run, scontrol.job_command(slurm_id), squeue)
    if done.status != 0 and (squeue.UNKNOWN_JOB in done.stderr or "not found" in done.stdout):
        return {}
    return scontrol.parse_job(done.check())


def accounting(
    run: Run,
    *,
    job_ids: Sequence[str] = (),
    user: str | None = None,
    everyone: bool = False,
    start: str | None = None,
    duplicates: bool = False,
) -> Accounting:
    """What slurmdbd knows of jobs. That it is not there, or away, is an answer, not an error."""
    try:
        # Of single jobs all is wanted that this release can tell: later ones know where the log is.
        fields = sacct.fields(_release(run)) if job_ids else sacct.FIELDS
        argv = sacct.command(job_ids=job_ids, user=user, start=start, duplicates=duplicates, fields=fields)
        argv += ["--allusers"] if everyone else []
        done = _ask(run, argv, sacct)
        if NO_ACCOUNTING in done.stderr:
            return Accounting(missing="this cluster keeps no accounting")
        return Accounting(sacct.parse(done.check()))
    except SlurmUnavailable:
        return Accounting(missing="slurmdbd does not answer")
    except CommandError as error:
        return Accounting(missing=str(error))


def _release(run: Run) -> tuple[int, int]:
    """The release of sacct, (22, 5) for 22.05."""
    match = re.search(r"(\d+)\.(\d+)", _ask(run, ["sacct", "--version"], sacct).stdout)
    return (int(match[1]), int(match[2])) if match else (22, 5)


def _ask(run: Run, argv: Sequence[str], module: ModuleType) -> Completed:
    return run(argv, timeout_s=TIMEOUT_S, env=query_environment() | dict(module.ENV))
