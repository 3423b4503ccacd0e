"""Jobs that are preempted, run out of time or lose a node, on the real cluster: they save and go on."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import hpctools
from hpctools.sandbox import faults
from hpctools.sandbox.daemons import Sandbox
from tests.slurm.preempted import EXAMPLE, field, losses, result, slurm, start_now, torch_python, until

__all__ = ["torch_python"]  # a fixture
STEPS = 40
# Runs a script, and from the second attempt on with words that win over earlier ones.
AGAIN = """
import os, runpy, sys
sys.argv = [*sys.argv[1:], *(os.environ["AGAIN"].split() if os.environ["HPCTOOLS_ATTEMPT"] != "0" else [])]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def train(folder: Path, python: str, *words: str, again: str = "--step-s=0", **settings: object) -> Any:
    """Submits the example: 2 nodes, a rank each, its usual steps. The first attempt is slow, so that what is
    to befall it comes before its end on any machine."""
    usual: dict[str, Any] = {"nodes": 2, "gpus_per_node": 1, "time": "10", "runs_dir": str(folder)}
    given = [str(EXAMPLE), f"--steps={STEPS}", "--log-every=1", "--step-s=2", *words]
    usual |= {"python": python, "command": True, "env": {"AGAIN": again}, **settings}
    return hpctools.submit(python, "-c", AGAIN, *given, **usual)


@pytest.fixture(scope="module")
def whole(
    sandbox: Sandbox, torch_python: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], dict[int, str]]:
    """The losses of the same training when nothing happens to it; it runs beside the others."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sandbox.command_env(os.environ).items():
            patch.setenv(name, value)
        # It takes no room from others.
        small: dict[str, Any] = {"gpus_per_node": 0, "cpus_per_task": 1, "mem": "1G"}
        folder = tmp_path_factory.mktemp("whole")
        job = train(folder, torch_python, "--step-s=0", partition="urgent", **small)

    def result() -> dict[int, str]:
        assert job.wait() == 0, job.logs()
        return losses(job)

    return result


def at_once(*stories: Callable[[], None]) -> None:
    """Mostly they wait. Each is told to its end, also when another one fails."""
    with ThreadPoolExecutor() as pool:
        told = [pool.submit(story) for story in stories]
    for one in told:
        one.result()


def assert_resumed(job: hpctools.Job, whole: dict[int, str], saved: int) -> None:
    """It went on after the step that was saved, and learned what it would have learned anyhow."""
    assert job.wait() == 0, job.logs()
    assert f"resumed after step {saved} from" in job.logs()
    assert losses(job) == whole
    assert len(whole) == STEPS
    found = job.result()
    assert found is not None
    assert found.state == "finished"


def test_a_preempted_job_saves_makes_room_at_once_and_goes_on(
    slurm_env: Mapping[str, str], torch_python: str, tmp_path: Path, whole: Callable[[], dict[int, str]]
) -> None:
    """By torchrun and by srun alike. The grace time is a minute; nothing here asks how long it took."""

    def preempt(launcher: str, nodes: str) -> None:
        words, settings = ["--save-s=3", "--save-every=1000"], {"launcher": launcher, "nodelist": nodes}
        job = train(tmp_path, torch_python, *words, **settings, partition="scavenge")
        until(lambda: f"step 2/{STEPS}" in job.logs(), job)
        asked = ["--partition=urgent", f"--nodelist={nodes}", "--gpus-per-node=8", "--mem=1G", "--nodes=2"]
        preemptor = slurm("sbatch", "--parsable", *asked, "--output=/dev/null", "--wrap=sleep 1").strip()
        until(lambda: field(preemptor, "JobState") not in ("PENDING", "CONFIGURING"), job)
        # All ranks had saved and left by themselves when it started: Slurm has not ended them.
        ended = result(job)
        saved = ended["checkpoint"]["step"]
        assert (ended["state"], ended["status"], ended["next"]["verb"]) == ("checkpointed", 75, "requeue")
        assert job.run is not None
        marks = [json.loads(path.read_text()) for path in (job.run / "attempt-0").glob("checkpoint-*.json")]
        assert [mark["step"] for mark in marks] == [saved, saved]
        assert f"saved after step {saved}, to go on from there" in job.logs()
        start_now(job)
        assert_resumed(job, whole(), saved)

    at_once(lambda: preempt("torchrun", "n[1-2]"), lambda: preempt("srun", "n[3-4]"))


@pytest.mark.native
def test_neither_the_time_limit_nor_a_dead_node_costs_more_than_an_interval(
    slurm_env: Mapping[str, str],
    torch_python: str,
    tmp_path: Path,
    whole: Callable[[], dict[int, str]],
    sandbox: Sandbox,
) -> None:
    def out_of_time() -> None:
        """Slurm warns so long before the limit, or up to a minute earlier. Where the site forbids requeue,
        the run goes on under another id."""
        words = ["--step-s=5", "--save-every=1000"]
        settings = {"time": "2", "warn_before": 85, "sbatch_option": ["no-requeue"], "launcher": "srun"}
        job = train(tmp_path, torch_python, *words, again="--step-s=5", **settings, nodelist="n[3-4]")
        until(lambda: "it goes on as job" in job.logs(), job)
        ended = result(job)
        assert (ended["state"], ended["next"]["verb"]) == ("checkpointed", "successor")
        successor = ended["next"]["job_id"]
        slurm("scontrol", "update", f"JobId={successor}", "TimeLimit=10")
        until(lambda: f"resumed after step {ended['checkpoint']['step']} from" in job.logs(), job)
        assert job.status().parts[0].job.job_id == successor  # who asks for the first is told of the second
        assert hpctools.job(successor).status().seen.record == job.status().seen.record
        shown = losses(job)
        assert shown == {step: loss for step, loss in whole().items() if step in shown}
        job.cancel()
        assert job.wait() == 143

    def lost_node() -> None:
        job = train(tmp_path, torch_python, "--save-every=2", nodelist="n[1-2]")
        until(lambda: f"step 3/{STEPS}" in job.logs(), job)
        faults.fail(sandbox.spec.name, nodes=["n2"])
        try:
            until(lambda: field(job.job_id, "JobState") != "RUNNING", job)
            lost_at = max(losses(job))
            until(lambda: field(job.job_id, "JobState") == "PENDING", job)
            # Elsewhere: a node that is back gets orders to end the earlier attempt, which has the same id.
            slurm("scontrol", "update", f"JobId={job.job_id}", "ReqNodeList=n1,n3")
            start_now(job)
            assert job.wait() == 0, job.logs()
        finally:
            faults.heal(sandbox.spec.name, lambda text: None)
        saved = int(re.findall(r"resumed after step (\d+) from", job.logs())[0])
        assert lost_at - saved <= 2
        assert_resumed(job, whole(), saved)

    at_once(out_of_time, lost_node)
    assert slurm("squeue", "--noheader", "--me", "--states=pending,running").strip() == ""


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
