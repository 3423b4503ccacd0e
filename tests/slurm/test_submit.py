"""hpctools submit on a real cluster."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from hpctools import process
from hpctools.cli import main
from hpctools.jobs import record
from hpctools.slurm import scontrol, squeue

# Writes what it was given into a file of its rank: words, environment, folder.
PROGRAM = """\
import json, os, sys
rank = os.environ["SLURM_PROCID"]
with open(os.path.join(os.environ["HPCTOOLS_RUN"], f"seen-{rank}.json"), "w") as file:
    json.dump([sys.argv, dict(os.environ), os.getcwd()], file)
print("said by", rank)
sys.exit(int(os.environ.get("STATUS", 0)))
"""
HEX = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")

Submit = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slurm_env: Mapping[str, str]) -> Iterator[Path]:
    """The working folder, with the script in it; what the test submitted is cancelled."""
    known = {one.run for one in record.load_all()}
    (tmp_path / "train.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    ids = [one.job_id for one in record.load_all() if one.run not in known and one.job_id]
    if ids:
        process.run(["scancel", "--quiet", *ids])


@pytest.fixture
def submit(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Submit:
    """hpctools submit: its status, stdout, stderr."""

    def run(*words: str, target: str = "train.py") -> tuple[int, str, str]:
        status = main(["submit", target, *words])
        out, err = capfdbinary.readouterr()
        return status, out.decode(errors="surrogateescape"), err.decode(errors="surrogateescape")

    return run


PLAIN = ("--launcher", "none", "--python", sys.executable, "--gpus-per-node", "1")


def details(job_id: str) -> dict[str, str]:
    text = process.run(scontrol.job_command(job_id), env={**os.environ, **squeue.ENV}).check()
    return scontrol.parse_job(text)


def ended(job_id: str, within_s: float = 300) -> dict[str, str]:
    """scontrol's fields of a job that has ended."""
    deadline = time.monotonic() + within_s
    while (found := details(job_id))["JobState"] in ("PENDING", "RUNNING", "CONFIGURING", "COMPLETING"):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


def test_the_id_alone_stands_on_stdout_and_the_job_runs_with_its_words_and_variables(
    submit: Submit, folder: Path
) -> None:
    words = ["a b", "'$(touch executed)'", "--nodes", "--", "é\n;#%j"]
    status, out, err = submit("--nodes", "2", *PLAIN, "--env", "A=b 'c'\n$x", "--", *words)
    assert status == 0, err
    assert re.fullmatch(r"[0-9]+\n", out)
    assert f"job {out.strip()}, train: 2 nodes, 1 h100 GPU each" in err
    found = ended(out.strip())
    assert found["JobState"] == "COMPLETED"
    assert found["NumNodes"] == "2"
    (entry,) = [one for one in record.load_all() if one.job_id == out.strip()]
    for rank in "01":
        argv, environ, cwd = json.loads(Path(entry.run, f"seen-{rank}.json").read_text())
        assert argv == ["train.py", *words]
        assert environ["A"] == "b 'c'\n$x"
        assert cwd == str(folder)
    assert sorted(entry.log().read_text().splitlines()) == ["[0] said by 0", "[1] said by 1"]
    assert not (folder / "executed").exists()


def test_dry_run_prints_the_very_script_and_makes_nothing(submit: Submit, folder: Path) -> None:
    words = ["--nodes", "3", "--env", "A=x y", "--time", "10", "--sbatch-option", "hold", "--", "z"]
    before = record.load_all()
    status, script, err = submit("--dry-run", *words)
    assert status == 0
    assert os.listdir(folder) == ["train.py"]
    assert record.load_all() == before
    assert "nothing was made" in err
    assert submit(*words)[0] == 0
    (run,) = (folder / "runs").iterdir()
    submitted = (run / "job.sbatch").read_text()
    assert HEX.sub("YYYYMMDDThhmmssZ-xxxxxx", submitted) == script


def test_all_that_slurm_refuses_is_one_message_with_what_would_do(submit: Submit, folder: Path) -> None:
    status, out, err = submit("--partition", "mian", "--nodes", "9", "--gpu-type", "H100", "--time", "99-0")
    assert (status, out) == (2, "")
    for text in (
        "Slurm refuses the job: invalid partition specified: mian",
        "--partition: there is no partition 'mian' (did you mean main?)",
        "--gpu-type: there is no GPU type 'H100' in partition main (did you mean h100?)",
        "--nodes: partition main has 4 such nodes, not 9 (--nodes 4",
        "--time: 99-00:00:00 is more than partition main allows",
    ):
        assert text in err
    assert os.listdir(folder) == ["train.py"]


def test_an_account_that_is_not_ones_own_is_told_with_those_that_are(submit: Submit) -> None:
    status, _, err = submit("--account", "nope")
    assert status == 2
    assert "Slurm refuses the job: Invalid account" in err
    assert "--account: there is no account 'nope' for user " in err


def test_only_slurms_own_words_remain_for_what_we_do_not_know(submit: Submit) -> None:
    status, _, err = submit("--sbatch-option", "foo=1")
    assert status == 2
    assert "Slurm refuses the job: unrecognized option '--foo=1'" in err


def exclusive(found: Mapping[str, str]) -> str:
    """NODE or NO; before 26.05 scontrol told it as OverSubscribe."""
    return found.get("Exclusive") or {"NO": "NODE", "OK": "NO"}[found["OverSubscribe"]]


