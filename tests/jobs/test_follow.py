"""Following jobs: what is said, what is copied, what is survived. With answers of a real Slurm; the
whole of it on a real one is in tests/slurm/test_jobs.py.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from hpctools.errors import NotFound, SlurmUnavailable
from hpctools.jobs import follow, named
from hpctools.jobs.follow import InBackground, Teller
from hpctools.jobs.pace import Away, Pace, Results
from tests.jobs import replay
from tests.jobs.records import made
from tests.jobs.replay import Replay
from tests.jobs.test_watch import Clock

pytestmark = pytest.mark.usefixtures("release")


WAITS = {"STATE": "PENDING", "REASON": "Resources", "NODELIST": ""}


class Trial:
    """A job of the recording, followed; changes as in Replay."""

    def __init__(
        self, folder: Path, *changes: Mapping[str, str], away: Mapping[str, int] | None = None
    ) -> None:
        self.record = made(folder, replay.number("running"))
        base = {"STDOUT": self.record.token}
        self.run = Replay(
            changes=[{str(self.record.job_id): {**base, **change}} for change in changes], away=away
        )
        self.said: list[str] = []
        self.live: list[str] = []
        self.out = io.BytesIO()
        self.clock = Clock()

    def sleep(self, seconds: float) -> None:
        self.clock.sleep(seconds)
        # The thread that asks has a moment to answer.
        time.sleep(0.002)

    def follow(self) -> int:
        teller = Teller(self.said.append, self.live.append)
        return follow.follow(
            self.record, self.out, self.run, teller=teller, sleep=self.sleep, clock=self.clock
        )


def test_a_job_is_followed_from_waiting_to_its_end(tmp_path: Path) -> None:
    trial = Trial(tmp_path, WAITS, WAITS, WAITS, {}, {}, {"STATE": "COMPLETED"})
    Path(trial.record.run, "slurm.out").write_bytes(b"all \xff of it\n")
    assert trial.follow() == 0
    assert trial.out.getvalue() == b"all \xff of it\n"
    assert trial.said[0].startswith(f"job {trial.record.job_id} waits: Resources: It is next in line")
    assert trial.said[1].startswith(f"job {trial.record.job_id} runs on 2 nodes (n[1-2]), 4 GPUs since ")
    assert trial.said[2].startswith(f'job {trial.record.job_id} "running": COMPLETED')
    assert any(line.startswith("GPU-hours: ") for line in trial.said)


def test_why_a_job_waits_is_told_when_it_changes_and_only_then(tmp_path: Path) -> None:
    priority = {**WAITS, "REASON": "Priority"}
    trial = Trial(tmp_path, priority, priority, WAITS, WAITS, WAITS, {"STATE": "COMPLETED"})
    trial.follow()
    assert [line.split(":")[1] for line in trial.said if "waits" in line] == [" Priority", " Resources"]
    assert any("has waited" in line for line in trial.live)
    assert trial.live[-1] == ""


def test_a_job_that_is_put_back_into_the_queue_is_followed_on(tmp_path: Path) -> None:
    again = {**WAITS, "REASON": "BeginTime", "RESTART_COUNT": "1"}
    trial = Trial(
        tmp_path, {}, {}, again, again, {"RESTART_COUNT": "1"}, {"STATE": "COMPLETED", "RESTART_COUNT": "1"}
    )
    assert trial.follow() == 0
    told = [line.split(" ", 2)[2][:28] for line in trial.said[:3]]
    assert told == [
        "runs on 2 nodes (n[1-2]), 4 ",
        "was put back into the queue ",
        "(attempt 2) runs on 2 nodes ",
    ]


def test_slurm_may_be_away_for_a_while(tmp_path: Path) -> None:
    trial = Trial(tmp_path, {}, {"STATE": "COMPLETED"}, away={"squeue": 5})
    assert trial.follow() == 0
    assert [line.split(" (")[0] for line in trial.said[:2]] == [
        "Slurm does not answer",
        "Slurm answers again",
    ]


def test_ctrl_c_detaches_and_says_how_to_follow_again(tmp_path: Path) -> None:
    trial = Trial(tmp_path, {})
    trial.sleep = _interrupt  # type: ignore[method-assign]
    assert trial.follow() == 130
    assert any(f"hpctools logs -f {trial.record.job_id}" in line for line in trial.said)
    assert all(argv[0] != "scancel" for argv in trial.run.asked)


def _interrupt(seconds: float) -> None:
    raise KeyboardInterrupt


def test_a_submission_without_a_job_cannot_be_followed(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        follow.follow(made(tmp_path, None, state="refused"), io.BytesIO(), Replay())


def test_of_an_array_the_tally_is_told_and_the_status_is_the_first_that_is_not_0(tmp_path: Path) -> None:
    record = made(tmp_path, replay.number("array"), array="0-3")
    marks = {"STDOUT": f"{record.run}/slurm-%A_%a.out"}
    jobs = [replay.slurm_id("array", task) for task in "0123"]
    half = {job: {**marks, "STATE": "RUNNING"} for job in jobs[2:]} | dict.fromkeys(jobs[:2], marks)
    run = Replay(changes=[half, half, dict.fromkeys(jobs, marks)])
    said, clock = list[str](), Clock()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        time.sleep(0.002)

    job = named.by_record(record, run)
    assert job.job_id == record.job_id
    assert follow.follow(record, io.BytesIO(), run, teller=Teller(said.append), sleep=sleep, clock=clock) == 1
    assert said[:2] == [
        f"array {job.job_id}: 1 COMPLETED, 1 FAILED, 2 RUNNING",
        f"array {job.job_id}: 1 COMPLETED, 3 FAILED",
    ]
    assert sum("status" in line for line in said) == 3


def test_one_question_is_asked_at_a_time_and_its_error_comes_where_the_answer_is_taken() -> None:
    gate = threading.Event()
    answers: list[int | SlurmUnavailable] = [1, SlurmUnavailable(["squeue"], 1, "away")]

    def ask() -> int:
        gate.wait(60)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    question = InBackground(ask)
    assert question.idle
    question.ask()
    assert not question.idle
    assert not question.answered
    gate.set()
    _until(lambda: question.answered)
    assert question.take() == 1
    assert question.idle
    question.ask()
    _until(lambda: question.answered)
    with pytest.raises(SlurmUnavailable):
        question.take()
    assert question.idle


def _until(true: object) -> None:
    for _ in range(6000):
        if true():  # type: ignore[operator]
            return
        time.sleep(0.01)
    raise AssertionError("nothing happened within a minute")


def test_slurm_is_asked_at_once_then_ever_less_often_and_at_once_again_when_something_happened() -> None:
    clock = Clock()
    pace, asked = Pace(clock), []
    while clock.now < 60:
        if pace.due():
            pace.asked()
            asked.append(clock.now)
        clock.sleep(0.1)
    gaps = [later - sooner for sooner, later in zip(asked, asked[1:], strict=False)]
    assert asked[0] == 0
    assert gaps == sorted(gaps)
    assert 0.9 < gaps[0] < 1.2
    assert 9.9 < gaps[-1] < 10.2
    pace.hurry()
    clock.sleep(0.3)
    assert pace.due()


def test_errors_that_are_not_absence_are_not_survived() -> None:
    with pytest.raises(ValueError), Away(print):
        raise ValueError


def test_a_result_is_noticed_once_and_a_new_attempt_s_again(tmp_path: Path) -> None:
    clock = Clock()
    results = Results(tmp_path, clock)

    def appeared() -> bool:
        clock.sleep(1)
        return results.appeared()

    assert not appeared()
    for attempt in ("attempt-0", "attempt-1"):
        (tmp_path / attempt).mkdir()
        assert not appeared()
        (tmp_path / attempt / "result.json").touch()
        assert not results.appeared(), "a file server is asked once a second"
        assert appeared()
        assert not appeared()


def test_a_job_without_a_run_folder_has_no_results() -> None:
    assert not Results(None).appeared()
