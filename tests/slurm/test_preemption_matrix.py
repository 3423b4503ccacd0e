"""The whole promise of docs/preemption.md, for one release and one way of tracking processes a run.

    scripts/test -m slow tests/slurm/test_preemption_matrix.py -s --slurm 26.05 --proctrack cgroup

A checkpoint of 45 s in a grace time of 60 s, five preemptions, a time limit, a node that dies. What each
took is printed: docs/preemption.md has the table.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import hpctools
from hpctools.sandbox import faults
from hpctools.sandbox.daemons import Sandbox
from tests.slurm.preempted import EXAMPLE, field, losses, result, slurm, start_now, torch_python, until

__all__ = ["torch_python"]  # a fixture
pytestmark = pytest.mark.slow
STEPS = 250
PREEMPTIONS = 5
LONG_S = 600


class Trials:
    """The jobs of one launcher, and the losses that they all must have."""

    def __init__(self, launcher: str, nodes: int, python: str, folder: Path) -> None:
        self.nodes = nodes
        self.usual: dict[str, Any] = {"nodes": nodes, "gpus_per_node": 1, "launcher": launcher}
        self.usual |= {"python": python, "runs_dir": str(folder), "time": "30"}
        self.whole: dict[int, str] = {}

    def submit(self, *words: str, **settings: object) -> hpctools.Job:
        words = (f"--steps={STEPS}", "--log-every=1", *words)
        return hpctools.submit(str(EXAMPLE), *words, **{**self.usual, **settings})

    def learn_alone(self) -> None:
        """The losses of the training when nothing happens to it."""
        alone = self.submit()
        assert alone.wait() == 0, alone.logs()
        self.whole = losses(alone)

    def assert_whole(self, job: hpctools.Job) -> None:
        assert job.wait() == 0, job.logs()
        assert losses(job) == self.whole
        assert len(self.whole) == STEPS

    def assert_saved(self, job: hpctools.Job, attempt: int, verb: str = "requeue") -> dict[str, float]:
        """Every rank's checkpoint is whole and of one step; the job itself asked to be started again, so it
        had left before Slurm ended it. Returns when it was warned and when it had saved."""
        ended = result(job, attempt)
        assert (ended["state"], ended["next"]["verb"]) == ("checkpointed", verb), (ended, job.logs())
        assert job.run is not None
        folder = job.run / f"attempt-{attempt}"
        marks = [json.loads(path.read_text()) for path in folder.glob("checkpoint-*.json")]
        assert [mark["step"] for mark in marks] == [ended["checkpoint"]["step"]] * self.nodes
        assert min(mark["seconds"] for mark in marks) >= 45
        ranks = [json.loads(path.read_text()) for path in folder.glob("rank-*.json")]
        assert [one["status"] for one in ranks] == [75] * self.nodes
        return {"warned": min(one["warned_s"] for one in ranks), "saved": max(one["at_s"] for one in marks)}

    def preempted(self, nodelist: str) -> str:
        job = self.submit(
            "--step-s=0.3", "--save-s=45", "--save-every=1000", partition="scavenge", nodelist=nodelist
        )
        took = []
        for attempt in range(PREEMPTIONS):
            until(lambda: job.logs().count(f"all {self.nodes} ranks on") == attempt + 1, job, LONG_S)  # noqa: B023
            before = max(losses(job), default=0)
            until(lambda: max(losses(job), default=0) > before + 3, job, LONG_S)  # noqa: B023
            preemptor = slurm(
                "sbatch", "--parsable", "--partition=urgent", f"--nodelist={nodelist}", "--exclusive",
                f"--nodes={self.nodes}", "--output=/dev/null", "--wrap=sleep 1",
            ).strip()  # fmt: skip
            until(lambda: field(preemptor, "JobState") not in ("PENDING", "CONFIGURING"), job, LONG_S)  # noqa: B023
            times = self.assert_saved(job, attempt)
            started_s = when(preemptor, "StartTime")
            took.append(f"{times['saved'] - times['warned']:.0f}/{started_s - times['warned']:.0f}")
            start_now(job)
        self.assert_whole(job)
        return f"preempted, saved/preemptor started after s: {' '.join(took)}"

    def out_of_time(self, nodelist: str) -> str:
        words = ["--step-s=0.5", "--save-s=45", "--save-every=1000"]
        job = self.submit(*words, time="3", warn_before=75, nodelist=nodelist)
        until(lambda: "to be started again" in job.logs(), job, LONG_S)
        until(lambda: field(job.job_id, "JobState") == "PENDING", job, LONG_S)
        times = self.assert_saved(job, 0)
        slurm("scontrol", "update", f"JobId={job.job_id}", "TimeLimit=30")
        start_now(job)
        self.assert_whole(job)
        return f"time limit: saved after {times['saved'] - times['warned']:.0f} s"

    def lost_node(self, nodes: list[str], sandbox: Sandbox) -> str:
        job = self.submit("--step-s=0.2", "--save-every=10", nodelist=",".join(nodes))
        until(lambda: f"step 25/{STEPS}" in job.logs(), job, LONG_S)
        failed_s = time.time()
        faults.fail(sandbox.spec.name, nodes=[nodes[-1]])
        try:
            until(lambda: field(job.job_id, "JobState") != "RUNNING", job, LONG_S)
            noticed_s, lost_at = time.time(), max(losses(job))
        finally:
            faults.heal(sandbox.spec.name, lambda text: None)
        # Not start_now: within the two minutes that Slurm lets it wait, the node that is back gets the orders
        # to end the earlier attempt, and would end this one, which has the same id (seen with 22.05).
        self.assert_whole(job)
        saved = int(re.findall(r"resumed after step (\d+) from", job.logs())[-1])
        assert 0 <= lost_at - saved <= 10
        return f"node died: noticed after {noticed_s - failed_s:.0f} s, {lost_at - saved} of 10 steps lost"


def tell(sandbox: Sandbox, launcher: str, nodes: int, *lines: str) -> None:
    """For docs/preemption.md."""
    tracking = f"proctrack/{sandbox.spec.proctrack}"
    print(f"\nSlurm {sandbox.release}, {tracking}, {launcher}, {nodes} nodes:", *lines, sep="\n")


def when(job_id: str, name: str) -> float:
    """A time of a job's, in seconds since 1970."""
    return time.mktime(time.strptime(field(job_id, name), "%Y-%m-%dT%H:%M:%S"))


