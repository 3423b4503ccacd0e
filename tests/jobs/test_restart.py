"""hpctools/jobs/runtime/restart.py: when a job is started again, and by what."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hpctools.jobs.runtime import restart
from hpctools.jobs.runtime.restart import Attempt, Decision, Limits

LIMITS = Limits(max_attempts=5, retries=1, crashes=3, crash_s=60)
RUNNING = {"JobState": "RUNNING", "PreemptTime": "None", "RunTime": "00:10:00", "TimeLimit": "01:00:00"}
PREEMPTED = {**RUNNING, "PreemptTime": "2026-11-21T19:00:00"}
CANCELLED = {**RUNNING, "JobState": "COMPLETING"}
OUT_OF_TIME = {**CANCELLED, "RunTime": "01:00:02"}


def ended(*states: str, seconds: float = 600) -> list[Attempt]:
    return [Attempt(number, state, 1, seconds, False) for number, state in enumerate(states)]


def decide(
    so_far: Sequence[Attempt],
    job: dict[str, str] = RUNNING,
    bad: dict[str, str] | None = None,
    lost: Sequence[str] = (),
    had_successor_without: bool = False,
) -> Decision:
    return restart.decide(so_far, LIMITS, job, bad or {}, lost, had_successor_without)


@pytest.mark.parametrize(
    ("state", "job", "verb"),
    [
        ("finished", PREEMPTED, "end"),
        ("do not restart", PREEMPTED, "end"),
        ("checkpointed", RUNNING, "requeue"),
        ("checkpointed", PREEMPTED, "requeue"),
        ("checkpointed", OUT_OF_TIME, "requeue"),
        ("checkpointed", CANCELLED, "end"),
        ("checkpointed", {}, "requeue"),  # slurmctld does not answer: the requeue will tell
        ("stopped", PREEMPTED, "requeue"),
        ("stopped", CANCELLED, "end"),
        ("stopped", OUT_OF_TIME, "end"),  # nothing was saved: it would run into the limit again
    ],
)
def test_how_it_ended_and_what_slurm_did_decide(state: str, job: dict[str, str], verb: str) -> None:
    assert decide(ended(state), job).verb == verb


def test_what_slurm_has_ended_is_left_to_it() -> None:
    """COMPLETING is what a cancelled job is, and one that Slurm requeues."""
    assert decide(ended("stopped"), CANCELLED).reason == (
        "left to Slurm: the job was cancelled, or is requeued by it already"
    )


def test_a_failed_job_is_retried_as_often_as_asked() -> None:
    assert decide(ended("failed")).verb == "requeue"
    assert decide(ended("failed", "checkpointed", "failed")).verb == "end"


def test_a_failure_because_a_node_died_takes_no_retry() -> None:
    lost = Attempt(0, "failed", 1, 600, True)
    assert decide([lost], lost=["n2"]) == Decision("requeue", "n2 died")
    assert decide([lost, lost._replace(number=1), *ended("", "failed")[1:]]).verb == "requeue"


def test_attempts_are_limited() -> None:
    made = decide(ended("checkpointed", "checkpointed", "checkpointed", "checkpointed", "checkpointed"))
    assert made == Decision("end", "5 attempts were made, as --max-attempts allows")


def test_quick_failures_in_a_row_are_a_crash_loop() -> None:
    quick = ended("failed", "", "failed", seconds=50)
    assert "within 60 s" in restart.crash_loop(quick, LIMITS)
    assert restart.crash_loop(quick[1:], LIMITS) == ""
    assert restart.crash_loop([quick[0], quick[1]._replace(seconds=70), quick[2]], LIMITS) == ""
    assert restart.crash_loop([quick[0], quick[1]._replace(state="checkpointed"), quick[2]], LIMITS) == ""
    assert restart.crash_loop(quick, LIMITS._replace(crashes=0)) == ""


def test_a_crash_loop_is_ended_whatever_would_start_it_again() -> None:
    quick = ended("failed", "failed", "failed", seconds=5)
    assert decide(quick, lost=["n1"]).verb == "end"
    assert decide(quick, PREEMPTED, {"n1": "hot"}).verb == "end"


def test_a_bad_node_is_left_out_once() -> None:
    bad = {"n3": "Xid 79", "n1": "slow"}
    made = decide(ended("failed"), bad=bad)
    assert made == Decision("successor", "bad nodes are left out (n1: slow; n3: Xid 79)", ["n1", "n3"])
    assert decide(ended("checkpointed", "failed"), bad=bad, had_successor_without=True).verb == "requeue"
    assert decide(ended("finished"), bad=bad).verb == "end"


@pytest.mark.parametrize(
    ("text", "seconds"), [("00:01:05", 65), ("2-01:00:00", 176400), ("UNLIMITED", None), ("", None)]
)
def test_durations_are_read_as_scontrol_writes_them(text: str, seconds: int | None) -> None:
    assert restart.seconds(text) == seconds


# --- begin, as the batch script calls it ---------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Path:
    shutil.copy(restart.__file__, tmp_path)
    return tmp_path


def begin(run: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    given = [sys.executable, "-I", "-S", str(run / "restart.py"), "begin", *words]
    return subprocess.run(
        given, env={"PATH": os.environ["PATH"], **env}, capture_output=True, text=True, timeout=120
    )


def leave(run: Path, number: int, **result: Any) -> None:
    folder = run / f"attempt-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(result))


def test_attempts_are_counted_from_zero(run: Path) -> None:
    assert [begin(run).stdout for _ in range(3)] == ["0\n", "1\n", "2\n"]


def test_each_task_of_an_array_counts_its_own(run: Path) -> None:
    begin(run, SLURM_ARRAY_TASK_ID="4")
    assert begin(run, SLURM_ARRAY_TASK_ID="7").stdout == "0\n"
    assert begin(run, SLURM_ARRAY_TASK_ID="4").stdout == "1\n"


def test_of_an_array_only_the_own_task_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last task to start has the array's number for its own; scontrol requeue would take all of them."""
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert restart.job_id() == "12"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert restart.job_id() == "12_3"


