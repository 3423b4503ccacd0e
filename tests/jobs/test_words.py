"""What is said about jobs."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpctools.jobs import queries, report, state, watch, words
from hpctools.jobs.named import Named
from hpctools.jobs.report import OneRun, Report, Usage
from hpctools.jobs.run_folder import Failure, Result
from hpctools.jobs.said import Said, visible
from hpctools.jobs.state import JobState
from hpctools.slurm import units
from tests.jobs import replay
from tests.jobs.replay import Replay

pytestmark = pytest.mark.usefixtures("release")


def job() -> JobState:
    return state.queued(queries.queue(Replay(), job_ids=[replay.number("running")])[0])


def reported(name: str) -> Report:
    number = replay.number(name)
    return report.report(watch.look(Named(number, number, ()), Replay()), Replay())


def described(name: str) -> dict[str, str]:
    whole = reported(name)
    return {said.label: said.text for said in [words.headline(whole), *words.describe(whole)]}


@settings(deadline=None)
@given(text=st.text())
def test_nothing_invisible_reaches_a_terminal(text: str) -> None:
    assert visible(text).isprintable()


@settings(deadline=None)
@given(text=st.text(alphabet=st.characters(categories=["L", "N", "P", "S"])))
def test_what_is_printable_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("two\nlines", r"two\nlines"),
        (b"\x9b2J".decode("utf-8", "surrogateescape"), r"\x9b2J"),
        ("\u202eevil", r"\u202eevil"),
        ("bell\a", r"bell\x07"),
    ],
)
def test_what_would_move_the_cursor_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_waiting_job_says_why_in_plain_words_and_that_the_start_is_only_a_plan() -> None:
    text = described("resources")["state"]
    assert text.startswith("PENDING, Resources: It is next in line")
    assert "present plan, which may change: start at " in text
    assert text.endswith("on n[1-4].")


def test_a_job_that_can_never_start_says_so_and_names_what_it_waits_for() -> None:
    told = described("never")
    assert "can never start" in told["state"]
    assert told["dependency"] == f"afterok:{replay.number('failed')}(failed)"


def test_a_running_job_says_where_since_when_and_how_long_it_may() -> None:
    text = described("running")["state"]
    assert "runs on 2 nodes (n[1-2]), 4 GPUs since " in text
    ran_s = units.parse_duration_s(replay.told("running", "TIME")) or 0
    assert f"{units.format_duration(3600 - ran_s)} left of its time limit" in text


def test_a_failed_job_says_its_status_and_what_it_used() -> None:
    told = described("failed")
    assert told["state"].startswith("FAILED, status 7: ")
    assert "1 node (n1), 2 GPUs" in told["ran"]
    assert told["GPU-hours"] == "0.00 (as accounted)"


def test_an_array_says_how_many_tasks_are_where_and_which_failed() -> None:
    told = described("array")
    assert told["job"] == f"{replay.number('array')} (array)"
    assert told["state"] == "FAILED; 1 COMPLETED, 3 FAILED"
    assert told["task 2"] == "FAILED, status 2, after 00:00:00"
    assert "task 0" not in told


def test_waiting_tasks_are_told_together() -> None:
    told = described("array limit")
    assert told["state"] == "RUNNING; 1 RUNNING, 4 PENDING"
    assert told["tasks"].startswith("3,5,7,9%1: PENDING: JobArrayTaskLimit")


@pytest.mark.parametrize(
    ("tasks", "number"),
    [(None, 1), ("3", 1), ("0-9", 10), ("0-9%2", 10), ("1,3,5-7", 5), ("1-9:2%1", 5), ("1-3,5...", 1)],
)
def test_a_line_of_waiting_tasks_stands_for_as_many_as_it_names(tasks: str | None, number: int) -> None:
    assert words.tasks_in(replace(job(), array_task_id=tasks)) == number


def test_the_first_failure_names_rank_host_status_and_signal() -> None:
    text = words.first_failure(Failure(3, 1, 1, "n2", 139, "SIGSEGV", 1795273170.5))
    assert text.startswith("rank 3 on n2 (node 1): status 139, SIGSEGV, at ")
    assert words.first_failure(Failure(None, None, 0, "", 127, None, 0.0)).startswith(
        "the launcher on an unknown host"
    )


def test_gpu_hours_of_several_runs_are_told_one_by_one() -> None:
    runs = (OneRun("REQUEUED", 1, 3601, 3600, 8, 1, "n1"), OneRun("RUNNING", 4000, None, 900, 8, 1, "n1"))
    assert words.used(Usage(runs, accounted=True, settled=False)) == (
        "10.00 (2 runs: 01:00:00 x 8 + 00:15:00 x 8; as accounted; so far)"
    )


def test_small_amounts_of_gpu_hours_do_not_look_like_none() -> None:
    assert [words.hours(seconds) for seconds in (0, 4, 3600, 24084)] == ["0.00", "0.0011", "1.00", "6.69"]


def test_a_recorded_failure_is_told_with_its_last_lines_instead_of_the_log_s() -> None:
    whole = reported("failed")
    failure = Failure(1, 1, 0, "n1", 7, None, 5.0, ("Traceback", "boom"))
    part = replace(whole.parts[0], result=Result(7, failure, 5.0), status=7, last_lines=("the log's",))
    said = words.describe(replace(whole, parts=(part,)))
    assert "(the first failure's)" in said[0].text
    assert Said("", "| boom", sentence=False) in said
    assert all("the log's" not in one.text for one in said)


def test_a_moment_of_today_is_short() -> None:
    assert len(words.short_moment(time.time())) == len("14:30")
    assert len(words.short_moment(time.time() - 86400 * 3)) == len("11-21 14:30")


def failed(status: int, how: str, stage: str = "") -> Result:
    failure = Failure(None, None, 1, "n2", status, None, 1.0, stage=stage) if how == "failed" else None
    return Result(status, failure, 1.0, how)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (failed(93, "do not restart"), "A rank said that it is not to be started again."),
        (failed(75, "checkpointed"), "Its ranks saved and left, and it was not started again."),
        (failed(90, "failed", "preflight"), "Nothing was trained: the preflight found bad nodes."),
        (failed(7, "failed"), "It ended with an error"),
    ],
)
def test_why_a_job_failed_is_told_beyond_slurms_word(result: Result, said: str) -> None:
    ended = replace(job(), state="FAILED")
    assert said in words.ending(ended, result.status, result)


def test_a_job_that_went_on_after_a_preemption_has_finished_whatever_slurm_calls_it() -> None:
    ended = replace(job(), state="PREEMPTED")
    assert "PREEMPTED: It has finished." in words.ending(ended, 0, Result(0, None, 1.0, "finished"))


def test_what_failed_before_there_were_ranks_is_named() -> None:
    failure = failed(90, "failed", "preflight").first_failure
    assert failure is not None
    assert words.first_failure(failure).startswith("the preflight on n2 (node 1): status 90")


def test_a_run_is_charged_for_the_jobs_that_it_went_on_from() -> None:
    number = replay.number("running")
    rows = queries.accounting(Replay(), job_ids=[number], duplicates=True).jobs
    before = [replace(row, job_id="1", submit_line="sbatch", state="FAILED") for row in rows]
    now = replace(job(), state="FAILED")
    alone, whole = (report.usage_of(now, [*before, *rows], ids) for ids in ((), ("1", number)))
    assert whole.gpu_seconds == 2 * alone.gpu_seconds > 0
    assert len(whole.runs) == 2 * len(alone.runs)


def test_what_was_used_is_not_settled_while_the_job_waits_to_be_started_again() -> None:
    number = replay.number("running")
    rows = queries.accounting(Replay(), job_ids=[number], duplicates=True).jobs
    ended = [replace(row, state="PREEMPTED") for row in rows]
    assert report.usage_of(replace(job(), state="FAILED"), ended).settled
    assert not report.usage_of(replace(job(), state="PENDING"), ended).settled