@pytest.mark.parametrize("launcher", ["torchrun", "srun"])
def test_a_training_outlives_preemptions_and_its_time_limit(
    launcher: str, slurm_env: Mapping[str, str], sandbox: Sandbox, torch_python: str, tmp_path: Path
) -> None:
    """Preempted on two nodes; at once, on two others, out of time."""
    nodes = sandbox.spec.node_names
    trials = Trials(launcher, 2, torch_python, tmp_path)
    trials.learn_alone()
    with ThreadPoolExecutor() as pool:
        preempted = pool.submit(trials.preempted, ",".join(nodes[:2]))
        out_of_time = pool.submit(trials.out_of_time, ",".join(nodes[2:]))
    tell(sandbox, launcher, 2, preempted.result(), out_of_time.result())


@pytest.mark.parametrize("launcher", ["torchrun", "srun"])
def test_a_node_that_dies_costs_a_training_at_most_one_interval(
    launcher: str, slurm_env: Mapping[str, str], sandbox: Sandbox, torch_python: str, tmp_path: Path
) -> None:
    trials = Trials(launcher, 2, torch_python, tmp_path)
    trials.learn_alone()
    tell(sandbox, launcher, 2, trials.lost_node(list(sandbox.spec.node_names[2:]), sandbox))


@pytest.mark.parametrize("launcher", ["torchrun", "srun"])
def test_a_training_on_four_nodes_outlives_preemptions(
    launcher: str, slurm_env: Mapping[str, str], sandbox: Sandbox, torch_python: str, tmp_path: Path
) -> None:
    trials = Trials(launcher, 4, torch_python, tmp_path)
    trials.learn_alone()
    tell(sandbox, launcher, 4, trials.preempted(",".join(sandbox.spec.node_names)))
