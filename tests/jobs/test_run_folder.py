"""What a job left in its run folder, whole or half."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpctools.jobs import run_folder


def put(folder: Path, name: str, **value: object) -> None:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / name).write_text(json.dumps(value))


def test_the_result_says_which_rank_failed_first_and_what_it_said_last(tmp_path: Path) -> None:
    failure = {
        "rank": 3,
        "local_rank": 1,
        "node": 1,
        "host": "n2",
        "status": 7,
        "signal": None,
        "ended_s": 5.5,
    }
    put(tmp_path, "result.json", status=7, first_failure={**failure, "last_lines": ["boom"]}, ended_s=6.0)
    found = run_folder.result(tmp_path)
    assert found is not None
    assert found.status == 7
    assert found.first_failure == run_folder.Failure(3, 1, 1, "n2", 7, None, 5.5, ("boom",))


def test_without_a_result_the_earliest_failure_of_a_rank_that_was_not_told_to_stop_counts(
    tmp_path: Path,
) -> None:
    put(tmp_path, "rank-00000.json", rank=0, status=143, ended_s=1.0, asked=True)
    put(tmp_path, "rank-00001.json", rank=1, status=9, ended_s=3.0)
    put(tmp_path, "rank-00002.json", rank=2, status=7, ended_s=2.0)
    put(tmp_path, "rank-00003.json", rank=3, status=0, ended_s=0.5)
    put(tmp_path, "node-000.json", rank=None, status=1, ended_s=0.1)
    found = run_folder.result(tmp_path)
    assert found is not None
    assert found.first_failure is not None
    assert (found.status, found.first_failure.rank) == (7, 2)


def test_where_no_rank_failed_the_launcher_of_a_node_may_have(tmp_path: Path) -> None:
    put(tmp_path, "rank-00000.json", rank=0, status=0, ended_s=1.0)
    put(tmp_path, "node-001.json", rank=None, node=1, status=127, ended_s=1.0)
    failure = run_folder.first_failure(tmp_path)
    assert failure is not None
    assert (failure.rank, failure.node, failure.status) == (None, 1, 127)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "[" * 10**5, '{"status": "seven"}', "\x00"])
def test_a_broken_result_breaks_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "result.json").write_text(text)
    (tmp_path / "rank-00000.json").write_text(text)
    found = run_folder.result(tmp_path)
    assert found is None or found.status == 1


def test_a_file_too_large_to_be_a_record_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "result.json", "wb") as file:
        file.truncate(10 * 1024**3)
    assert run_folder.result(tmp_path) is None


def test_attempts_and_tasks_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("attempt-10", "attempt-2", "attempt-x", "task-10", "task-9", "tasks"):
        (tmp_path / name).mkdir()
    assert [path.name for path in run_folder.attempts(tmp_path)] == ["attempt-2", "attempt-10"]
    assert run_folder.tasks(tmp_path) == ("9", "10")
    assert run_folder.attempts(tmp_path, "9") == ()
    assert run_folder.attempts(tmp_path / "none") == ()


def test_the_jobs_of_a_run_are_those_of_its_attempts(tmp_path: Path) -> None:
    for number, job_id in enumerate(("7", "7", "9", "$(id)")):
        (tmp_path / f"attempt-{number}").mkdir()
        (tmp_path / f"attempt-{number}" / "begin.json").write_text(json.dumps({"job_id": job_id}))
    assert run_folder.job_ids(tmp_path) == ("7", "9")
