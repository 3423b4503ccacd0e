"""scancel: ends jobs."""

from __future__ import annotations


def command(job_id: str) -> list[str]:
    """The words that end one job, all tasks of an array, or one task (15_3).

    Its status is 0 also for jobs that slurmctld has never known or that have ended: ask squeue
    before. It is not 0, with a message on stderr, for jobs of others.
    """
    return ["scancel", job_id]
