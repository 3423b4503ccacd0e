"""Jobs that are preempted, run out of time or lose a node, on the real cluster: they save and go on."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import hpctools
from hpctools.sandbox import cluster, faults
from hpctools.sandbox.daemons import Sandbox
from hpctools.sandbox.spec import Spec
from tests.slurm.test_training import EXAMPLE, torch_python

__all__ = ["torch_python"]  # a fixture
STEPS = 60
LOSS = re.compile(r"step (\d+)/\d+  loss (\S+)")
Train = Callable[..., hpctools.Job]


@pytest.fixture
def train(slurm_env: Mapping[str, str], torch_python: str, tmp_path: Path) -> Train:
    """Submits the example: 2 nodes, a rank each, its usual steps."""

    def submit(*words: str, **settings: object) -> hpctools.Job:
        usual: dict[str, Any] = {"nodes": 2, "gpus_per_node": 1, "time": "10", "runs_dir": str(tmp_path)}
        given = [f"--steps={STEPS}", "--log-every=1", "--step-s=0.1", *words]
        return hpctools.submit(str(EXAMPLE), *given, **{**usual, "python": torch_python, **settings})

    return submit


@pytest.fixture
def whole(train: Train) -> Iterator[Callable[[], dict[int, str]]]:
    """The losses of the same training when nothing happens to it; it runs beside the other one."""
    job = train("--step-s=0", partition="urgent", exclude="n[1-2]")

    def result() -> dict[int, str]:
        assert job.wait() == 0, job.logs()
        return losses(job)

    yield result
    job.cancel()


def losses(job: hpctools.Job) -> dict[int, str]:
    """Every step's loss; of a step that was done twice, each must be the same."""
    found: dict[int, str] = {}
    for step, loss in LOSS.findall(job.logs()):
        assert found.setdefault(int(step), loss) == loss
    return found


