"""A job's way to Slurm: what each answer of sbatch leads to. The answers are real ones, of 22.05.8."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from hpctools.errors import CommandTimeout, HpctoolsError, InvalidInput, NotFound
from hpctools.jobs import record, request, submission
from hpctools.process import Completed
from tests.jobs.jobs_of import ANSWERS

REFUSED = "sbatch: error: Batch job submission failed: "
NO_ANSWER = REFUSED + "Socket timed out on send/recv operation"
NOT_THERE = REFUSED + "Unable to contact slurm controller (connect failure)"
ACCEPTED = Completed((), 0, "42\n", "")

Answer = Completed | BaseException | Callable[[], Completed]


class Cluster:
    """The recorded cluster, with answers of sbatch as a test wants them, one after the other."""

    def __init__(self, *sbatch: Answer, known: bool = False) -> None:
        self.answers = list(sbatch)
        self.known = known
        self.asked: list[list[str]] = []
        self.environments: list[dict[str, str]] = []

    def __call__(self, argv: Sequence[str], **options: Any) -> Completed:
        self.asked.append(list(argv))
        name = argv[0]
        if name == "sbatch":
            self.environments.append(dict(options["env"]))
            answer = self.answers.pop(0)
            if isinstance(answer, BaseException):
                raise answer
            return answer if isinstance(answer, Completed) else answer()
        if name in ("sinfo", "scontrol"):
            file = "sinfo" if name == "sinfo" else "scontrol-partitions"
            return Completed(tuple(argv), 0, (ANSWERS / f"{file}.txt").read_text(), "")
        if name == "squeue":
            return Completed(tuple(argv), 0, self.queue(argv[argv.index("--Format") + 1]), "")
        return Completed(tuple(argv), 1, "", "Slurm accounting storage is disabled")

    def queue(self, columns: str) -> str:
        """What squeue says: our job, where it is known, under the run folder's name."""
        names = [column.split(":")[0] for column in columns.split(",")]
        between = columns.split(",")[0].split(":")[1]
        header = "".join(f"{name.upper()}{between}" for name in names) + "\n"
        if not self.known:
            return header
        (entry,) = record.load_all()
        known = {"JobID": "43", "ArrayJobID": "43", "NumNodes": "1", "RestartCnt": "0"}
        values = ({**known, "STDOUT": entry.token}.get(name, "N/A") for name in names)
        return header + "".join(f"{value}{between}" for value in values) + "\n"


def failed(stderr: str, status: int = 1) -> Completed:
    return Completed(("sbatch",), status, "", stderr)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "train.py").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(submission, "LOOK_S", 0.01)
    return tmp_path


def go(
    folder: Path, cluster: Cluster, say: Callable[[str], None] = lambda _: None, **values: Any
) -> record.Record:
    asked = request.gather(
        "train.py", [], {"retry_for": 1, **values}, environ={"HOME": str(folder)}, cwd=str(folder)
    )
    plan = submission.plan(asked, cluster, say, environ={})
    return submission.submit(plan, cluster, say, environ={"SBATCH_TIMELIMIT": "1"})


def runs(folder: Path) -> list[str]:
    return sorted(os.listdir(folder / "runs")) if (folder / "runs").is_dir() else []


def test_a_job_that_slurm_takes_has_a_whole_run_folder_and_a_record(folder: Path) -> None:
    cluster = Cluster(ACCEPTED)
    entry = go(folder, cluster, nodes=2)
    assert (entry.state, entry.job_id, entry.nodes, entry.gpus_per_node) == ("submitted", "42", 2, 8)
    assert record.load_all() == [entry]
    run = Path(entry.run)
    files = ["argv.json", "job.json", "job.sbatch", "launch.py", "restart.py"]
    copied = ["python", "python/hpctools", "python/hpctools/__init__.py", "python/hpctools/preemption.py"]
    assert sorted(str(path.relative_to(run)) for path in run.rglob("*")) == sorted([*files, *copied])
    assert {path.stat().st_mode & 0o777 for path in run.rglob("*") if path.is_file()} == {0o600}
    assert run.stat().st_mode & 0o777 == 0o700
    assert runs(folder) == [run.name]
    assert cluster.asked[-1] == ["sbatch", "--parsable", str(run / "job.sbatch")]
    assert len(cluster.asked) == 3  # sinfo, scontrol, sbatch: few calls
    resolved = json.loads((run / "job.json").read_text())
    assert resolved["settings"]["nodes"] == {"value": 2, "origin": "argument"}