def test_a_run_that_has_finished_is_not_run_again(run: Path) -> None:
    leave(run, 0, state="finished", status=0)
    done = begin(run)
    assert (done.returncode, done.stdout) == (0, "")
    assert not (run / "attempt-1").exists()


def test_a_rank_that_gave_up_ends_the_job_for_good(run: Path) -> None:
    leave(run, 0, state="do not restart", status=93)
    done = begin(run)
    assert (done.returncode, done.stdout) == (93, "")
    assert json.loads((run / "attempt-1" / "result.json").read_text())["state"] == "do not restart"


def test_slurm_may_restart_a_crashing_job_but_it_ends_at_once(run: Path) -> None:
    """A job that kills its nodes is requeued by Slurm, without asking us."""
    for _ in range(3):
        assert begin(run).stdout
    done = begin(run)
    assert (done.returncode, done.stdout) == (1, "")
    assert "the last 3 attempts failed within 60 s of their start" in done.stderr


def test_more_attempts_than_allowed_are_not_begun(run: Path) -> None:
    for number in range(2):
        leave(run, number, state="checkpointed", status=75)
    done = begin(run, "--max-attempts=2")
    assert (done.returncode, done.stdout) == (75, "")


def test_bad_nodes_are_read_by_name(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for node in ("n1", "n2;id"):
        (run / f"bad-{node}.json").write_text(json.dumps({"node": node, "reason": "hot"}))
    assert restart.bad_nodes(str(run)) == {"n1": "hot"}


def test_a_node_that_the_preflight_found_bad_is_left_out(run: Path) -> None:
    leave(run, 0, state="failed", status=90)
    reasons = ["gpus: 7 of 8", "disk: full"]
    bad = [
        {"node": 1, "host": "n2", "reasons": reasons},
        {"node": None, "host": "all nodes", "reasons": ["slow"]},
    ]
    (run / "attempt-0" / "preflight.json").write_text(json.dumps({"bad": bad}))
    assert restart.bad_nodes(str(run / "attempt-0")) == {"n2": "gpus: 7 of 8; disk: full"}


def test_successors_of_single_tasks_belong_to_their_array(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets are taken away by the last task of all: a successor of one has an array of its own."""
    monkeypatch.setattr(restart, "RUN", str(run))
    assert restart.arrays() == set()
    (run / "job_id").write_text("12\n")
    leave(run / "task-3", 0, state="failed", next={"verb": "successor", "job_id": "15"})
    leave(run / "task-4", 0, state="failed", next={"verb": "end", "job_id": None})
    leave(run / "task-5", 0, state="finished")
    assert restart.arrays() == {"12", "15"}


@pytest.mark.parametrize(
    ("line", "is_over"),
    [
        ("3  RUNNING  0", True),  # it has marked its end: the rest of its script needs nothing
        ("4  RUNNING  0", False),
        ("4  PENDING  0", False),
        ("4  COMPLETING  0", True),  # killed before it could mark it
        ("4  COMPLETING  1", False),  # requeued: it begins again
        ("5-9%2  PENDING  0", False),
        ("", False),
    ],
)
def test_a_task_is_over_when_it_has_said_so_or_was_killed(
    run: Path, monkeypatch: pytest.MonkeyPatch, line: str, is_over: bool
) -> None:
    monkeypatch.setattr(restart, "RUN", str(run))
    for task in "34":
        begin(run, SLURM_ARRAY_TASK_ID=task, SLURM_ARRAY_JOB_ID="12")
    (run / "ended-3").touch()
    assert restart.is_over(line) is is_over


def test_a_task_that_begins_again_takes_its_mark_away(run: Path) -> None:
    (run / "ended-3").touch()
    begin(run, SLURM_ARRAY_TASK_ID="3")
    assert not (run / "ended-3").exists()


def test_a_job_whose_successor_is_refused_has_ended_for_good(run: Path) -> None:
    leave(run, 0, state="failed", status=90)
    (run / "attempt-0" / "bad-n1.json").write_text(json.dumps({"node": "n1", "reason": "hot"}))
    (run / "secrets.json").touch()
    (run / "job_id").write_text("12\n")
    (run / "bin").mkdir()
    words = [sys.executable, "-I", "-S", str(run / "restart.py"), "end", "90"]
    environ = {"PATH": str(run / "bin"), "SLURM_JOB_ID": "12"}
    done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 90
    assert "not started again: no successor could be submitted: [Errno 2]" in done.stderr
    after = json.loads((run / "attempt-0" / "result.json").read_text())["next"]
    assert (after["verb"], after["job_id"]) == ("end", None)
    assert after["reason"].startswith("not started again: no successor could be submitted: [Errno 2]")
    assert not (run / "secrets.json").exists()
