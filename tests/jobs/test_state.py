"""The state of a job and what its end means as an exit status."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpctools.jobs import queries, state
from hpctools.jobs.state import JobState
from tests.jobs import replay
from tests.jobs.replay import Replay

pytestmark = pytest.mark.usefixtures("release")


def job(word: str = "COMPLETED", **more: object) -> JobState:
    (found,) = queries.queue(Replay(), job_ids=[replay.number("completed")])
    return replace(state.queued(found), state=word, exit_status=None, exit_signal=None, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("word", "exit_status", "exit_signal", "recorded", "expected"),
    [
        ("COMPLETED", 0, 0, None, 0),
        ("FAILED", 1, 0, None, 1),
        ("FAILED", 1, 0, 7, 7),  # torchrun made 1 of a rank's 7
        ("FAILED", 0, 9, None, 137),
        ("FAILED", 0, 53, None, 181),  # Slurm's own: the output could not be opened
        ("FAILED", None, None, None, 1),
        ("FAILED", 1, 0, 0, 1),  # the script failed after all ranks had succeeded
        ("CANCELLED", 0, 15, None, 143),
        ("CANCELLED", 0, 0, 0, 143),
        ("PREEMPTED", 0, 0, None, 143),
        ("PREEMPTED", 0, 0, 0, 0),  # it went on, and finished
        ("PREEMPTED", 0, 0, 7, 7),
        ("TIMEOUT", 0, 0, 143, 124),
        ("DEADLINE", 0, 0, None, 124),
        ("OUT_OF_MEMORY", 0, 125, None, 137),
        ("OUT_OF_MEMORY", 0, 125, 9, 9),
        ("NODE_FAIL", 0, 0, None, 1),
        ("NODE_FAIL", 0, 1, None, 1),
        ("NODE_FAIL", 0, 1, 9, 9),
        ("BOOT_FAIL", 0, 0, None, 1),
        ("FORGOTTEN", None, None, None, 1),
        ("FORGOTTEN", None, None, 0, 0),
        ("FORGOTTEN", None, None, 5, 5),
    ],
)
def test_a_job_has_the_status_of_the_rank_that_failed_first_else_that_of_slurm(
    word: str, exit_status: int | None, exit_signal: int | None, recorded: int | None, expected: int
) -> None:
    ended = replace(job(word), exit_status=exit_status, exit_signal=exit_signal)
    assert ended.ended
    assert state.status_of(ended, recorded) == expected


def test_every_status_fits_into_eight_bits() -> None:
    assert state.status_of(replace(job("FAILED"), exit_signal=250), None) == 255


@pytest.mark.parametrize(
    "word", ["RUNNING", "COMPLETING", "SUSPENDED", "PENDING", "REQUEUED", "SPECIAL_EXIT"]
)
def test_what_may_still_run_has_not_ended(word: str) -> None:
    assert not job(word).ended


def test_what_is_left_of_the_time_limit_is_told_of_running_jobs_alone() -> None:
    assert job("RUNNING", elapsed_s=100, time_limit_s=160).time_left_s == 60
    assert job("RUNNING", elapsed_s=200, time_limit_s=160).time_left_s == 0
    assert job("RUNNING", elapsed_s=100, time_limit_s=None).time_left_s is None
    assert job("PENDING", elapsed_s=0, time_limit_s=160).time_left_s is None


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/a/slurm-%j.out", "/a/slurm-15.out"),
        ("/a/%A_%a", "/a/12_3"),
        ("/a/%5j-%3a-%x-%u", "/a/00015-003-my job-ada"),
        ("/a/100%%", "/a/100%"),
        ("/a/%n%t", "/a/00"),
        ("/a/\\%j", "/a/%j"),
        ("/a/%N.out", None),
    ],
)
def test_patterns_of_a_log_s_path_are_replaced_as_sbatch_does(pattern: str, path: str | None) -> None:
    task = job(slurm_id="15", array_job_id="12", array_task_id="3", name="my job", user="ada")
    assert state.expanded(pattern, task) == path


def test_the_log_of_an_array_s_task_is_not_the_one_that_squeue_names_by_default() -> None:
    logs = {
        one.job_id: state.queued(one).log for one in queries.queue(Replay(), job_ids=[replay.number("array")])
    }
    assert set(logs.values()) == {"/shared/ada/project/slurm-%A_%a.out"}


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["COMPLETED", "RUNNING", "PENDING"], "RUNNING"),
        (["COMPLETED", "PENDING", "FAILED"], "PENDING"),
        (["COMPLETED", "FAILED"], "FAILED"),
        (["COMPLETED", "COMPLETED"], "COMPLETED"),
    ],
)
def test_an_array_is_in_the_state_of_the_tasks_that_are_least_far(states: list[str], expected: str) -> None:
    assert state.overall([job(word) for word in states]) == expected


def test_the_requeued_job_of_the_recording_waits_again_and_its_start_is_a_forecast() -> None:
    (found,) = queries.queue(Replay(), job_ids=[replay.number("requeued")])
    waits = state.as_dict(state.queued(found))
    assert (waits["state"], waits["restarts"], waits["start_s"]) == ("PENDING", 1, None)
    assert waits["expected_start_s"] == int(replay.told("requeued", "START_TIME"))
