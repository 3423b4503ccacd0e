"""What the tests of preemption share: watching a training, and Slurm's word on it."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from typing import Any

import hpctools
from tests.slurm.test_training import EXAMPLE, torch_python

__all__ = ["EXAMPLE", "torch_python"]
LOSS = re.compile(r"step (\d+)/\d+  loss (\S+)")


def losses(job: hpctools.Job) -> dict[int, str]:
    """Every step's loss; of a step that was done twice, each must be the same."""
    found: dict[int, str] = {}
    for step, loss in LOSS.findall(job.logs()):
        assert found.setdefault(int(step), loss) == loss
    return found


def until(happened: Callable[[], object], job: hpctools.Job, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, job.logs()
        time.sleep(0.3)


def slurm(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=300).stdout


def field(job_id: str | None, name: str) -> str:
    found = re.search(rf"\b{name}=(\S*)", slurm("scontrol", "show", "job", str(job_id)))
    assert found is not None
    return found[1]


def start_now(job: hpctools.Job) -> None:
    """Slurm starts a requeued job two minutes later: they need not be waited for. But not within the second
    in which the run before has ended: slurmd would take the new one's credential for the old one's, and
    Slurm 22.05 lets it wait for the CPUs of its own earlier step for ever."""
    until(
        lambda: field(job.job_id, "JobState") == "PENDING" and field(job.job_id, "Reason") == "BeginTime", job
    )
    slurm("scontrol", "update", f"JobId={job.job_id}", "StartTime=now+4")


def result(job: hpctools.Job, attempt: int = 0) -> dict[str, Any]:
    assert job.run is not None
    loaded: dict[str, Any] = json.loads((job.run / f"attempt-{attempt}" / "result.json").read_text())
    return loaded
