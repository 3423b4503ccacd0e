"""What squeue says of jobs."""

from __future__ import annotations

import pytest

from hpctools.errors import ParseError
from hpctools.slurm import squeue
from hpctools.slurm.squeue import QueuedJob
from tests.record import HOSTILE_COMMENT, HOSTILE_NAME
from tests.slurm_language.recordings import answer, corpus, each_release

# What --output is said to be where none was given, of a job and of a task of an array, behind the
# folder. 22.05 makes up the same for both (QueuedJob).
DEFAULT_LOGS = {
    "22.05": ("slurm-{id}.out", "slurm-{id}.out"),
    "24.11": ("slurm-%j.out", "slurm-%A_%a.out"),
    "26.05": ("slurm-%j.out", "slurm-%A_%a.out"),
}
# The reason for which a signal ended a job.
SIGNALLED = {
    "22.05": "JobLaunchFailure",
    "24.11": "RaisedSignal:9(Killed)",
    "26.05": "RaisedSignal:9(Killed)",
}


def jobs(release: str) -> dict[str, list[QueuedJob]]:
    """The recorded jobs by name."""
    found: dict[str, list[QueuedJob]] = {}
    for job in squeue.parse(answer(release, "squeue")):
        found.setdefault(job.name, []).append(job)
    return found


@each_release
def test_each_way_a_job_ends_or_waits_is_read(release: str) -> None:
    states = {name: (found[0].state, found[0].reason) for name, found in jobs(release).items()}
    assert states["completed"] == ("COMPLETED", "None")
    assert states["failed"] == ("FAILED", "NonZeroExitCode")
    assert states["signalled"] == ("FAILED", SIGNALLED[release])
    assert states["timeout"] == ("TIMEOUT", "TimeLimit")
    assert states["cancelled"][0] == "CANCELLED"
    assert states["requeued"] == ("PENDING", "BeginTime")
    assert states["begin"] == ("PENDING", "BeginTime")
    assert states["held"] == ("PENDING", "JobHeldUser")
    assert states["resources"] == ("PENDING", "Resources")
    assert states["priority"] == ("PENDING", "Priority")
    assert states["dependency"] == ("PENDING", "Dependency")
    assert states["never"] == ("PENDING", "DependencyNeverSatisfied")
    assert states["running"] == ("RUNNING", "None")


@each_release
def test_a_hostile_name_and_comment_come_back_whole_and_change_nothing(release: str) -> None:
    (job,) = jobs(release)[HOSTILE_NAME]
    assert job.state == "RUNNING"
    assert job.comment == HOSTILE_COMMENT
    assert job.stdout.endswith("/h %j %x.out")


@each_release
def test_a_running_job_has_its_figures(release: str) -> None:
    (job,) = jobs(release)["running"]
    assert job.nodes == 2
    assert "[" in job.node_list
    assert job.tres["gres/gpu"] == 4
    assert job.tres["mem"] > 0
    assert job.start_s is not None
    assert job.end_s is not None
    assert job.time_limit_s == job.end_s - job.start_s
    assert 0 < job.elapsed_s < 300
    assert job.submit_s <= job.start_s
    assert (job.comment, job.restarts, job.array_job_id, job.het_job_id) == ("one", 0, None, None)
    assert job.label == job.job_id


@each_release
def test_a_jobs_log_is_an_absolute_path(release: str) -> None:
    found = jobs(release)
    names = zip((found["running"][0], found["array"][0]), DEFAULT_LOGS[release], strict=True)
    for job, name in names:
        assert job.stdout == f"{job.work_dir}/{name.format(id=job.job_id)}"
    assert {job.stdout for job in found["array limit"]} == {f"{found['running'][0].work_dir}/a %A_%a.out"}


@each_release
def test_every_job_has_its_times_and_figures(release: str) -> None:
    for job in squeue.parse(answer(release, "squeue")):
        assert job.time_limit_s == (60 if job.name == "timeout" else 3600)
        assert job.tres["node"] == job.nodes
        assert job.tres["mem"] == 2048 * job.tres["cpu"]
        assert job.submit_s > 1_700_000_000
        assert bool(job.node_list) == (job.state != "PENDING")
        assert (job.start_s is None) == (job.end_s is None)
        assert job.account == "research"
        assert (job.partition, job.qos, job.user) == ("main", "normal", "root")


@each_release
def test_a_requeued_job_counts_its_restarts(release: str) -> None:
    assert jobs(release)["requeued"][0].restarts == 1


@each_release
def test_the_tasks_of_an_array_that_run_and_that_wait_are_told_apart(release: str) -> None:
    found = {job.state: job for job in jobs(release)["array limit"]}
    running, waiting = found["RUNNING"], found["PENDING"]
    assert running.label == f"{waiting.array_job_id}_1"
    assert running.job_id != waiting.job_id
    assert waiting.array_task_id == "3,5,7,9%1"
    assert waiting.label == f"{waiting.job_id}_[3,5,7,9%1]"
    assert waiting.reason == "JobArrayTaskLimit"
    assert running.stdout == waiting.stdout


@each_release
def test_the_first_task_of_an_array_is_a_task(release: str) -> None:
    assert sorted(job.array_task_id or "" for job in jobs(release)["array"]) == ["0", "1", "2", "3"]


@each_release
def test_the_parts_of_a_heterogeneous_job_name_what_they_belong_to(release: str) -> None:
    parts = jobs(release)["het"]
    assert sorted(job.nodes for job in parts) == [1, 2]
    assert {job.het_job_id for job in parts} == {min(job.job_id for job in parts)}


@each_release
def test_a_dependency_is_told_with_its_state(release: str) -> None:
    assert "unfulfilled" in jobs(release)["dependency"][0].dependency
    assert jobs(release)["running"][0].dependency == ""


@each_release
def test_the_expected_start_of_a_waiting_job_is_read(release: str) -> None:
    (start,) = squeue.parse_start(answer(release, "squeue-start"))
    assert start.reason == "Resources"
    assert start.start_s is None or start.start_s > 1_700_000_000


@each_release
def test_a_job_that_waits_no_more_has_no_expected_start(release: str) -> None:
    assert squeue.parse_start(answer(release, "squeue-start-running")) == ()


@each_release
def test_an_unknown_job_is_an_error_that_we_know(release: str) -> None:
    text = answer(release, "squeue-unknown")
    assert squeue.UNKNOWN_JOB in text
    with pytest.raises(ParseError):
        squeue.parse(text)


def test_jobs_are_asked_for_in_every_state_only_by_id() -> None:
    words = squeue.command(job_ids=("12", "15_3"))
    assert "--jobs=12,15_3" in words
    assert "--states=all" in words
    assert "--states=all" not in squeue.command(user="ada")
    assert "--user=ada" in squeue.command(user="ada")
    assert "--me" in squeue.command(me=True)


def test_a_users_text_cannot_become_an_option() -> None:
    assert squeue.command(user="--all")[-1] == "--user=--all"


def test_reasons_of_another_site_are_all_explained() -> None:
    from hpctools.slurm import why

    for line in corpus("hb-jobinfo", "squeue.txt").read_text().splitlines():
        reason = line.split(";")[1]
        if reason.startswith("("):
            assert "Slurm says: Slurm" not in why.explain(reason)
