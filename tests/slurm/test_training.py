"""Jobs from end to end on the real cluster: torchrun and plain ones, well and badly ended."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import hpctools

EXAMPLE = Path(__file__).parents[2] / "examples" / "train.py"
# Read here: no test sees the user's own HPCTOOLS_ variables.
PYTHON = os.environ.get("HPCTOOLS_PYTHON") or sys.executable


@pytest.fixture(scope="module")
def torch_python() -> str:
    """An interpreter that has torch; where there is none the test is left out, in CI it fails."""
    if subprocess.run([PYTHON, "-c", "import torch"], capture_output=True).returncode:
        reason = f"{PYTHON} has no torch; HPCTOOLS_PYTHON names one that has"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return PYTHON


@pytest.fixture
def bash(slurm_env: Mapping[str, str], tmp_path: Path) -> Callable[..., hpctools.Job]:
    """Submits a line of bash as a plain job: 2 nodes, 2 tasks each."""

    def submit(code: str, **settings: object) -> hpctools.Job:
        usual = {"nodes": 2, "ranks_per_node": 2, "gpus_per_node": 1, "runs_dir": str(tmp_path), "time": "5"}
        given: dict[str, Any] = {**usual, "command": True, "launcher": "none", **settings}
        return hpctools.submit("bash", "-c", code, **given)

    return submit


def wait_for_log(job: hpctools.Job, text: str, times: int) -> None:
    end = time.monotonic() + 60
    while job.logs().count(text) < times:
        assert time.monotonic() < end, job.logs()
        time.sleep(0.2)


def test_the_example_trains_on_four_nodes_and_goes_on_from_its_checkpoint(
    slurm_env: Mapping[str, str], torch_python: str, tmp_path: Path
) -> None:
    """Two jobs of 20 steps give the same loss as one of 40, to the last digit."""
    usual: dict[str, Any] = {"nodes": 4, "gpus_per_node": 1, "time": "10", "runs_dir": str(tmp_path)}

    def train(steps: int, checkpoint: str) -> str:
        words = ["--steps", str(steps), "--checkpoint", str(tmp_path / checkpoint), "--accumulate", "2"]
        job = hpctools.submit(str(EXAMPLE), *words, python=torch_python, **usual)
        assert job.wait() == 0, job.logs()
        assert "[0] all 4 ranks on 4 nodes are here (gloo)" in job.logs()
        return next(line for line in job.logs().splitlines() if f"step {steps}/{steps}" in line).split()[4]

    whole = train(40, "one")
    train(20, "two")
    assert train(40, "two") == whole


def test_a_job_of_torchrun_ends_as_the_rank_that_failed(
    slurm_env: Mapping[str, str], torch_python: str, tmp_path: Path
) -> None:
    program = "echo rank $RANK; [ $RANK = 3 ] && sleep 1 && exit 7; sleep 100"
    settings: dict[str, Any] = {"nodes": 2, "gpus_per_node": 2, "time": "5", "runs_dir": str(tmp_path)}
    job = hpctools.submit("bash", "-c", program, command=True, python=torch_python, **settings)
    assert job.wait() == 7
    result = job.result()
    assert result is not None
    assert result.first_failure is not None
    assert (result.first_failure.rank, result.first_failure.status) == (3, 7)
    assert "hpctools: rank 3 on n2" in job.logs()
    assert "failed first: status 7\nhpctools:   | rank 3\n" in job.logs()
    assert "Traceback" not in job.logs()  # of torchrun, on every node


@pytest.mark.parametrize(("death", "status"), [("exit 7", 7), ("kill -KILL $$", 137), ("kill -SEGV $$", 139)])
def test_a_plain_job_ends_as_the_task_that_failed(
    bash: Callable[..., hpctools.Job], death: str, status: int
) -> None:
    job = bash(f"[ $SLURM_PROCID = 2 ] && sleep 0.5 && {death}; sleep 100")
    assert job.wait() == status
    result = job.result()
    assert result is not None
    assert result.first_failure is not None
    assert (result.first_failure.rank, result.first_failure.host) == (2, "n2")


def test_a_cancelled_job_is_no_ranks_failure(bash: Callable[..., hpctools.Job]) -> None:
    job = bash("echo ready; sleep 100")
    wait_for_log(job, "ready", times=4)
    job.cancel()
    assert job.wait() == 143
    result = job.result()
    assert result is not None
    assert (result.status, result.first_failure) == (143, None)


SAVES = """
import signal, time
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(time.monotonic()))
print("ready", flush=True)
while not asked or time.monotonic() < asked[0] + 2:
    time.sleep(0.05)
print("saved", flush=True)
"""


def test_ranks_that_save_when_told_to_stop_are_let_finish(bash: Callable[..., hpctools.Job]) -> None:
    job = bash(f"exec {shlex.quote(sys.executable)} -c {shlex.quote(SAVES)}")
    wait_for_log(job, "ready", times=4)
    job.cancel()
    job.wait()
    assert [job.logs(rank) for rank in range(4)] == ["ready\nsaved\n"] * 4


def test_a_run_that_was_submitted_twice_runs_once(
    bash: Callable[..., hpctools.Job], slurm_env: Mapping[str, str]
) -> None:
    job = bash("echo ran; sleep 3", nodes=1)
    wait_for_log(job, "ran", times=2)
    assert job.run is not None
    again = ["sbatch", "--wait", "--parsable", str(job.run / "job.sbatch")]
    done = subprocess.run(again, env=dict(slurm_env), capture_output=True, text=True)
    assert done.returncode == 1
    assert job.wait() == 0
    log = job.logs()
    assert log.count("ran") == 2
    assert f"job {done.stdout.split()[0]} is a second submission of {job.run}" in log


def test_the_tasks_of_an_array_share_a_run_and_no_logs(bash: Callable[..., hpctools.Job]) -> None:
    job = bash("echo $SLURM_ARRAY_TASK_ID in $HPCTOOLS_RUN", nodes=1, array="3-5", ranks_per_node=1)
    assert job.wait() == 0
    for task in "345":
        log = job.run / f"task-{task}" / "attempt-0" / "rank-00000.log" if job.run else Path()
        assert log.read_text() == f"{task} in {job.run}/task-{task}\n"
