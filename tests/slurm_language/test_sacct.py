"""What accounting says of jobs."""

from __future__ import annotations

import csv
import re

import pytest

from hpctools.errors import ParseError
from hpctools.slurm import sacct
from hpctools.slurm.sacct import AccountedJob
from tests.record import HOSTILE_COMMENT, HOSTILE_NAME
from tests.slurm_language.recordings import RELEASES, answer, corpus, each_release

# What accounting tells of a job that has not started yet: the reason for which it waits (of jobs that
# wait for their time, for another job, for a release, for their turn in an array), and the parts of a
# heterogeneous job that are found by its id.
WAITING = {
    "22.05": (("BeginTime", "Dependency", "JobHeldUser", ""), [0, 1]),
    "24.11": (("", "", "", "JobArrayTaskLimit"), [None]),
    "26.05": (("", "", "", "JobArrayTaskLimit"), [None]),
}


def jobs(release: str) -> dict[str, list[AccountedJob]]:
    """The recorded jobs by name."""
    found: dict[str, list[AccountedJob]] = {}
    for job in sacct.parse(answer(release, "sacct")):
        found.setdefault(job.name, []).append(job)
    return found


@each_release
def test_each_way_a_job_ended_is_read(release: str) -> None:
    ended = {
        name: (found[0].state, found[0].exit_status, found[0].exit_signal)
        for name, found in jobs(release).items()
    }
    assert ended["completed"] == ("COMPLETED", 0, 0)
    assert ended["failed"] == ("FAILED", 7, 0)
    assert ended["signalled"] == ("FAILED", 0, 9)
    assert ended["timeout"][0] == "TIMEOUT"
    assert ended["cancelled"][0] == "CANCELLED"
    assert ended["running"][0] == "RUNNING"
    assert ended["begin"][0] == "PENDING"


@each_release
def test_who_cancelled_a_job_is_told(release: str) -> None:
    assert jobs(release)["cancelled"][0].cancelled_by is not None
    assert jobs(release)["completed"][0].cancelled_by is None


@each_release
def test_gpus_times_and_limits_are_figures(release: str) -> None:
    (job,) = jobs(release)["completed"]
    assert job.tres["gres/gpu"] == 2
    assert job.asked["gres/gpu"] == 2
    assert job.nodes == 2
    assert job.start_s is not None
    assert job.end_s is not None
    assert job.elapsed_s == job.end_s - job.start_s
    assert job.submit_s is not None
    assert job.submit_s <= job.start_s
    assert jobs(release)["timeout"][0].time_limit_s == 60


@each_release
def test_a_job_that_waits_has_neither_nodes_nor_a_start(release: str) -> None:
    (job,) = jobs(release)["begin"]
    assert (job.node_list, job.start_s, job.end_s, job.tres) == ("", None, None, {})
    assert job.eligible_s is not None
    assert job.submit_s is not None
    assert job.eligible_s - job.submit_s == 3600


@each_release
def test_why_a_job_waits_is_told_where_accounting_knows_it(release: str) -> None:
    found = jobs(release)
    waiting = [job for job in found["array limit"] if job.state == "PENDING"]
    told = [found["begin"][0], found["dependency"][0], found["held"][0], *waiting]
    assert tuple(job.reason for job in told) == WAITING[release][0]


@each_release
def test_a_requeued_job_has_its_earlier_run_too(release: str) -> None:
    first, second = sorted(jobs(release)["requeued"], key=lambda job: job.submit_s or 0)
    assert first.job_id == second.job_id
    assert (first.state, second.state) == ("REQUEUED", "PENDING")


@each_release
def test_the_tasks_of_an_array_are_jobs_of_their_own(release: str) -> None:
    tasks = {job.array_task_id: job for job in jobs(release)["array"]}
    assert {task: job.exit_status for task, job in tasks.items()} == {"0": 0, "1": 1, "2": 2, "3": 3}
    assert len({job.job_id for job in tasks.values()}) == 4
    assert tasks["2"].label == f"{tasks['2'].array_job_id}_2"
    waiting = [job for job in jobs(release)["array limit"] if job.state == "PENDING"]
    assert [job.label for job in waiting] == [f"{waiting[0].job_id}_[3,5,7,9%1]"]


@each_release
def test_the_parts_of_a_heterogeneous_job_are_numbered(release: str) -> None:
    parts = jobs(release)["het"]
    offsets = WAITING[release][1]
    assert [job.het_offset for job in parts] == offsets
    assert {job.het_job_id for job in parts} == {None if None in offsets else parts[0].job_id}
    assert [job.nodes for job in parts] == [1, 2][: len(offsets)]
    assert jobs(release)["running"][0].het_job_id is None


