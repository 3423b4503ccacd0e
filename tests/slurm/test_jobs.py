"""jobs, status, logs, wait, cancel, submit --follow, doctor and the Python API on a real cluster."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import hpctools
from hpctools import process
from hpctools.errors import NotFound
from hpctools.jobs import follow, named, report, watch
from hpctools.process import Completed
from hpctools.slurm import sbatch

pytestmark = pytest.mark.needs_slurm

ROOT = Path(__file__).resolve().parent.parent.parent
# A line of bash that goes on when its test says so.
UNTIL_GO = 'until [ -e "$HPCTOOLS_RUN/go" ]; do sleep 0.2; done'
STEPS = "for i in 1 2 3; do echo step $i; sleep 0.3; done; "
AWAY = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"


@pytest.fixture
def folder(slurm_env: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a user's own to work in, with records of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


@pytest.fixture
def sent(folder: Path) -> Iterator[list[str]]:
    """The jobs of a test: what still waits or runs at its end is cancelled."""
    jobs: list[str] = []
    yield jobs
    if jobs:
        process.run(["scancel", *jobs])


def send(sent: list[str], body: str, *options: str) -> str:
    """Submit a script without hpctools; returns the job's id."""
    words = ["sbatch", "--parsable", "--mem=100", "--time=5", *options]
    sent.append(sbatch.parse(process.run(words, stdin=f"#!/bin/bash\n{body}\n").check()).job_id)
    return sent[-1]


def submit(sent: list[str], body: str, **settings: object) -> hpctools.Job:
    """Submit a line of bash with hpctools, one rank on one GPU."""
    usual: dict[str, Any] = {
        "command": True,
        "launcher": "none",
        "gpus_per_node": 1,
        "time": "5",
        "python": sys.executable,
    }
    job = hpctools.submit("bash", "-c", body, **{**usual, **settings})
    sent.append(str(job.job_id))
    return job


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "hpctools", *words]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def told(*words: str, status: int = 0) -> Completed:
    """What `hpctools WORDS` prints; status is what it has to end with."""
    done = process.run(command(*words), timeout_s=300, env=environment())
    assert (done.status, "Traceback" in done.stderr) == (status, False), done.stderr
    return done


def data(*words: str, status: int = 0) -> Any:
    """What `hpctools WORDS --json` prints, which is one document."""
    return json.loads(told(*words, "--json", status=status).stdout)


def until(job: str, true: Callable[[watch.Seen], bool]) -> None:
    """Wait until something is true of a job."""
    for _ in range(300):
        if true(watch.look(named.named(job, process.run), process.run)):
            return
        time.sleep(0.4)
    raise AssertionError(f"waited for job {job} in vain")


def go(job: hpctools.Job) -> None:
    """What UNTIL_GO waits for."""
    assert job.run is not None
    (job.run / "go").touch()


def runs(seen: watch.Seen) -> bool:
    return seen.jobs[0].state == "RUNNING"


def test_submit_follow_streams_the_log_and_ends_with_the_status_of_the_rank(folder: Path) -> None:
    words = ("--command", "--launcher=none", "--gpus-per-node=2", "--time=5", f"--python={sys.executable}")
    body = STEPS + UNTIL_GO + r"; printf '\377 is no text\n'; exit 7"
    argv = command("submit", *words, "--follow", "bash", "--", "-c", body)
    with subprocess.Popen(argv, env=environment(), stdout=-1, stderr=-1) as following:
        assert following.stderr is not None
        said = [following.stderr.readline()]
        while said[-1] and b" runs on 1 node " not in said[-1]:
            said.append(following.stderr.readline())
        go(hpctools.job("last"))
        out, rest = following.communicate(timeout=120)
    told_of = b"".join([*said, rest]).decode()
    assert following.returncode == 7, told_of
    assert [line for line in out.splitlines() if b"] step" in line] == [b"[0] step %d" % i for i in (1, 2, 3)]
    assert b"\xff is no text" in out
    assert "FAILED, status 7 (the first failure's)" in told_of
    assert "first failure: rank 0 on " in told_of
    assert "(as accounted)" in told_of
    found = data("status")
    assert (found["status"], found["first_failure"]["rank"], found["gpus"]) == (7, 0, 2)
    assert found["gpu_seconds"] == 2 * found["elapsed_s"]
    assert found["gpu_hours_final"] is True


