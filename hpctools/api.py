"""hpctools from Python: what the command line does, as functions.

    import hpctools

    job = hpctools.submit("train.py", "--lr", "0.1", nodes=4, time="2:00:00")
    print(job.job_id, job.status().state)
    if job.wait() != 0:
        print(job.result().first_failure)
        print(job.logs(last_lines=50))

Which cluster is asked is decided as on the command line: SLURM_CONF, else /etc/slurm, else the only
sandbox that is up (SLURM_CONF is then set for this process). Errors are those of
hpctools.errors: InvalidInput holds every mistake at once, SlurmUnavailable means that slurmctld did
not answer, NotFound that there is no such job.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hpctools import process
from hpctools.errors import NotFound
from hpctools.jobs import cancel, listing, logs, named, report, request, sources, submission, watch
from hpctools.jobs import follow as following
from hpctools.jobs.cancel import Cancelled
from hpctools.jobs.listing import Listed
from hpctools.jobs.logs import Writer
from hpctools.jobs.named import Named
from hpctools.jobs.record import Record
from hpctools.jobs.report import Report
from hpctools.jobs.run_folder import Result
from hpctools.sandbox import choice

__all__ = ["Job", "job", "list_jobs", "submit"]

Say = Callable[[str], None]
# Settings that take several values; one alone need not be put in a list.
_LISTS = ("env", "secret", "set", "sbatch_option")


def _log(text: str) -> None:
    # Python prints what a library logs as a warning on stderr, unless the program decides otherwise.
    import logging

    logging.getLogger("hpctools").warning("%s", text)


@dataclass(frozen=True)
class Job:
    """A job of Slurm's: one just submitted, or any other by hpctools.job("12").

    job_id: Slurm's id ("12", of an array's task "12_3"). run: the run folder, None for jobs that
    hpctools did not submit.
    """

    job_id: str | None
    run: Path | None
    _named: Named

    def status(self) -> Report:
        """All that is known now: .state, .status (None until it ended), .usage.gpu_hours, .parts.

        Raises NotFound, SlurmUnavailable.
        """
        return report.report(watch.look(self._named, process.run), process.run)

    def wait(self) -> int:
        """Wait until the job has ended and return its status, as `hpctools wait` does.

        0; the status of the first rank that failed; 143 cancelled; 124 out of time. That Slurm is
        away for a while is survived, and logged.
        """
        return watch.status_of(watch.wait([self._named], process.run, say=_log)[0])

    def follow(self, out: Writer | None = None, say: Say | None = None) -> int:
        """Copy the log to out (default: standard output) until the job has ended; returns its status.

        say is told why it waits and how it ended (default: standard error). Only for jobs that
        hpctools submitted.
        """
        teller = following.Teller() if say is None else following.Teller(say)
        return following.follow(self._record(), out or sys.stdout.buffer, process.run, teller=teller)

    def logs(self, rank: int | None = None, last_lines: int | None = None) -> str:
        """The job's log, or what one rank wrote; empty while there is none. Bytes that are no UTF-8
        are replaced. Raises NotFound when it cannot be read.
        """
        path = sources.source(self._named, process.run, rank).path()
        content = io.BytesIO()
        if path is not None:
            logs.copy_whole(path, content, last_lines)
        return content.getvalue().decode("utf-8", "replace")

    def cancel(self) -> Cancelled:
        """End the job; .done says whether it was told to, .message what happened."""
        return cancel.cancel(self._named, process.run)

    def result(self) -> Result | None:
        """What the run folder says of its end: .status and .first_failure (rank, host, last_lines).

        None until then, and for jobs that hpctools did not submit.
        """
        task = (self.job_id or "").partition("_")[2] or None
        return None if self.run is None else watch.last_result(self.run, task)

    def _record(self) -> Record:
        if not self._named.records:
            raise NotFound(f"job {self.job_id} was not submitted by hpctools")
        return self._named.records[0]


def submit(target: str | os.PathLike[str] = "", *args: str, **settings: object) -> Job:
    """Submit a job and return it, as `hpctools submit TARGET ... -- ARGS` does.

    settings are the command line's options with _ for - (gpus_per_node=8, env={"A": "1"}); what is
    not given comes from the same layers as there. Warnings go to the logger "hpctools". Raises
    InvalidInput with all problems, NotFound when Slurm does not answer (then there is no job). The
    templates nccl-test and preflight need no target.

    >>> job = hpctools.submit("train.py", "--lr", "0.1", nodes=4, partition="main")
    >>> job.wait()
    0
    """
    _choose()
    lists = {key: [value] for key, value in settings.items() if key in _LISTS and isinstance(value, str)}
    asked = request.gather(os.fspath(target), args, {**settings, **lists})
    made = submission.submit(submission.plan(asked, process.run, _log), process.run, _log)
    return _job(named.by_record(made, process.run))


def job(word: str | int) -> Job:
    """The job that a word means: "12", "12_3", a run folder's name or path, or "last".

    >>> hpctools.job("last").status().state
    'RUNNING'
    """
    _choose()
    known = named.named(str(word), process.run)
    if known.records and not known.by_record:
        # Ids start again on a new cluster: only Slurm tells whether our record is of this job.
        ours = watch.look(known, process.run).record
        known = replace(known, records=(ours,) if ours else ())
    return _job(known)


def list_jobs(*, user: str | None = None, everyone: bool = False, since_s: int = 86400) -> tuple[Listed, ...]:
    """My jobs (or another user's, or everyone's): those that run or wait, and those that ended in
    the last since_s seconds. Each has .job (its state), .record (ours, or None) and .status.

    >>> [one.job.job_id for one in hpctools.list_jobs() if one.job.state == "RUNNING"]
    ['12', '15_3']
    """
    _choose()
    return listing.listing(process.run, user=user, everyone=everyone, since_s=since_s).jobs


def _choose() -> None:
    if name := choice.choose():
        _log(f"on the sandbox {name}")


def _job(known: Named) -> Job:
    run = Path(known.records[0].run) if known.records else None
    return Job(known.job_id, run, known)
