"""Job ids as Slurm and its users write them.

12        a job                        15_3        one task of the array 15
12+1      a component of a             15_[4-7%2]  tasks of the array 15 that wait, two at once
          heterogeneous job
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hpctools.errors import ParseError

_JOB_ID = re.compile(r"([0-9]+)(?:_(?:([0-9]+)|\[([^\[\]]*)\])|\+([0-9]+))?")


@dataclass(frozen=True)
class JobId:
    """job is the number before any sign; tasks is "3" or "4-7%2"; component counts from 0."""

    job: str
    tasks: str | None = None
    component: int | None = None

    def __str__(self) -> str:
        if self.component is not None:
            return f"{self.job}+{self.component}"
        if self.tasks is None:
            return self.job
        return f"{self.job}_{self.tasks if self.tasks.isdigit() else f'[{self.tasks}]'}"


def parse(text: str) -> JobId:
    """A job id; str of the answer is text again. Raises ParseError."""
    match = _JOB_ID.fullmatch(text)
    if not match:
        raise ParseError("a job id", text)
    job, task, tasks, component = match.groups()
    return JobId(job, task if task is not None else tasks, None if component is None else int(component))