def test_a_job_put_back_into_the_queue_is_followed_on_and_every_run_is_charged(sent: list[str]) -> None:
    body = f'[ "$SLURM_RESTART_COUNT" ] || {{ echo first; sleep 300; }}; echo again; {UNTIL_GO}'
    job, out, said = submit(sent, body), io.BytesIO(), list[str]()
    number = str(job.job_id)
    acted: list[str] = []

    def act(text: str) -> None:
        said.append(text)
        if " runs on " in text and not acted:
            acted.append("requeue")
            until(number, lambda _: "first" in job.logs())
            process.run(["scontrol", "requeue", number]).check()
        elif "was put back into the queue" in text and len(acted) == 1:
            acted.append("start")
            until(number, lambda seen: seen.jobs[0].reason == "BeginTime")
            # slurmd refuses a launch that is not at least a second younger than the end of the run
            # before (cred_revoked in cred_context.c), and Slurm would call the job failed.
            process.run(["scontrol", "update", f"JobId={number}", "StartTime=now+2"]).check()
        elif "(attempt 2) runs on" in text:
            go(job)

    record = named.named(str(job.job_id), process.run).records[0]
    assert follow.follow(record, out, process.run, teller=follow.Teller(act)) == 0, said
    assert b"[0] again" in out.getvalue()
    assert any("(attempt 2) runs on" in text for text in said)
    found = data("status", str(job.job_id))
    assert [run["state"] for run in found["runs"]] == ["REQUEUED", "COMPLETED"]
    assert found["gpu_seconds"] == sum(run["elapsed_s"] for run in found["runs"])
    assert (found["restarts"], found["attempts"]) == (1, 2)


