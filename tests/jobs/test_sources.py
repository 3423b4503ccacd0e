"""Where logs are, and why they are not there; cancelling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from hpctools.errors import InvalidInput, NotFound, SlurmUnavailable
from hpctools.jobs import cancel, named, sources
from hpctools.jobs.named import Named
from hpctools.process import Completed
from tests.jobs import replay
from tests.jobs.records import made
from tests.jobs.replay import Replay

pytestmark = pytest.mark.usefixtures("release")


def job(name: str, task: str | None = None) -> Named:
    """A job of the recording, named by its id; a number is taken as it is."""
    word = name if name.isdecimal() else replay.number(name, task)
    return Named(word, word, ())


class Cancelling(Replay):
    """Slurm's scancel, which says nothing and ends with 0, or refuses."""

    refusal = ""

    def __call__(self, argv: Sequence[str], **more: object) -> Completed:
        if argv[0] == "scancel":
            self.asked.append(list(argv))
            return Completed(tuple(argv), 1 if self.refusal else 0, "", self.refusal)
        return super().__call__(argv, **more)  # type: ignore[arg-type]


def test_the_log_of_a_submission_is_known_without_asking_slurm(tmp_path: Path) -> None:
    mine, run = made(tmp_path), Replay()
    assert sources.source(named.by_record(mine, run), run).path() == Path(mine.token)
    assert run.asked == []


def test_the_log_of_another_job_is_what_scontrol_names() -> None:
    path = sources.source(job("failed"), Replay()).path()
    assert path == Path(f"/shared/ada/project/slurm-{replay.number('failed')}.out")


def test_an_array_has_a_log_for_each_task(tmp_path: Path) -> None:
    mine = made(tmp_path, replay.number("array"), array="0-3", token=str(tmp_path / "slurm-%A_%a.out"))
    for one in (named.by_record(mine, Replay()), job("array")):
        with pytest.raises(InvalidInput, match="name a task: [0-9]+_0"):
            sources.source(one, Replay())
    task = replay.number("array", "2")
    run = Replay(changes=[{replay.slurm_id("array", "2"): {"STDOUT": mine.token}}])
    assert (
        sources.source(replace(job("array", "2"), records=(mine,)), run).path()
        == tmp_path / f"slurm-{task}.out"
    )
    assert sources.source(job("array", "2"), Replay()).path() == Path(f"/shared/ada/project/slurm-{task}.out")


def test_ranks_have_logs_in_jobs_of_ours_alone(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not submitted by hpctools"):
        sources.source(job("running"), Replay(), rank=0)
    mine = made(tmp_path)
    source = sources.source(named.by_record(mine, Replay()), Replay(), rank=2)
    assert source.path() is None
    attempt = Path(mine.run, "attempt-0")
    attempt.mkdir()
    for rank in (0, 1, 5):
        (attempt / f"rank-{rank:05d}.log").touch()
    assert source.absent(Replay()) == "job 37 has no log of rank 2; it has those of ranks 0-1, 5"
    (attempt / "rank-00002.log").touch()
    assert source.path() == attempt / "rank-00002.log"


def test_a_log_that_is_not_there_says_why() -> None:
    waits = sources.source(job("resources"), Replay())
    assert "has not started (PENDING, Resources); with -f" in waits.absent(Replay())
    ended, failed = sources.source(job("failed"), Replay()), replay.number("failed")
    assert (
        ended.absent(Replay()) == f"job {failed} (FAILED) left no log: /shared/ada/project/slurm-{failed}.out"
    )


def test_a_waiting_a_running_and_an_ended_job_are_cancelled_in_words_of_their_own() -> None:
    run = Cancelling()
    waits, runs, ended = (cancel.cancel(job(one), run) for one in ("resources", "running", "failed"))
    first, second = replay.number("resources"), replay.number("running")
    assert [one.done for one in (waits, runs, ended)] == [True, True, False]
    assert waits.message == f'job {first} "resources" is cancelled; it had not started'
    assert (
        runs.message
        == f'job {second} "running" was RUNNING for 00:0{replay.told("running", "TIME")} and is told to end'
    )
    assert ended.message.startswith(f"job {replay.number('failed')} has already ended: FAILED at ")
    assert [argv for argv in run.asked if argv[0] == "scancel"] == [["scancel", first], ["scancel", second]]


def test_an_array_is_cancelled_whole() -> None:
    run = Cancelling()
    done, number = cancel.cancel(job("array limit"), run), replay.number("array limit")
    assert done.message == f"job {number}: 1 RUNNING, 4 PENDING; those that had not ended were cancelled"
    assert run.asked[-1] == ["scancel", number]


def test_what_slurm_refuses_to_cancel_is_said_in_its_words() -> None:
    run = Cancelling()
    run.refusal = "scancel: error: Kill job error on job id 9: Access/permission denied\n"
    done = cancel.cancel(job("running"), run)
    assert not done.done
    assert done.message.endswith(" was not cancelled: Kill job error on job id 9: Access/permission denied")


def test_one_job_that_nobody_knows_does_not_keep_the_others_from_being_cancelled() -> None:
    done = cancel.cancel_all([job("99999"), job("running")], Cancelling())
    assert [one.done for one in done] == [False, True]


def test_nothing_is_cancelled_while_slurmctld_is_away_or_on_another_cluster(tmp_path: Path) -> None:
    run = Cancelling(away={"squeue": 1})
    with pytest.raises(SlurmUnavailable):
        cancel.cancel(job("running"), run)
    mine = made(tmp_path, replay.number("running"), slurm_conf="/elsewhere/slurm.conf")
    run = Cancelling()
    done = cancel.cancel(named.by_record(mine, run), run)
    assert not done.done
    assert "another cluster: export SLURM_CONF=/elsewhere/slurm.conf" in done.message
    assert all(argv[0] != "scancel" for argv in run.asked)


def test_a_log_that_slurm_does_not_tell_of_is_not_guessed(release: str) -> None:
    """Accounting knows the log since 24.05; before, only slurmctld does, for a while."""
    number = replay.number("running")
    run = Replay(forgotten=[number])
    if release < "24.05":
        with pytest.raises(NotFound, match="does not tell where its log is"):
            sources.source(job("running"), run)
    else:
        assert sources.source(job("running"), run).path() == Path(f"/shared/ada/project/slurm-{number}.out")