@pytest.mark.parametrize("release", [release for release in RELEASES if release >= "24.05"])
def test_a_jobs_log_is_an_absolute_path_with_slurms_patterns(release: str) -> None:
    found = jobs(release)
    folder = found["completed"][0].work_dir
    assert found["completed"][0].stdout == f"{folder}/slurm-%j.out"
    assert {job.stdout for job in found["array"]} == {f"{folder}/slurm-%A_%a.out"}
    assert {job.stdout for job in found["array limit"]} == {f"{folder}/a %A_%a.out"}
    assert [job.restarts for job in found["requeued"]] == [0, 1]


@each_release
def test_a_hostile_name_changes_nothing_else(release: str) -> None:
    # Accounting itself turns " into ` in names, and keeps of unicode what its database can hold.
    def plain(text: str) -> str:
        return re.sub(r"[^\x20-\x7e\n]|`|\"", "?", text)

    (job,) = (job for name, found in jobs(release).items() for job in found if "two words" in name)
    assert plain(job.name) == plain(HOSTILE_NAME)
    assert (job.state, job.nodes, job.user) == ("RUNNING", 1, jobs(release)["running"][0].user)
    assert plain(HOSTILE_COMMENT) in plain(job.submit_line)


@each_release
def test_an_unknown_job_is_an_empty_answer(release: str) -> None:
    assert sacct.parse(answer(release, "sacct-unknown")) == ()


@pytest.mark.parametrize("text", ["", "sacct: error: Invalid field requested", "JobID|State\n1|FAILED\n"])
def test_an_answer_to_another_question_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        sacct.parse(text)


def test_fields_are_asked_for_only_where_the_release_knows_them() -> None:
    assert "SubmitLine" not in sacct.fields((20, 11))
    assert "SubmitLine" in sacct.fields((22, 5))
    assert "Restarts" not in sacct.fields((24, 5))
    assert {"Restarts", "StdOut", "SubmitLine"} <= set(sacct.fields((26, 5)))


def test_values_that_a_release_does_not_tell_are_none() -> None:
    job = sacct.record({"JobID": "12", "State": "COMPLETED"})
    assert (job.restarts, job.stdout) == (None, None)
    job = sacct.record({"JobID": "12", "State": "COMPLETED", "Restarts": "2", "StdOut": "/a b"})
    assert (job.restarts, job.stdout) == (2, "/a b")
    # A job of srun's has no log.
    assert sacct.record({"JobID": "12", "State": "COMPLETED", "StdOut": "", "WorkDir": "/w"}).stdout == ""


def test_the_name_of_the_work_folder_is_no_pattern() -> None:
    value = {"JobID": "12", "State": "COMPLETED", "WorkDir": "/w/100%j"}
    assert sacct.record({**value, "StdOut": "slurm-%j.out"}).stdout == "/w/100%%j/slurm-%j.out"
    # Absolute already, so Slurm itself takes every percent sign of it for a pattern.
    assert sacct.record({**value, "StdOut": "/w/100%j/a.out"}).stdout == "/w/100%j/a.out"


@pytest.mark.parametrize(
    "value", [{"JobID": "x"}, {"State": ""}, {"State": "failed badly"}, {"ExitCode": "7"}, {"NNodes": "x"}]
)
def test_values_that_slurm_never_prints_are_refused(value: dict[str, str]) -> None:
    with pytest.raises(ParseError):
        sacct.record({"JobID": "12", "State": "FAILED", **value})


def test_the_accounting_of_another_site_is_read() -> None:
    names = "JobID JobName User Partition NodeList AllocNodes AllocCPUS x State Submit Start End".split()
    text = corpus("hb-jobinfo", "sacct.txt").read_text()
    rows = [dict(zip(names, line.split("☃"), strict=False)) for line in text.splitlines()]
    found = [sacct.record(row) for row in rows if re.fullmatch(r"[0-9_\[\]%,+-]+", row["JobID"])]
    assert len(found) == 100
    assert {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "PENDING", "RUNNING", "NODE_FAIL"} == {
        job.state for job in found
    }


@pytest.mark.parametrize(
    ("name", "delimiter"),
    [
        ("slurm2sql/test-data1.csv", "|"),
        ("slurm2sql/test-data2.csv", "|"),
        ("gcm/sample-sacct-output.txt", "|"),
        ("gcm/sample-sacct-running-output.txt", "|#"),
    ],
)
def test_accounting_with_all_columns_of_other_releases_is_read(name: str, delimiter: str) -> None:
    text = corpus(name).read_text(errors="surrogateescape").replace(delimiter, "|")
    count = 0
    for row in csv.DictReader(text.splitlines(), delimiter="|", quoting=csv.QUOTE_NONE):
        values = {key: value for key, value in row.items() if key and value is not None}
        if values.get("State"):
            # Steps are not asked for by us, but have the same columns.
            sacct.record({**values, "JobID": values["JobID"].partition(".")[0]})
            count += 1
    assert count
