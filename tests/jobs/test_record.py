"""Records of submissions: what is remembered, and how a lost answer is made up for."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpctools.errors import SlurmUnavailable
from hpctools.jobs import record
from hpctools.jobs.record import Record
from hpctools.process import Completed

NAME = "train-20261121T143000Z-a1b2c3"


def made(**changes: Any) -> Record:
    one = Record(
        token=f"/runs/{NAME}/slurm.out",
        run=f"/runs/{NAME}",
        name="train",
        target="train.py",
        state="submitting",
        created_s=int(time.time()),
    )
    return replace(one, **changes)


def away(argv: Sequence[str], **_: Any) -> Completed:
    """A slurmctld that does not answer."""
    return Completed(tuple(argv), 1, "", "slurm_load_jobs error: Unable to contact slurm controller")


def empty(argv: Sequence[str], **_: Any) -> Completed:
    """A cluster without jobs and without accounting."""
    if argv[0] == "sacct":
        return Completed(tuple(argv), 1, "", "Slurm accounting storage is disabled")
    columns = argv[argv.index("--Format") + 1].split(",")
    header = "".join(column.replace(":", "", 1) for column in columns)
    return Completed(tuple(argv), 0, f"{header}\n", "")


def test_a_record_comes_back_as_it_was_saved_and_is_private(tmp_path: Path) -> None:
    one = made(job_id="12", cluster="hand", array="0-3")
    path = record.save(one, tmp_path / "jobs")
    assert path.name == f"{NAME}.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert record.load_all(tmp_path / "jobs") == [one]


def test_records_come_newest_first_whatever_their_names(tmp_path: Path) -> None:
    for name in ("b-20260101T000000Z-000000", "a-20270101T000000Z-000000", "c-20260601T000000Z-000000"):
        record.save(made(run=f"/runs/{name}", name=name[0]), tmp_path)
    assert [one.name for one in record.load_all(tmp_path)] == ["a", "c", "b"]


def test_of_two_in_one_second_the_later_is_the_newest(tmp_path: Path) -> None:
    for number, name in enumerate(("b", "a", "c")):
        record.save(made(run=f"/runs/{name}-20260101T000000Z-{number:06x}", name=name), tmp_path)
        path = tmp_path / f"{name}-20260101T000000Z-{number:06x}.json"
        os.utime(path, ns=(0, 10**18 + number))
    assert [one.name for one in record.load_all(tmp_path)] == ["c", "a", "b"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"token": "x"}', "null", '"x"'])
def test_a_broken_record_is_left_out_and_told(tmp_path: Path, text: str) -> None:
    (tmp_path / f"{NAME}.json").write_text(text)
    (tmp_path / "notes.txt").write_text("not ours")
    said: list[str] = []
    assert record.load_all(tmp_path, said.append) == []
    assert len(said) == 1
    assert NAME in said[0]


def test_a_record_of_a_newer_hpctools_is_read_without_what_is_new(tmp_path: Path) -> None:
    path = record.save(made(), tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "novelty": 1}))
    assert record.load_all(tmp_path) == [made(created_s=record.load_all(tmp_path)[0].created_s)]


def test_there_are_no_records_where_there_is_no_folder(tmp_path: Path) -> None:
    assert record.load_all(tmp_path / "nope") == []
    assert record.find("1", where=tmp_path / "nope") is None


def test_a_job_is_found_by_its_id_the_newest_first_and_by_cluster(tmp_path: Path) -> None:
    old = made(run="/runs/a-20260101T000000Z-000000", job_id="7", cluster="a", state="submitted")
    new = made(run="/runs/b-20270101T000000Z-000000", job_id="7", cluster="b", state="submitted")
    for one in (old, new):
        record.save(one, tmp_path)
    assert record.find("7", where=tmp_path) == new
    assert record.find("7_3", "a", tmp_path) == old
    assert record.find("7", "c", tmp_path) is None


def test_a_record_is_found_by_its_run_folder_in_what_slurm_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one = made(job_id="12")
    record.save(one)
    assert record.of_folder(f"/runs/{NAME}/slurm.out") == one
    assert record.of_folder("", f"sbatch --parsable /runs/{NAME}/job.sbatch 12") == one
    assert record.of_folder(f"/elsewhere/{NAME}/slurm.out") is None
    assert record.of_folder("/runs/other-20261121T143000Z-a1b2c3/slurm.out", "") is None


def test_the_records_are_in_the_state_folder() -> None:
    assert record.folder({"XDG_STATE_HOME": "/s"}) == Path("/s/hpctools/jobs")


@pytest.mark.parametrize(
    ("token", "task", "path"),
    [
        ("/runs/x/slurm.out", None, "/runs/x/slurm.out"),
        ("/50%%/x/slurm.out", None, "/50%/x/slurm.out"),
        ("/r/slurm-%A_%a.out", "3", "/r/slurm-12_3.out"),
        ("/r/slurm-%A_%a.out", None, "/r/slurm-12_%a.out"),
        ("/r/%%j-%j-%5j-%x-%N", None, "/r/%j-12-00012-train-%N"),
    ],
)
def test_the_log_is_where_slurm_puts_it(token: str, task: str | None, path: str) -> None:
    assert made(token=token, job_id="12").log(task) == Path(path)


def test_a_settled_record_is_not_asked_about(tmp_path: Path) -> None:
    one = made(state="submitted", job_id="1")
    assert record.resolve(one, away, tmp_path) is one


def test_nothing_is_concluded_while_slurm_is_away(tmp_path: Path) -> None:
    with pytest.raises(SlurmUnavailable):
        record.resolve(made(), away, tmp_path)


def test_a_young_submission_without_a_job_stays_open(tmp_path: Path) -> None:
    """Its request may still lie in slurmctld's socket."""
    one = made()
    assert record.resolve(one, empty, tmp_path) == one


def test_an_old_submission_without_a_job_never_had_one(tmp_path: Path) -> None:
    """munge's time to live is over: slurmctld would not take the request any more."""
    one = made(created_s=int(time.time()) - record.REQUEST_LIVES_S - 1)
    assert record.resolve(one, empty, tmp_path).state == "refused"
    assert record.load_all(tmp_path)[0].state == "refused"


def test_queries_go_without_a_users_own_formats() -> None:
    environ = {"PATH": "/bin", "SQUEUE_FORMAT": "%i", "SINFO_PARTITION": "x", "SLURM_TIME_FORMAT": "relative"}
    assert record.query_environment(environ) == {"PATH": "/bin"}


def test_who_we_are_is_what_the_system_says() -> None:
    import pwd

    assert record.user_name() == pwd.getpwuid(os.getuid()).pw_name


def test_a_record_with_an_image_is_one_that_can_be_looked_up_by() -> None:
    assert {made(image={"path": "/x.sif"}): 1} == {made(image={"path": "/x.sif"}): 1}