def test_a_whole_node_is_asked_for_with_all_that_it_has(submit: Submit) -> None:
    _, out, _ = submit("--sbatch-option", "hold")
    found = details(out.strip())
    assert exclusive(found) == "NODE"
    assert "gres:gpu:8" in found["TresPerNode"] or "gres/gpu:8" in found["TresPerNode"]
    assert found["MinMemoryNode"] in ("0", "")


def test_fewer_gpus_come_with_their_share_of_the_node(submit: Submit) -> None:
    _, out, _ = submit("--gpus-per-node", "h100:2", "--sbatch-option", "hold")
    found = details(out.strip())
    assert exclusive(found) == "NO"
    assert found["TresPerNode"].endswith("gpu:h100:2")
    assert found["CPUs/Task"] == "8"  # of 32, two GPUs of eight
    assert found["MinMemoryNode"] == "16G"  # of 64


def test_a_users_sbatch_variables_are_honoured_and_the_command_line_wins(
    submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBATCH_PARTITION", "debug")
    monkeypatch.setenv("SBATCH_WCKEY", "x")
    monkeypatch.setenv("SBATCH_OUTPUT", "/dev/null")
    _, out, _ = submit("--sbatch-option", "hold")
    assert details(out.strip())["Partition"] == "debug"
    _, out, _ = submit("--partition", "main", "--sbatch-option", "hold")
    found = details(out.strip())
    assert found["Partition"] == "main"
    assert found["StdOut"].endswith("/slurm.out")


def test_a_job_may_submit_a_job(submit: Submit, folder: Path) -> None:
    """A nested sbatch inherits SLURM_NTASKS and the like, and would ask for what the outer one has."""
    code = "import sys; from hpctools.cli import main; sys.exit(main(sys.argv[1:]))"
    inner = ["submit", "train.py", *PLAIN, "--nodes", "1", "--env", "INNER=1"]
    words = ["--command", *PLAIN, "--env", f"PYTHONPATH={os.pathsep.join(sys.path)}"]
    status, out, err = submit(*words, "--follow", "--", "-c", code, *inner, target=sys.executable)
    assert status == 0, err
    (number,) = re.findall(r"^\[0\] ([0-9]+)$", out, re.MULTILINE)
    found = ended(number)
    assert found["JobState"] == "COMPLETED"
    assert found["NumNodes"] == "1"


def test_an_array_leaves_the_log_of_each_task(submit: Submit) -> None:
    _, out, _ = submit("--array", "1-3%2", *PLAIN)
    (entry,) = [one for one in record.load_all() if one.job_id == out.strip()]
    for task in "123":
        ended(f"{out.strip()}_{task}")
        assert entry.log(task).read_text() == "[0] said by 0\n"


def test_follow_ends_with_the_status_of_the_first_rank_that_failed(submit: Submit) -> None:
    status, out, err = submit("--follow", *PLAIN, "--env", "STATUS=7")
    assert status == 7
    assert "[0] said by 0" in out
    assert "job " in err


def test_the_answer_as_json_is_one_object(submit: Submit, folder: Path) -> None:
    _, out, _ = submit("--json", "--nodes", "2", "--sbatch-option", "hold", "--name", "a b")
    found = json.loads(out)
    assert found["job_id"].isdigit()
    assert (found["name"], found["nodes"], found["gpus_per_node"], found["gpu_type"]) == ("a b", 2, 8, "h100")
    assert found["log"] == f"{found['run']}/slurm.out"
    assert found["warnings"] == []


def test_when_a_job_could_start_is_told_with_what_that_leaves_out(submit: Submit, folder: Path) -> None:
    submit("--sbatch-option", "begin=now+1hour")
    status, out, _ = submit("--test-only", "--nodes", "4")
    assert status == 0
    first, second = out.splitlines()
    assert re.match(r"could start at [-0-9]{10} [:0-9]{8} on n\[1-4\] in partition main, if no pend", first)
    assert re.match(r"[1-9]\d* jobs? wait", second)
    assert len(list((folder / "runs").iterdir())) == 1
    assert json.loads(submit("--test-only", "--json")[1])["waiting"] >= 1
    status, _, err = submit("--test-only", "--nodes", "5")
    assert status == 2
    assert "--nodes: partition main has 4 such nodes, not 5" in err


def test_a_job_that_needs_a_drained_node_waits_for_it(submit: Submit) -> None:
    """sbatch --test-only would refuse it, sbatch itself takes it."""
    process.run(["scontrol", "update", "nodename=n4", "state=drain", "reason=test"]).check()
    try:
        status, out, err = submit("--nodes", "4", "--constraint", "none_such")
        assert status == 2  # a mistake stays one
        status, out, err = submit("--nodes", "4")
        assert status == 0, err
        assert "only 3 of the 4 nodes of partition main are up: the job waits for 4" in err
        assert details(out.strip())["JobState"] == "PENDING"
    finally:
        process.run(["scontrol", "update", "nodename=n4", "state=resume"]).check()


def test_the_log_may_be_elsewhere_and_the_job_is_still_found(submit: Submit, folder: Path) -> None:
    _, out, _ = submit("--output", "%x-%j.txt", *PLAIN)
    ended(out.strip())
    (entry,) = [one for one in record.load_all() if one.job_id == out.strip()]
    assert entry.log() == folder / f"train-{out.strip()}.txt"
    assert entry.log().read_text() == "[0] said by 0\n"
    assert record.search(entry, process.run) == out.strip()
