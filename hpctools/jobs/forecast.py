"""When a job could start: what sbatch --test-only promises, and who waits before it.

--test-only looks at running jobs only: it names the moment at which the job would start if no
pending job were ahead. What the scheduler has planned for those stands in squeue --start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpctools.errors import HpctoolsError
from hpctools.jobs import queries
from hpctools.jobs.resources import partition_of
from hpctools.jobs.submission import Plan
from hpctools.process import Run
from hpctools.slurm import units
from hpctools.slurm.sbatch import TestOnly


@dataclass(frozen=True)
class Forecast:
    """start_s: the earliest, seconds since 1970. waiting: pending jobs in the same partitions,
    planned_s: the moments at which the scheduler expects those to start that it has planned.
    """

    start_s: int | None
    nodes: str
    partition: str
    preempts: tuple[str, ...]
    waiting: int | None
    planned_s: tuple[int, ...]


def read(plan: Plan, answer: TestOnly, run: Run) -> Forecast:
    """A forecast from an answer of sbatch --test-only and the queue as it is."""
    partition = answer.partition or partition_of(plan.request.spec, plan.facts) or ""
    start_s = units.parse_time_s(answer.start or "")
    try:
        queue = queries.queue(run)
    except HpctoolsError:
        return Forecast(start_s, answer.nodes or "", partition, answer.preempts, None, ())
    ahead = [job for job in queue if job.state == "PENDING" and partition in job.partition.split(",")]
    planned = tuple(sorted(job.start_s for job in ahead if job.start_s))
    return Forecast(start_s, answer.nodes or "", partition, answer.preempts, len(ahead), planned)


def lines(seen: Forecast) -> list[str]:
    """What people are told."""
    import time

    def moment(seconds: int | None) -> str:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else "an unknown time"

    where = f" on {seen.nodes}" if seen.nodes else ""
    found = [
        f"could start at {moment(seen.start_s)}{where} in partition {seen.partition},"
        " if no pending job were ahead (sbatch --test-only)"
    ]
    if seen.preempts:
        found.append(f"by preempting {', '.join(seen.preempts)}")
    if seen.waiting is None:
        found.append("how many jobs wait is not known: squeue did not answer")
    elif seen.waiting == 0:
        found.append(f"no job waits in partition {seen.partition}")
    else:
        text = f"{seen.waiting} job{'s' * (seen.waiting > 1)} wait in partition {seen.partition}"
        if seen.planned_s:
            first, last = moment(seen.planned_s[0]), moment(seen.planned_s[-1])
            text += f"; {len(seen.planned_s)} planned to start, the first at {first}, the last at {last}"
        found.append(f"{text} (squeue --start)")
    return found


def described(seen: Forecast) -> Mapping[str, object]:
    """The forecast as --json prints it."""
    return {
        "earliest_start_s": seen.start_s,
        "nodes": seen.nodes,
        "partition": seen.partition,
        "preempts": list(seen.preempts),
        "waiting": seen.waiting,
        "planned_s": list(seen.planned_s),
    }
