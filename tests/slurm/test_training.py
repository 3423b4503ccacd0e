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


STUBBORN = """
import os, signal, subprocess, sys, time
from hpctools import preemption
preemption.Watch()  # the others catch SIGTERM, and would wait for the dead rank for ever
subprocess.Popen(["sleep", "1000"])  # a loader of data that nobody ends
print("rank", os.environ["RANK"], flush=True)
while os.environ["RANK"] != "3":
    time.sleep(1)
time.sleep(1)
sys.exit(7)
"""


def left_of(job: hpctools.Job) -> list[str]:
    """What still runs of a job, on any node: all nodes are this machine."""
    mark = f"SLURM_JOB_ID={job.job_id}\0".encode()
    folder = str(job.run).encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment, words = (process / "environ").read_bytes(), (process / "cmdline").read_bytes()
        except OSError:  # it has ended, or is not ours
            continue
        if mark in environment and (folder in environment or folder in words):
            found.append(words.replace(b"\0", b" ").decode(errors="replace"))
    return found


@pytest.mark.parametrize("launcher", ["torchrun", "srun"])
def test_a_job_ends_as_the_rank_that_failed_and_leaves_nothing(
    slurm_env: Mapping[str, str], torch_python: str, tmp_path: Path, launcher: str
) -> None:
    """Also when the other ranks would go on for ever; Slurm is patient with them for KillWait."""
    settings: dict[str, Any] = {"nodes": 2, "gpus_per_node": 2, "time": "5", "runs_dir": str(tmp_path)}
    settings |= {"command": True, "python": torch_python, "launcher": launcher}
    job = hpctools.submit(torch_python, "-c", STUBBORN, **settings)
    assert job.wait() == 7
    end = time.monotonic() + 60
    while left := left_of(job):  # Slurm tells of the end before the last one is reaped
        assert time.monotonic() < end, left
        time.sleep(0.2)
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


MEET = """
import os, socket, time
rank, ranks, at = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), os.environ["MASTER_ADDR"]
me = f"{os.environ['SLURM_JOB_ID']}".encode()
if rank == 0:
    with socket.create_server(("", int(os.environ["MASTER_PORT"]))) as server:
        for _ in range(ranks - 1):
            other, _ = server.accept()
            other.sendall(me)
            assert other.recv(100) == me
            other.close()
    print("met on", os.environ["MASTER_PORT"], flush=True)
else:
    while True:
        try:
            with socket.create_connection((at, int(os.environ["MASTER_PORT"]))) as server:
                found = server.recv(100)
                server.sendall(me)
        except OSError:
            time.sleep(0.1)
        else:
            break
    assert found == me, f"met job {found} instead"
"""


def start_at_once(jobs: list[hpctools.Job]) -> None:
    """Jobs that were submitted held, as nearly together as Slurm does it."""
    subprocess.run(["scontrol", "release", ",".join(str(job.job_id) for job in jobs)], check=True)


@pytest.mark.native
def test_two_jobs_of_torchrun_on_one_node_do_not_meet(
    slurm_env: Mapping[str, str], torch_python: str, tmp_path: Path
) -> None:
    """Each would try the same port first: one is all that the site has, but for another one."""
    settings: dict[str, Any] = {"nodelist": "n1", "gpus_per_node": 2, "time": "5", "runs_dir": str(tmp_path)}
    settings |= {"sbatch_option": ["hold"], "set": {"site.ports": "21000-21001"}}
    jobs = [hpctools.submit(str(EXAMPLE), "--steps=5", python=torch_python, **settings) for _ in range(2)]
    start_at_once(jobs)
    assert [job.wait() for job in jobs] == [0, 0], [job.logs() for job in jobs]


@pytest.mark.slow
def test_two_hundred_jobs_started_together_all_meet(slurm_env: Mapping[str, str], tmp_path: Path) -> None:
    """Two ranks each, by srun, on nodes that are one machine: with as many ports as jobs."""
    settings: dict[str, Any] = {"nodes": 1, "gpus_per_node": 0, "ranks_per_node": 2, "launcher": "srun"}
    settings |= {"command": True, "time": "30", "runs_dir": str(tmp_path), "cpus_per_task": 1, "mem": "10M"}
    settings |= {"sbatch_option": ["hold", "oversubscribe"], "set": {"site.ports": "22000-22199"}}
    jobs = [hpctools.submit(sys.executable, "-c", MEET, **settings) for _ in range(200)]
    start_at_once(jobs)
    assert [job.wait() for job in jobs] == [0] * 200
    ports = [job.logs(0).split()[-1] for job in jobs]
    assert all(22000 <= int(port) < 22200 for port in ports)