def test_the_record_is_there_before_sbatch_runs(folder: Path) -> None:
    def look() -> Completed:
        (entry,) = record.load_all()
        assert entry.state == "submitting"
        assert (Path(entry.run) / "job.sbatch").exists()
        return ACCEPTED

    assert go(folder, Cluster(look)).job_id == "42"


def test_what_a_sites_plugin_says_reaches_who_submits(folder: Path) -> None:
    said: list[str] = []
    go(folder, Cluster(Completed((), 0, "42\n", "sbatch: lua: welcome\n")), said.append)
    assert said == ["sbatch: lua: welcome"]


def test_a_refusal_tells_slurms_own_words_and_leaves_nothing(folder: Path) -> None:
    with pytest.raises(InvalidInput) as raised:
        go(folder, Cluster(failed(REFUSED + "Job dependency problem")), dependency="foo")
    assert str(raised.value).splitlines() == [
        "Slurm refuses the job: Job dependency problem",
        "dependency=: 'foo' is no list of jobs that Slurm takes (afterok:123, afterany:123:124, singleton)",
    ]
    assert runs(folder) == []
    assert record.load_all() == []


def test_a_refused_job_leaves_other_runs_alone(folder: Path) -> None:
    go(folder, Cluster(ACCEPTED))
    with pytest.raises(InvalidInput):
        go(folder, Cluster(failed(REFUSED + "Invalid qos specification")))
    assert len(runs(folder)) == 1
    assert len(record.load_all()) == 1


def test_with_a_warning_slurm_is_asked_first_and_its_no_is_told_with_all_we_know(folder: Path) -> None:
    cluster = Cluster(failed("allocation failure: Node count specification invalid"))
    with pytest.raises(InvalidInput) as raised:
        go(folder, cluster, nodes=9, time="9-0")
    assert str(raised.value).splitlines() == [
        "Slurm refuses the job: Node count specification invalid",
        "nodes=: partition main has 4 such nodes, not 9 (--nodes 4)",
        "time=: 9-00:00:00 is more than partition main allows, 2-00:00:00 (--time 2-00:00:00)",
    ]
    assert cluster.asked[-1] == ["sbatch", "--test-only"]
    assert runs(folder) == []


def test_a_job_that_slurm_takes_in_spite_of_a_warning_is_submitted(folder: Path) -> None:
    """Sites rewrite jobs: whether a request is possible Slurm decides."""
    said: list[str] = []
    yes = failed("sbatch: Job 9 to start at 2026-11-21T14:47:13 using 2 processors on nodes n1", 0)
    assert go(folder, Cluster(yes, ACCEPTED), said.append, nodes=9).job_id == "42"
    assert said == ["Slurm takes the job, but nodes=: partition main has 4 such nodes, not 9 (--nodes 4)"]


def test_a_request_that_never_arrived_is_sent_again(folder: Path) -> None:
    said: list[str] = []
    assert go(folder, Cluster(failed(NOT_THERE), ACCEPTED), said.append, retry_for=9).job_id == "42"
    assert "asking again for" in said[0]
    assert len(runs(folder)) == 1


def test_while_slurm_stays_away_nothing_is_submitted_and_nothing_is_left(folder: Path) -> None:
    with pytest.raises(NotFound, match=r"Slurm does not answer: .*Nothing was submitted\. .*sandbox up"):
        go(folder, Cluster(failed(NOT_THERE)), retry_for=0)
    assert (runs(folder), record.load_all()) == ([], [])


