"""The list of a user's jobs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from hpctools.errors import SlurmUnavailable
from hpctools.jobs import listing
from tests.jobs import replay
from tests.jobs.records import SUBMITTED_S, made
from tests.jobs.replay import Replay

# The recording is of a day long ago by now.
AGES = int(time.time()) - SUBMITTED_S + 10**6

pytestmark = pytest.mark.usefixtures("release")


@pytest.fixture(autouse=True)
def own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_one_squeue_and_one_sacct_tell_all_jobs_running_ones_first_and_then_waiting_ones() -> None:
    run = Replay()
    found = listing.listing(run, since_s=AGES)
    assert [argv[0] for argv in run.asked] == ["squeue", "sacct"]
    ranks = [0 if one.job.state == "RUNNING" else 1 if one.job.waiting else 2 for one in found.jobs]
    assert ranks == sorted(ranks)
    assert set(ranks) == {0, 1, 2}
    assert len({one.job.slurm_id for one in found.jobs}) == len(found.jobs)


def test_each_job_that_ended_has_its_status() -> None:
    statuses = {one.job.job_id: one.status for one in listing.listing(Replay(), since_s=AGES).jobs}
    wanted: dict[str, int | None] = {
        "completed": 0,
        "failed": 7,
        "signalled": 137,
        "timeout": 124,
        "cancelled": 143,
    }
    wanted |= {"running": None, "resources": None}
    assert {name: statuses[replay.number(name)] for name in wanted} == wanted
    assert statuses[replay.number("array", "2")] == 2


def test_a_job_that_was_put_back_into_the_queue_waits_whatever_accounting_says_of_its_last_run() -> None:
    (job,) = [
        one.job
        for one in listing.listing(Replay(), since_s=AGES).jobs
        if one.job.job_id == replay.number("requeued")
    ]
    assert (job.state, job.source) == ("PENDING", "squeue")


def test_without_accounting_slurmctld_tells_the_exit_codes_of_what_failed() -> None:
    found = listing.listing(Replay(accounting=False), since_s=AGES)
    statuses = {one.job.job_id: one.status for one in found.jobs}
    assert [statuses[replay.number(name)] for name in ("failed", "signalled")] == [7, 137]
    # Of this one the recording has no `scontrol show job`: nobody tells.
    assert statuses[replay.number("array", "2")] is None


def test_jobs_that_ended_long_ago_are_left_out() -> None:
    assert all(not one.job.ended for one in listing.listing(Replay(), since_s=1).jobs)


def test_jobs_are_joined_with_their_records(tmp_path: Path) -> None:
    mine = made(tmp_path, replay.number("running"))
    run = Replay(changes=[{replay.number("running"): {"STDOUT": mine.token}}])
    (joined,) = [one for one in listing.listing(run, since_s=AGES).jobs if one.record]
    assert (joined.job.job_id, joined.record) == (replay.number("running"), mine)
    assert listing.as_dict(joined)["run"] == mine.run


def test_without_accounting_a_job_that_slurmctld_has_forgotten_is_known_by_its_run_folder(
    tmp_path: Path,
) -> None:
    mine = made(tmp_path, "9999", created_s=int(time.time()))
    attempt = Path(mine.run, "attempt-0")
    attempt.mkdir()
    (attempt / "result.json").write_text(
        json.dumps({"status": 3, "first_failure": None, "ended_s": time.time()})
    )
    found = listing.listing(Replay(accounting=False), since_s=AGES)
    (known,) = [one for one in found.jobs if one.record]
    assert (known.job.job_id, known.job.state, known.status) == ("9999", "FAILED", 3)
    assert any("no accounting" in text for text in found.remarks)


def test_a_submission_without_an_answer_is_looked_for_and_what_became_of_it_is_said(tmp_path: Path) -> None:
    there, number = made(tmp_path, None, state="unknown"), replay.number("running")
    made(tmp_path, None, state="unknown", created_s=int(time.time()))
    made(tmp_path, None, state="submitting", created_s=SUBMITTED_S + 7)
    found = listing.listing(Replay(changes=[{number: {"STDOUT": there.token}}]), since_s=AGES)
    said = sorted(text.split(" gave no answer")[1][:20] for text in found.remarks)
    assert said == sorted(
        [
            ", but Slurm has the job: "[:20],
            "; Slurm has no such job yet"[:20],
            ", and Slurm has no such"[:20],
        ]
    )


def test_submissions_to_other_clusters_are_not_listed_and_not_asked_about(tmp_path: Path) -> None:
    made(tmp_path, None, state="unknown", created_s=int(time.time()), slurm_conf="/elsewhere/slurm.conf")
    run = Replay()
    found = listing.listing(run, since_s=AGES)
    assert found.remarks == ()
    assert len(run.asked) == 2


def test_when_slurmctld_is_away_there_is_no_list() -> None:
    with pytest.raises(SlurmUnavailable):
        listing.listing(Replay(away={"squeue": 1}))
