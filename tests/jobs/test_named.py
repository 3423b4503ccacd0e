"""Which job a word means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpctools.errors import InvalidInput, NotFound
from hpctools.jobs import named
from tests.jobs import replay
from tests.jobs.records import SUBMITTED_S, made
from tests.jobs.replay import Replay


@pytest.fixture(autouse=True)
def own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.mark.parametrize("word", ["12", "12_3", "12+1"])
def test_a_job_id_needs_no_record(word: str) -> None:
    run = Replay()
    assert named.named(word, run).job_id == word
    assert run.asked == []


@settings(deadline=None)
@given(word=st.text(max_size=20).filter(lambda text: text != "last" and "/" not in text and text not in "."))
def test_any_other_word_is_refused_and_never_given_to_slurm(word: str) -> None:
    run = Replay()
    if not named.JOB_ID.fullmatch(word):
        with pytest.raises((InvalidInput, NotFound)):
            named.named(word, run, lambda: ())
    assert run.asked == []


def test_a_run_folder_is_named_by_its_name_its_path_and_a_path_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = made(tmp_path)
    made(tmp_path, "38", created_s=SUBMITTED_S + 5)
    (tmp_path / "link").symlink_to(mine.run)
    monkeypatch.chdir(tmp_path)
    for word in (
        Path(mine.run).name,
        mine.run,
        mine.run + "/",
        str(tmp_path / "link"),
        f"./{Path(mine.run).name}",
    ):
        assert named.named(word, Replay()).job_id == "37"


def test_a_run_folder_without_a_record_names_its_job_itself(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    with pytest.raises(NotFound, match="no record"):
        named.named(str(folder), Replay())
    (folder / "job_id").write_text("99\n")
    assert named.named(str(folder), Replay()).job_id == "99"


def test_last_is_the_newest_submission_that_was_not_refused(tmp_path: Path) -> None:
    made(tmp_path, "37", created_s=SUBMITTED_S)
    made(tmp_path, "38", created_s=SUBMITTED_S + 1)
    made(tmp_path, None, state="refused", created_s=SUBMITTED_S + 2)
    assert named.named("last", Replay()).job_id == "38"


def test_last_is_never_a_job_of_another_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = tmp_path / "slurm.conf"
    conf.write_text("ClusterName=here\n")
    monkeypatch.setenv("SLURM_CONF", str(conf))
    made(tmp_path, "37", created_s=SUBMITTED_S, cluster="here")
    made(tmp_path, "38", created_s=SUBMITTED_S + 1, slurm_conf="/elsewhere/slurm.conf")
    made(tmp_path, "39", created_s=SUBMITTED_S + 2, cluster="there")
    assert named.named("last", Replay()).job_id == "37"


def test_without_any_submission_there_is_no_last_job() -> None:
    with pytest.raises(NotFound, match="hpctools submit"):
        named.named("last", Replay())


def test_a_submission_without_an_answer_is_looked_for_in_slurm_by_its_run_folder(tmp_path: Path) -> None:
    lost = made(tmp_path, None, state="unknown")
    run = Replay(changes=[{replay.number("running"): {"STDOUT": lost.token}}])
    assert named.named("last", run).job_id == replay.number("running")


def test_a_submission_to_another_cluster_is_not_looked_for_in_this_one(tmp_path: Path) -> None:
    lost = made(tmp_path, None, state="unknown", slurm_conf="/elsewhere/slurm.conf")
    run = Replay()
    assert named.named(lost.run, run).job_id is None
    assert run.asked == []


def test_all_words_that_name_no_job_are_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        named.all_named(["12", "one", "two"], Replay())
    assert [problem.message.split()[0] for problem in caught.value.problems] == ["'one'", "'two'"]


def test_a_job_named_twice_is_one_job() -> None:
    assert [one.job_id for one in named.all_named(["12", "13", "12"], Replay())] == ["12", "13"]


def test_a_job_of_the_same_number_on_a_new_cluster_is_not_that_of_the_record(tmp_path: Path) -> None:
    mine = made(tmp_path)
    assert named.belongs(mine, mine.token, "", None)
    assert named.belongs(
        replace(mine, token=f"{mine.run}/slurm-%A_%a.out"), f"{mine.run}/slurm-12_3.out", "", None
    )
    assert not named.belongs(mine, "/elsewhere/slurm.out", "", None)
    assert named.belongs(mine, None, f"sbatch --parsable {mine.run}/job.sbatch", None)
    assert not named.belongs(mine, None, "sbatch job.sh", None)
    assert named.belongs(mine, None, "", SUBMITTED_S + 86400)  # requeued since
    assert not named.belongs(mine, None, "", SUBMITTED_S - 86400)