@pytest.mark.parametrize(
    "answer",
    [
        failed(NO_ANSWER),
        failed(REFUSED + "Zero Bytes were transmitted or received"),
        failed(REFUSED + "Connection reset by peer"),
        failed(REFUSED + "Transport endpoint is not connected"),
        failed("", -9),
        Completed((), 0, "nonsense", ""),
        CommandTimeout(["sbatch"], 137, "no end within 300 s"),
    ],
)
def test_an_answer_that_tells_nothing_is_made_up_for_by_asking_for_the_run_folder(
    folder: Path, answer: Answer
) -> None:
    entry = go(folder, Cluster(answer, known=True))
    assert (entry.state, entry.job_id) == ("submitted", "43")
    assert record.load_all() == [entry]


def test_such_a_request_is_never_sent_twice(folder: Path) -> None:
    cluster = Cluster(failed(NO_ANSWER))
    with pytest.raises(NotFound, match="it has no such job: nothing was submitted"):
        go(folder, cluster)
    assert [words[0] for words in cluster.asked].count("sbatch") == 1


def test_a_job_that_is_not_there_could_not_run_any_more_if_it_came(folder: Path) -> None:
    with pytest.raises(NotFound):
        go(folder, Cluster(failed(NO_ANSWER)))
    assert (runs(folder), record.load_all()) == ([], [])


def test_what_cannot_be_told_yet_is_kept_and_said(folder: Path) -> None:
    cluster = Cluster(failed(NO_ANSWER))
    away = failed("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")

    def run(argv: Sequence[str], **options: Any) -> Completed:
        return away if argv[0] == "squeue" else cluster(argv, **options)

    asked = request.gather("train.py", environ={"HPCTOOLS_RETRY_FOR": "0"}, cwd=str(folder))
    with pytest.raises(HpctoolsError, match="cannot be told yet .* do not submit it again"):
        submission.submit(submission.plan(asked, run, environ={}), run, environ={})
    (entry,) = record.load_all()
    assert entry.state == "unknown"
    assert runs(folder) == [Path(entry.run).name]
    assert record.resolve(entry, Cluster(known=True)).job_id == "43"


def test_an_interrupted_submission_stays_known(folder: Path) -> None:
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        go(folder, Cluster(KeyboardInterrupt()), said.append)
    assert [entry.state for entry in record.load_all()] == ["submitting"]
    assert "`hpctools jobs` tells" in said[0]


def test_the_users_own_mistakes_come_before_a_missing_slurm(folder: Path) -> None:
    def nothing(argv: Sequence[str], **_: Any) -> Completed:
        raise NotFound(f"{argv[0]}: cannot be run")

    with pytest.raises(InvalidInput, match="not a whole number"):
        submission.plan(request.gather("train.py", (), {"nodes": "x"}, cwd=str(folder)), nothing, environ={})
    with pytest.raises(NotFound, match=r"no Slurm here: .*sandbox up"):
        submission.plan(request.gather("train.py", cwd=str(folder)), nothing, environ={})


def test_a_configuration_that_is_not_there_is_said_at_once(folder: Path) -> None:
    """Slurm's own commands wait for it for a minute."""
    with pytest.raises(NotFound, match="SLURM_CONF names /nope/slurm.conf, which is no file"):
        submission.plan(
            request.gather("train.py", cwd=str(folder)), Cluster(), environ={"SLURM_CONF": "/nope/slurm.conf"}
        )


def test_a_folder_that_cannot_be_made_is_the_users_to_choose(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(InvalidInput, match="runs_dir=: .*/file/runs: Not a directory"):
        go(folder, Cluster(ACCEPTED), runs_dir="file/runs")


def test_sbatch_sees_no_variable_that_would_override_the_script(folder: Path) -> None:
    cluster = Cluster(ACCEPTED)
    go(folder, cluster, time="5")
    assert cluster.environments == [{}]


def test_without_warnings_the_cluster_name_comes_from_its_configuration(folder: Path) -> None:
    conf = folder / "slurm.conf"
    conf.write_text("# ClusterName=no\n ClusterName = Alpha # yes\n")
    cluster = Cluster(ACCEPTED)
    asked = request.gather("train.py", cwd=str(folder))
    plan = submission.plan(asked, cluster, environ={"SLURM_CONF": str(conf)})
    entry = submission.submit(plan, cluster, environ={"SLURM_CONF": str(conf)})
    assert (entry.cluster, entry.slurm_conf) == ("alpha", str(conf))
