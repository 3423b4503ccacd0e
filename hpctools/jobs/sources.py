"""Where a job's log is, or one rank's, and why it is not there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hpctools.errors import CommandError, InvalidInput, NotFound, Problem
from hpctools.jobs import logs, queries, report, run_folder, state, watch
from hpctools.jobs.follow import Followed
from hpctools.jobs.named import Named
from hpctools.jobs.record import Record
from hpctools.process import Run


@dataclass(frozen=True)
class Source:
    """A log: that of a job, or (rank is not None) of a rank in the job's run folder.

    log: where the job's own is. task: the task's id, of an array.
    """

    named: Named
    log: Path
    run: Path | None
    task: str | None
    rank: int | None

    def path(self) -> Path | None:
        """The file, None while there is none. That it has a path does not mean that it is there."""
        if self.rank is None or self.run is None:
            return self.log
        return logs.rank_log_of(self.run, self.rank, self.task)

    def tail(self, last_lines: int | None, say: Callable[[str], None]) -> Followed:
        """What follows it."""
        if self.rank is None or self.run is None:
            return logs.Tail(self.log, last_lines, say)
        return logs.RankTail(self.run, self.rank, self.task, last_lines, say)

    def absent(self, run: Run) -> str:
        """Why there is nothing to be read."""
        attempts = run_folder.attempts(self.run, self.task) if self.run is not None else ()
        have = run_folder.ranks(attempts[-1]) if attempts else ()
        if self.rank is not None and have:
            return f"{self.named.label} has no log of rank {self.rank}; it has those of {_spans(have)}"
        try:
            job = watch.look(self.named, run).jobs[0]
        except (CommandError, NotFound):
            return f"{self.log}: not there"
        label = self.named.label
        if job.waiting:
            return f"{label} has not started ({job.state}, {job.reason}); with -f its log is waited for"
        if self.rank is None:
            return f"{label} ({job.state}) left no log: {self.log}"
        return f"{label} ({job.state}) left no logs of ranks in {self.run}"


def source(named: Named, run: Run, rank: int | None = None) -> Source:
    """The log that is meant. Slurm is asked only where our records do not tell.

    Raises NotFound when it cannot be known where the log is, InvalidInput for an array without a
    task, and for a rank of a job that hpctools did not submit.
    """
    task = (named.job_id or "").partition("_")[2] or None
    record, log = _known(named, run, task)
    if record is not None and record.array is not None and task is None:
        hint = f"name a task: {named.job_id}_{(run_folder.tasks(Path(record.run)) or ('0',))[0]}"
        raise InvalidInput([Problem("JOB", f"{named.label} is an array of several logs", hint)])
    if rank is not None and record is None:
        problem = Problem(
            "--rank", f"{named.label} was not submitted by hpctools", "its own log: without --rank"
        )
        raise InvalidInput([problem])
    return Source(named, log, Path(record.run) if record else None, task, rank)


def _known(named: Named, run: Run, task: str | None) -> tuple[Record | None, Path]:
    if named.by_record:
        return named.records[0], named.records[0].log(task)
    try:
        seen = watch.look(named, run)
    except CommandError:
        if not named.records:
            raise
        return named.records[0], named.records[0].log(task)
    if seen.record is not None:
        return seen.record, seen.record.log(task)
    if len(seen.jobs) > 1:
        hint = f"name a task: {seen.jobs[0].job_id}"
        raise InvalidInput([Problem("JOB", f"{named.label} is an array of several logs", hint)])
    job = seen.jobs[0]
    if job.source == "squeue":
        job = state.detailed(job, queries.details(run, job.slurm_id))
    log = report.log_of(seen, job)
    if log is None:
        raise NotFound(
            f"{named.label}: Slurm does not tell where its log is (work folder: {job.work_dir or '?'})"
        )
    return None, log


def _spans(numbers: tuple[int, ...]) -> str:
    """0-7, 9."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][-1] == number - 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    return "ranks " + ", ".join("-".join(map(str, span)) for span in spans)