def test_ctrl_c_detaches_from_a_job_that_goes_on(folder: Path, sent: list[str]) -> None:
    job = submit(sent, "echo hello; sleep 280")
    for words in (["logs", "-f", str(job.job_id)], None):
        argv = command(*words) if words else [sys.executable, "-c", FOLLOW, str(job.run)]
        with subprocess.Popen(
            argv, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as following:
            assert following.stdout is not None
            assert following.stdout.readline() == b"[0] hello\n"
            following.send_signal(signal.SIGINT)
            _, said = following.communicate(timeout=120)
        assert following.returncode == 130
        assert b"Traceback" not in said
        assert words or f"hpctools logs -f {job.job_id}".encode() in said
    assert job.status().state == "RUNNING"


FOLLOW = """
import sys, hpctools
sys.exit(hpctools.job(sys.argv[1]).follow())
"""


def test_a_job_cancelled_while_it_is_followed_ends_with_143(sent: list[str]) -> None:
    job, said = submit(sent, "echo hello; sleep 280"), list[str]()

    def act(text: str) -> None:
        said.append(text)
        if " runs on " in text:
            process.run(["scancel", str(job.job_id)]).check()

    assert job.follow(io.BytesIO(), act) == 143
    assert any("CANCELLED, status 143" in text for text in said)
    assert job.wait() == 143


def test_following_survives_a_slurmctld_that_is_away(sent: list[str]) -> None:
    job, out, said, calls = submit(sent, STEPS + UNTIL_GO), io.BytesIO(), list[str](), list[str]()

    def flapping(argv: Sequence[str], **more: Any) -> Completed:
        calls.append(argv[0])
        if argv[0] == "squeue" and 1 < calls.count("squeue") < 5:
            return Completed(tuple(argv), 1, "", AWAY)
        if calls.count("squeue") >= 5:
            go(job)
        return process.run(argv, **more)

    record = named.named(str(job.job_id), process.run).records[0]
    assert follow.follow(record, out, flapping, teller=follow.Teller(said.append)) == 0
    assert out.getvalue().count(b"step") == 3
    told_of = [text.split(" (")[0] for text in said if text.startswith("Slurm")]
    assert told_of == ["Slurm does not answer", "Slurm answers again"]


def test_wait_ends_with_the_first_status_that_is_not_0(sent: list[str]) -> None:
    jobs = [send(sent, body) for body in ("sleep 1", "sleep 1; exit 4", "kill -SEGV $$")]
    done = told("wait", *jobs, status=4)
    assert [line.split(": ")[1] for line in done.stdout.splitlines() if line.startswith("job ")] == [
        "COMPLETED",
        "FAILED, status 4",
        "FAILED, status 139",
    ]
    assert [job["status"] for job in data("wait", *jobs, status=4)] == [0, 4, 139]


def test_all_tasks_of_an_array_are_waited_for_and_each_has_its_state_and_log(sent: list[str]) -> None:
    job = submit(
        sent, "sleep 1; echo task $SLURM_ARRAY_TASK_ID; exit $((SLURM_ARRAY_TASK_ID % 2 * 5))", array="0-3%2"
    )
    number = str(job.job_id)
    assert told("wait", number, status=5).stdout.startswith(f"array {number}: 2 COMPLETED, 2 FAILED")
    found = data("status", number)
    assert (found["job_id"], found["state"], found["status"]) == (number, "FAILED", 5)
    assert [(task["job_id"], task["status"]) for task in found["tasks"]] == [
        (f"{number}_{task}", task % 2 * 5) for task in range(4)
    ]
    assert found["gpu_seconds"] == sum(task["gpu_seconds"] for task in found["tasks"]) > 0
    assert "[0] task 1\n" in told("logs", f"{number}_1").stdout
    assert told("logs", f"{number}_3", "--rank=0").stdout == "task 3\n"
    assert f"name a task: {number}_0" in told("logs", number, status=2).stderr
    assert told("wait", f"{number}_2").stdout.startswith(f"job {number}_2 ")


def test_a_job_of_sbatch_s_own_has_status_log_and_wait_too(sent: list[str], folder: Path) -> None:
    job = send(
        sent, "echo out; echo err >&2; exit 3", "--output=my %j.out", "--error=my %x.err", "--job-name=a b"
    )
    told("wait", job, status=3)
    found = data("status", job)
    assert (found["name"], found["status"], found["run"]) == ("a b", 3, None)
    assert found["log"] == str(folder / f"my {job}.out")
    assert found["error_log"] == str(folder / "my a b.err")
    assert found["last_lines"] == ["out"]
    assert told("logs", job).stdout == "out\n"
    assert "not submitted by hpctools" in told("logs", job, "--rank=0", status=2).stderr


def test_a_waiting_job_says_why_and_that_it_has_no_log_yet(sent: list[str]) -> None:
    held = send(sent, "true", "--hold")
    never = send(sent, "true", f"--dependency=afterok:{held}")
    assert "PENDING, JobHeldUser: It is held. `scontrol release JOB`" in told("status", held).stdout
    until(never, lambda seen: seen.jobs[0].reason == "Dependency")
    assert data("status", never)["dependency"].startswith(f"afterok:{held}")
    assert "has not started (PENDING, JobHeldUser)" in told("logs", held, status=1).stderr


def test_a_job_is_cancelled_once_and_what_has_ended_is_said(sent: list[str]) -> None:
    held = send(sent, "true", "--hold", "--job-name=mine")
    runs_now = send(sent, "sleep 280")
    until(runs_now, runs)
    done = told("cancel", held, runs_now)
    assert done.stdout.splitlines()[0] == f'job {held} "mine" is cancelled; it had not started'
    assert "was RUNNING for" in done.stdout.splitlines()[1]
    told("wait", held, runs_now, status=143)
    (again,) = data("cancel", held, status=1)
    assert (again["done"], again["was"]) == (False, "CANCELLED")


@pytest.mark.parametrize("verb", ["status", "logs", "wait", "cancel"])
@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("99999999", 1),
        ("last", 1),
        ("abc", 2),
        ("12.batch", 2),
        ("12_[1-3]", 2),
        ("; scancel -u root", 2),
        ("", 2),
    ],
)
def test_what_is_no_job_is_told_in_one_line(folder: Path, verb: str, word: str, status: int) -> None:
    done = told(verb, word, status=status)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_a_hostile_name_neither_breaks_the_table_nor_reaches_the_terminal(sent: list[str]) -> None:
    name = "\x1b[2J\x1b]0;title\ais\n99999 RUNNING"
    job = send(sent, "true", "--hold", f"--job-name={name}")
    for words in (("jobs",), ("status", job), ("cancel", job)):
        done = told(*words)
        assert all(char == "\n" or char.isprintable() for char in done.stdout + done.stderr)
    assert name in [one["name"] for one in data("jobs")]