def until(happened: Callable[[], object], job: hpctools.Job, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, job.logs()
        time.sleep(0.3)


def slurm(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout


def field(job_id: str | None, name: str) -> str:
    found = re.search(rf"\b{name}=(\S*)", slurm("scontrol", "show", "job", str(job_id)))
    assert found is not None
    return found[1]


def start_now(job: hpctools.Job) -> None:
    """Slurm starts a requeued job two minutes later: they need not be waited for. But within the same
    second Slurm 22.05 lets it wait for the CPUs of its own earlier step for ever."""
    until(lambda: field(job.job_id, "JobState") == "PENDING", job)
    time.sleep(4)
    slurm("scontrol", "update", f"JobId={job.job_id}", "StartTime=now")


def result(job: hpctools.Job, attempt: int = 0) -> dict[str, Any]:
    assert job.run is not None
    loaded: dict[str, Any] = json.loads((job.run / f"attempt-{attempt}" / "result.json").read_text())
    return loaded


def assert_resumed(job: hpctools.Job, whole: dict[int, str], saved: int) -> None:
    """It went on after the step that was saved, and learned what it would have learned anyhow."""
    assert f"resumed after step {saved} from" in job.logs()
    assert losses(job) == whole
    assert len(whole) == STEPS
    found = job.result()
    assert found is not None
    assert found.state == "finished"


def test_a_preempted_job_saves_makes_room_at_once_and_goes_on(
    train: Train, whole: Callable[[], dict[int, str]]
) -> None:
    job = train("--save-s=8", "--save-every=1000", partition="scavenge", nodelist="n[1-2]")
    until(lambda: f"step 5/{STEPS}" in job.logs(), job)
    words = ["--partition=urgent", "--nodelist=n[1-2]", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"]
    preemptor = slurm("sbatch", "--parsable", *words, "--nodes=2").strip()
    until(lambda: field(preemptor, "JobState") not in ("PENDING", "CONFIGURING"), job)
    # All ranks had saved when it started, long before the grace time was over.
    ended = result(job)
    saved = ended["checkpoint"]["step"]
    assert (ended["state"], ended["status"], ended["next"]["verb"]) == ("checkpointed", 75, "requeue")
    assert job.run is not None
    marks = [json.loads(path.read_text()) for path in (job.run / "attempt-0").glob("checkpoint-*.json")]
    assert [mark["step"] for mark in marks] == [saved, saved]
    assert f"saved after step {saved}, to go on from there" in job.logs()
    start_now(job)
    assert job.wait() == 0, job.logs()
    assert_resumed(job, whole(), saved)


def test_a_job_out_of_time_goes_on_as_another_one_where_requeue_is_forbidden(
    train: Train, whole: Callable[[], dict[int, str]]
) -> None:
    """Slurm warns some time before the limit of a minute, of which the training would need two."""
    words = ["--step-s=2", "--save-every=1000"]
    settings = {"time": "1", "warn_before": 25, "sbatch_option": ["no-requeue"]}
    job = train(*words, **settings, nodelist="n[1-2]")
    until(lambda: "it goes on as job" in job.logs(), job)
    ended = result(job)
    assert (ended["state"], ended["next"]["verb"]) == ("checkpointed", "successor")
    successor = ended["next"]["job_id"]
    until(lambda: f"resumed after step {ended['checkpoint']['step']} from" in job.logs(), job)
    assert job.status().parts[0].job.job_id == successor  # who asks for the first is told of the second
    shown = losses(job)
    assert shown == {step: loss for step, loss in whole().items() if step in shown}
    job.cancel()
    assert job.wait() == 143
    assert slurm("squeue", "--noheader", "--me", "--states=pending,running").strip() == ""


@pytest.mark.native
def test_a_node_that_dies_costs_at_most_one_interval(
    train: Train, whole: Callable[[], dict[int, str]], sandbox: Sandbox
) -> None:
    job = train("--save-every=10", nodelist="n[1-2]")
    until(lambda: f"step 25/{STEPS}" in job.logs(), job)
    faults.fail(sandbox.spec.name, nodes=["n2"])
    try:
        until(lambda: field(job.job_id, "JobState") != "RUNNING", job)
        lost_at = max(losses(job))
    finally:
        faults.heal(sandbox.spec.name, lambda text: None)
    start_now(job)
    assert job.wait() == 0, job.logs()
    saved = int(re.findall(r"resumed after step (\d+) from", job.logs())[-1])
    assert lost_at - saved <= 10
    assert_resumed(job, whole(), saved)


def test_a_node_found_bad_is_left_out_once(slurm_env: Mapping[str, str], tmp_path: Path) -> None:
    """Every node says that it is broken, and fails: the second one is not believed any more."""
    code = "from hpctools import preemption; preemption.bad_node('broken'); raise SystemExit(7)"
    settings: dict[str, Any] = {"launcher": "none", "gpus_per_node": 0, "runs_dir": str(tmp_path)}
    job = hpctools.submit(
        sys.executable,
        "-c",
        code,
        command=True,
        time="5",
        exclude="n4",
        **settings,
    )
    assert job.wait() == 7, job.logs()
    assert job.run is not None
    first, second = (json.loads((job.run / f"attempt-{n}" / "begin.json").read_text()) for n in (0, 1))
    assert result(job)["next"]["exclude"] == [first["nodes"]]
    assert second["nodes"] not in (first["nodes"], "n4")
    assert f"bad nodes are left out ({first['nodes']}: broken)" in job.logs()
    assert result(job, 1)["next"]["verb"] == "end"
    assert not (job.run / "attempt-2").exists()


@pytest.fixture(params=["linuxproc", "cgroup"])
def tracked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A cluster of its own with each way to track processes; jobs go there."""
    if request.param == "cgroup" and os.geteuid():
        pytest.skip("proctrack/cgroup needs root")
    name = f"p{secrets.token_hex(4)}"
    cluster.up(Spec(name=name, proctrack=request.param), lambda text: None)
    try:
        for key, value in cluster.load(name).command_env(os.environ).items():
            monkeypatch.setenv(key, value)
        yield name
    finally:
        cluster.down(name, purge=True)


@pytest.mark.slow
@pytest.mark.native
@pytest.mark.parametrize("nodes", [2, 4])
def test_a_long_checkpoint_completes_in_each_of_five_preemptions(
    tracked: str, torch_python: str, tmp_path: Path, nodes: int
) -> None:
    """A checkpoint of 45 s in a grace time of 60 s."""
    usual: dict[str, Any] = {"nodes": nodes, "gpus_per_node": 1, "time": "30", "runs_dir": str(tmp_path)}
    usual |= {"python": torch_python}
    words = ["--steps=400", "--log-every=1"]
    alone = hpctools.submit(str(EXAMPLE), *words, f"--checkpoint={tmp_path}/alone", **usual)
    assert alone.wait() == 0, alone.logs()
    slow = ["--step-s=0.2", "--save-s=45", "--save-every=1000"]
    job = hpctools.submit(str(EXAMPLE), *words, *slow, **usual, partition="scavenge")
    for attempt in range(5):
        until(lambda: job.logs().count(f"all {nodes} ranks on") == attempt + 1, job)  # noqa: B023
        before = max(losses(job), default=0)
        until(lambda: max(losses(job), default=0) > before + 5, job)  # noqa: B023
        words = ["--partition=urgent", "--nodes=4", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"]
        preemptor = slurm("sbatch", "--parsable", *words).strip()
        until(lambda: field(preemptor, "JobState") not in ("PENDING", "CONFIGURING"), job)  # noqa: B023
        ended = result(job, attempt)
        assert ended["state"] == "checkpointed"
        assert ended["checkpoint"]["seconds"] >= 45
        start_now(job)
    assert job.wait() == 0, job.logs()
    assert losses(job) == losses(alone)
