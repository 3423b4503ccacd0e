"""What became of jobs: who is asked, in which order, and what is made of silence."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpctools.errors import NotFound, SlurmUnavailable
from hpctools.jobs import named, record, report, watch
from hpctools.jobs.named import Named
from hpctools.jobs.watch import Seen
from hpctools.process import Completed
from tests.jobs import replay
from tests.jobs.records import made
from tests.jobs.replay import Replay

pytestmark = pytest.mark.usefixtures("release")


def job(name: str, task: str | None = None) -> Named:
    """A job of the recording, named by its id; a number is taken as it is."""
    word = name if name.isdecimal() else replay.number(name, task)
    return Named(word, word, ())


def states(seen: Seen) -> list[str]:
    return [one.state for one in seen.jobs]


class Clock:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_job_that_slurmctld_knows_costs_one_squeue() -> None:
    run = Replay()
    seen = watch.look(job("running"), run)
    assert (states(seen), seen.jobs[0].source) == (["RUNNING"], "squeue")
    assert [argv[0] for argv in run.asked] == ["squeue"]


def test_a_job_that_slurmctld_has_forgotten_is_known_to_accounting() -> None:
    seen = watch.look(job("failed"), Replay(forgotten=[replay.number("failed")]))
    assert (states(seen), seen.jobs[0].source, seen.jobs[0].exit_status) == (["FAILED"], "sacct", 7)


def test_of_a_requeued_job_accounting_tells_the_last_run() -> None:
    seen = watch.look(job("requeued"), Replay(forgotten=[replay.number("requeued")]))
    assert states(seen) == ["PENDING"]


def test_without_slurmctld_accounting_tells_and_it_is_said(tmp_path: Path) -> None:
    seen = watch.look(job("failed"), Replay(away={"squeue": 9}))
    assert states(seen) == ["FAILED"]
    assert seen.away
    assert "does not answer" in seen.remarks[0]


def test_what_nobody_knows_is_not_found_and_what_cannot_be_asked_is_unavailable() -> None:
    with pytest.raises(NotFound, match="job 99999: no such job"):
        watch.look(job("99999"), Replay())
    with pytest.raises(SlurmUnavailable):
        watch.look(job("99999"), Replay(away={"squeue": 1}))


def test_without_accounting_the_run_folder_tells_how_a_forgotten_job_ended(tmp_path: Path) -> None:
    mine = made(tmp_path, "99999")
    known = Named("99999", "99999", (mine,))
    run = Replay(accounting=False)
    assert states(watch.look(known, run)) == ["FORGOTTEN"]
    attempt = Path(mine.run, "attempt-0")
    attempt.mkdir()
    (attempt / "result.json").write_text(json.dumps({"status": 9, "first_failure": None, "ended_s": 1.0}))
    seen = watch.look(known, run)
    assert (states(seen), seen.jobs[0].source, watch.status_of(seen)) == (["FAILED"], "record", 9)


@pytest.mark.parametrize(
    ("restart_count", "job_id", "status"),
    [("0", "failed", 7), ("1", "failed", 9), ("0", "another", 9)],
    ids=["an earlier start's result", "its own", "a predecessor's count"],
)
def test_a_start_that_left_nothing_does_not_end_as_the_one_before(
    tmp_path: Path, restart_count: str, job_id: str, status: int
) -> None:
    number = replay.number("failed")
    mine = made(tmp_path, number)
    attempt = Path(mine.run, "attempt-0")
    attempt.mkdir()
    began = {"job_id": number if job_id == "failed" else "1", "restart_count": restart_count}
    (attempt / "begin.json").write_text(json.dumps(began))
    (attempt / "result.json").write_text(json.dumps({"status": 9, "first_failure": None, "ended_s": 1.0}))
    run = Replay(changes=[{number: {"STDOUT": mine.token, "RESTART_COUNT": "1"}}])
    seen = watch.finished(watch.look(Named(number, number, (mine,)), run), run)
    assert watch.status_of(seen) == status
    assert report.report(seen, run).status == status


def test_while_slurmctld_is_away_a_job_without_a_result_is_not_called_ended(tmp_path: Path) -> None:
    mine = made(tmp_path, "99999")
    run = Replay(accounting=False, away={"squeue": 1})
    seen = watch.look(named.by_record(mine, run), run)
    assert (states(seen), seen.ended) == (["UNKNOWN"], False)
    assert report.as_dict(report.report(seen, run))["status"] is None
    assert run.count("squeue") == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": "unknown", "job_id": None}, "sbatch gave no answer"),
        ({"state": "refused", "job_id": None}, "refused"),
        ({"state": "local", "job_id": None}, "on this machine"),
        ({"slurm_conf": "/elsewhere/slurm.conf"}, "another cluster"),
    ],
)
def test_what_is_no_job_of_this_cluster_cannot_be_waited_for(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    mine = made(tmp_path, **{"job_id": replay.number("running"), "created_s": int(time.time()), **changes})
    with pytest.raises(NotFound, match=reason):
        watch.wait([named.by_record(mine, Replay())], Replay(), clock=Clock())


def test_a_job_with_the_id_of_my_record_that_is_not_mine_is_another_one(tmp_path: Path) -> None:
    mine = made(tmp_path, replay.number("running"))
    by_id = watch.look(replace(job("running"), records=(mine,)), Replay())
    assert (states(by_id), by_id.record) == (["RUNNING"], None)
    by_folder = watch.look(replace(job("running"), records=(mine,), by_record=True), Replay())
    assert (states(by_folder), by_folder.record) == (["FORGOTTEN"], mine)


def test_a_job_is_recognized_as_mine_by_its_log(tmp_path: Path) -> None:
    mine = made(tmp_path, replay.number("running"))
    run = Replay(changes=[{replay.number("running"): {"STDOUT": mine.token}}])
    assert watch.look(named.by_record(mine, run), run).record == mine


def test_a_successor_is_known_by_the_run_folder_that_it_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    mine = made(tmp_path, "1")
    record.save(mine)
    run = Replay(changes=[{replay.number("running"): {"STDOUT": mine.token}}])
    assert watch.look(job("running"), run).record == mine
    assert watch.look(job("running"), Replay()).record is None


def test_secrets_of_an_array_stay_while_any_task_may_need_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`hpctools status` takes away what a job has left that was killed."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    mine = made(tmp_path, replay.number("array", None), array="0-3")
    whole, task = (replace(watch.look(job("array", one), Replay()), record=mine) for one in (None, "2"))
    kept = Path(mine.run, "secrets.json")
    kept.touch()
    report.report(task, Replay())
    assert kept.exists()
    attempt = Path(mine.run, "task-1", "attempt-0")
    attempt.mkdir(parents=True)
    (attempt / "result.json").write_text(json.dumps({"status": 1, "next": {"job_id": "99"}}))
    report.report(whole, Replay())
    assert kept.exists()
    (attempt / "result.json").unlink()
    report.report(whole, Replay())
    assert not kept.exists()


def test_tasks_that_slurmctld_has_forgotten_come_from_accounting() -> None:
    seen = watch.look(
        job("array"), Replay(forgotten=[replay.number("array", "0"), replay.number("array", "1")])
    )
    assert [(one.array_task_id, one.state, one.source) for one in seen.jobs] == [
        ("0", "COMPLETED", "sacct"),
        ("1", "FAILED", "sacct"),
        ("2", "FAILED", "squeue"),
        ("3", "FAILED", "squeue"),
    ]


def test_an_array_half_done_has_its_waiting_tasks_once() -> None:
    seen = watch.look(job("array limit"), Replay())
    assert [one.array_task_id for one in seen.jobs] == ["1", "3,5,7,9%1"]


def test_one_task_can_be_looked_at_alone() -> None:
    assert [one.array_task_id for one in watch.look(job("array", "2"), Replay()).jobs] == ["2"]


def test_a_task_that_is_none_is_not_found_and_is_not_its_job(tmp_path: Path) -> None:
    """Asked for 12_3 where 12 is no array, Slurm and our record answer with 12."""
    plain = replay.number("completed", None)
    with pytest.raises(NotFound):
        watch.look(Named(f"{plain}_3", f"{plain}_3", ()), Replay())
    mine = made(tmp_path, "99999")
    with pytest.raises(NotFound, match="such a task"):
        watch.look(Named("99999_3", "99999_3", (mine,)), Replay(accounting=False))


@pytest.mark.parametrize(
    ("name", "task", "status"),
    [
        ("completed", None, 0),
        ("failed", None, 7),
        ("signalled", None, 137),
        ("timeout", None, 124),
        ("cancelled", None, 143),
        ("array", None, 1),
        ("array", "2", 2),
    ],
)
def test_waiting_for_a_job_that_has_ended_gives_its_status(name: str, task: str | None, status: int) -> None:
    (seen,) = watch.wait([job(name, task)], Replay(), clock=Clock())
    assert watch.status_of(seen) == status
    if name != "array":
        (seen,) = watch.wait([job(name)], Replay(accounting=False), clock=Clock())
        assert watch.status_of(seen) == status


def test_waiting_for_several_jobs_asks_for_all_of_them_at_once_and_less_and_less_often() -> None:
    ids = [replay.number("running"), replay.slurm_id("array limit", "1")]
    run, clock = (
        Replay(changes=[{}] * 20 + [{ids[0]: {"STATE": "COMPLETED"}, ids[1]: {"STATE": "FAILED"}}]),
        Clock(),
    )
    ended = watch.wait([Named(one, one, ()) for one in ids], run, clock=clock, sleep=clock.sleep)
    assert [states(one) for one in ended] == [["COMPLETED"], ["FAILED"]]
    polls = [argv for argv in run.asked if f"--jobs={ids[0]},{ids[1]}" in argv]
    assert len(polls) == 21
    assert 20 * 5 < clock.now < 20 * 10


def test_waiting_survives_slurm_s_absence_and_says_so_once() -> None:
    run, clock, said = Replay(away={"squeue": 7}), Clock(), list[str]()
    (seen,) = watch.wait([job("completed")], run, say=said.append, clock=clock, sleep=clock.sleep)
    assert states(seen) == ["COMPLETED"]
    assert [line.split(" (")[0] for line in said] == ["Slurm does not answer", "Slurm answers again"]


def test_what_accounting_says_while_slurmctld_is_away_ends_no_waiting() -> None:
    """The job failed, and was put back into the queue before slurmctld could say so."""

    class Flapping(Replay):
        def __call__(self, argv: Sequence[str], **more: Any) -> Completed:
            if len(self.asked) == 1:
                self.away = {"squeue": 1}
            return super().__call__(argv, **more)

    later = [{replay.number("failed"): {"STATE": word}} for word in ("FAILED", "RUNNING", "CANCELLED")]
    run, clock = Flapping(changes=later), Clock()
    (seen,) = watch.wait([job("failed")], run, clock=clock, sleep=clock.sleep)
    assert states(seen) == ["CANCELLED"]


def test_waiting_hurries_when_the_run_folder_has_a_result(tmp_path: Path) -> None:
    mine = made(tmp_path, replay.number("running"))
    base, number = {"STDOUT": mine.token}, replay.number("running")
    run, clock = Replay(changes=[{number: base}] * 12 + [{number: {**base, "STATE": "COMPLETED"}}]), Clock()
    slept = list[float]()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        slept.append(clock.now)
        if run.count("squeue") == 10 and not Path(mine.run, "attempt-0").exists():
            attempt = Path(mine.run, "attempt-0")
            attempt.mkdir()
            (attempt / "result.json").write_text('{"status": 0, "first_failure": null, "ended_s": 1.0}')
            slept.clear()

    watch.wait([named.by_record(mine, run)], run, clock=clock, sleep=sleep)
    assert slept[-1] - slept[0] < 4


def test_the_report_of_a_requeued_job_counts_the_gpu_hours_of_each_run() -> None:
    whole = report.report(watch.look(job("requeued"), Replay()), Replay())
    (part,) = whole.parts
    assert [(run.state, run.elapsed_s) for run in part.usage.runs] == [("REQUEUED", 1)]
    assert part.usage.accounted
    assert not part.usage.settled


def test_the_report_of_a_job_says_what_it_used_where_its_log_is_and_what_wait_would_end_with() -> None:
    whole = report.report(watch.look(job("completed"), Replay()), Replay())
    found = report.as_dict(whole)
    assert found["state"] == "COMPLETED"
    assert found["status"] == 0
    assert found["gpu_seconds"] == 2
    assert found["gpu_hours"] == round(2 / 3600, 4)
    assert found["gpu_hours_accounted"] is True
    assert found["gpu_hours_final"] is True
    assert found["tasks"] == []


def test_without_accounting_gpu_hours_are_those_that_slurmctld_counts_and_it_is_said() -> None:
    run = Replay(accounting=False)
    whole = report.report(watch.look(job("completed"), run), run)
    assert (whole.usage.gpu_seconds, whole.usage.accounted) == (2, False)
    assert any("no accounting" in text for text in whole.remarks)


def test_the_report_of_an_array_has_one_part_a_task_and_the_first_status_that_is_not_0() -> None:
    found = report.as_dict(report.report(watch.look(job("array"), Replay()), Replay()))
    assert (found["job_id"], found["state"], found["status"]) == (replay.number("array"), "FAILED", 1)
    assert isinstance(found["tasks"], list)
    assert [task["status"] for task in found["tasks"]] == [0, 1, 2, 3]


def test_a_waiting_job_has_the_scheduler_s_plan() -> None:
    found = report.as_dict(report.report(watch.look(job("resources"), Replay()), Replay()))
    assert (found["state"], found["reason"], found["start_s"]) == ("PENDING", "Resources", None)
    assert found["expected_start_s"] == int(replay.told("resources", "START_TIME"))
