"""Which job a user means: 12, 12_3, the name or the path of a run folder, or `last`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hpctools.errors import InvalidInput, NotFound, Problem
from hpctools.jobs import clusters, record
from hpctools.jobs.record import Record
from hpctools.process import Run

# 12, a task of an array 12_3, a part of a heterogeneous job 12+1 (scancel(1), squeue(1) --jobs).
JOB_ID = re.compile(r"[0-9]{1,10}(?:_[0-9]{1,10}|\+[0-9]{1,10})?")
FORMS = "a job id (12, 12_3), a run folder's name or path, or last"


@dataclass(frozen=True)
class Named:
    """A job as the user named it.

    job_id: Slurm's id, None for one that never reached Slurm. records: ours that may belong to it,
    newest first: ids start again on a new cluster, so an id alone does not tell which.
    by_record: it was named by its record, so a job of Slurm's that does not belong is another one.
    """

    word: str
    job_id: str | None
    records: tuple[Record, ...]
    by_record: bool = False

    @property
    def label(self) -> str:
        """What to call it in messages."""
        return f"job {self.job_id}" if self.job_id else self.word


def named(
    word: str,
    run: Run,
    records: Callable[[], Sequence[Record]] = record.load_all,
) -> Named:
    """The job that a word means. A submission whose fate is unknown is looked for in Slurm.

    Raises InvalidInput for a word that cannot be a job, NotFound for one that is none.
    """
    if JOB_ID.fullmatch(word):
        first = re.split(r"[_+]", word)[0]
        return Named(word, word, tuple(one for one in records() if one.job_id == first))
    if word == "last":
        return last(records(), run)
    return _by_folder(word, records(), run)


def last(records: Sequence[Record], run: Run) -> Named:
    """The newest submission to this cluster, or run on this machine, that was not refused.

    Raises NotFound when there is none.
    """
    nowhere = clusters.conf() is None
    for one in records:
        if one.state != "refused" and (nowhere or one.state == "local" or clusters.is_here(one)):
            return by_record(one, run, "last")
    raise NotFound("there is no last job: hpctools has submitted none yet (hpctools submit --help)")


def by_record(one: Record, run: Run, word: str = "") -> Named:
    """The job of a record."""
    # Asking another cluster would tell that there is no such job.
    known = record.resolve(one, run) if clusters.is_here(one) else one
    if known.job_id is None and (owner := owner_of(Path(one.run))):
        known = replace(known, job_id=owner, state="submitted")
    return Named(word or Path(one.run).name, known.job_id, (known,), by_record=True)


def _by_folder(word: str, records: Sequence[Record], run: Run) -> Named:
    wanted = os.path.realpath(word) if "/" in word or os.path.isdir(word) else None
    for one in records:
        if wanted == os.path.realpath(one.run) if wanted else Path(one.run).name == word:
            return by_record(one, run, word)
    if wanted and (owner := owner_of(Path(wanted))):
        return Named(word, owner, ())
    if wanted and os.path.isdir(wanted):
        raise NotFound(f"{word}: no record of a job with this run folder, and it names none itself")
    if wanted or re.fullmatch(r"[\w.@+-]+-[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}", word):
        raise NotFound(f"{word}: no such run folder")
    raise InvalidInput([Problem("JOB", f"{word!r} names no job", f"give {FORMS}")])


def owner_of(run: Path) -> str | None:
    """The job that a run folder itself says it belongs to; it says so once the job has started."""
    try:
        text = (run / "job_id").read_text("ascii", "replace").strip()
    except OSError:
        return None
    return text if text.isdecimal() else None


def belongs(one: Record, log: str | None, submit_line: str, submit_s: int | None) -> bool:
    """Whether a job of Slurm's is the one of a record: by its token, else by what was submitted when."""
    mark = f"/{Path(one.run).name}/"
    if log:
        return log == one.token or mark in log
    if submit_line:
        return mark in submit_line
    if submit_s is None or one.submitted_s is None:
        return True
    # A requeued job's time of submission is that of its requeue: later, never earlier.
    return submit_s >= one.submitted_s - 600


def all_named(words: Sequence[str], run: Run) -> tuple[Named, ...]:
    """The jobs that several words mean, each once; every word that means none is told at once."""
    found: dict[tuple[str | None, str], Named] = {}
    problems: list[Problem] = []
    missing: list[str] = []
    for word in words:
        try:
            job = named(word, run)
            found.setdefault((job.job_id, "" if job.job_id else word), job)
        except InvalidInput as error:
            problems += error.problems
        except NotFound as error:
            missing.append(str(error))
    if problems:
        raise InvalidInput(problems)
    if missing:
        raise NotFound("\n".join(missing))
    return tuple(found.values())