def test_my_jobs_are_listed_with_their_run_folders_the_running_ones_first(sent: list[str]) -> None:
    ended = submit(sent, "exit 5")
    ended.wait()
    waits = send(sent, "true", "--hold")
    going = submit(sent, "sleep 280")
    until(str(going.job_id), runs)
    found = {job["job_id"]: job for job in data("jobs")}
    assert (found[ended.job_id]["status"], found[ended.job_id]["run"]) == (5, str(ended.run))
    assert found[going.job_id]["gpus"] == 1
    assert found[waits]["reason"] == "JobHeldUser"
    order = [line.split()[0] for line in told("jobs").stdout.splitlines()[1:]]
    assert order.index(str(going.job_id)) < order.index(waits) < order.index(str(ended.job_id))
    assert told("jobs", "--limit=0").stderr.count("more have ended") == 1


def test_a_log_may_be_cut_short_by_its_reader(sent: list[str]) -> None:
    job = submit(sent, "seq 100000")
    job.wait()
    with subprocess.Popen(
        command("logs", str(job.job_id)), env=environment(), stdout=-1, stderr=-1
    ) as reading:
        assert reading.stdout is not None
        assert reading.stderr is not None
        assert reading.stdout.readline() == b"[0] 1\n"
        reading.stdout.close()
        assert reading.stderr.read() == b""
    assert told("logs", str(job.job_id), "--tail=2", "--rank=0").stdout == "99999\n100000\n"
    assert told("logs", "--follow", "--tail=1", "--rank=0").stdout == "100000\n"


def test_a_job_in_python_tells_its_state_its_log_its_result_and_can_be_cancelled(sent: list[str]) -> None:
    job = submit(sent, "echo one; echo two; exit 6")
    assert job.run is not None
    assert job.run.is_dir()
    assert job.wait() == 6
    result = job.result()
    assert result is not None
    assert result.first_failure is not None
    assert (result.status, result.first_failure.last_lines) == (6, ("one", "two"))
    assert job.logs(rank=0) == "one\ntwo\n"
    assert job.logs(rank=0, last_lines=1) == "two\n"
    until(str(job.job_id), lambda seen: report.report(seen, process.run).usage.settled)  # slurmdbd lags
    whole = job.status()
    assert (whole.state, whole.status, whole.usage.settled) == ("FAILED", 6, True)
    assert not job.cancel().done
    assert hpctools.job("last").job_id == job.job_id
    assert hpctools.job(str(job.job_id)).run == job.run
    assert job.job_id in [one.job.job_id for one in hpctools.list_jobs()]


def test_the_doctor_finds_the_cluster_well(folder: Path) -> None:
    well = (
        "Slurm's commands",
        "slurm.conf",
        "slurmctld",
        "munge",
        "accounting",
        "nodes",
        "GPUs",
        "run folders",
    )
    for _ in range(5):  # it gives each answer 12 s, which a busy machine may not keep to
        found = {
            check["name"]: check for check in json.loads(process.run(command("doctor", "--json")).stdout)
        }
        verdicts = {name: found[name]["verdict"] for name in well}
        if verdicts == dict.fromkeys(well, "ok"):
            break
    assert verdicts == dict.fromkeys(well, "ok"), found
    assert all(check["advice"] for check in found.values() if check["verdict"] != "ok")


@pytest.mark.slow
def test_a_job_whose_time_is_over_ends_with_124(sent: list[str]) -> None:
    job = submit(sent, "sleep 300", time="1")
    assert job.wait() == 124
    assert "TIMEOUT, status 124" in told("status").stdout


def test_python_finds_the_only_sandbox_as_the_command_line_does(
    slurm_env: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_CONF")
    assert isinstance(hpctools.list_jobs(everyone=True), tuple)
    assert os.environ["SLURM_CONF"] == slurm_env["SLURM_CONF"]
    with pytest.raises(NotFound):
        hpctools.job(99999999).status()
