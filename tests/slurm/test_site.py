"""Sites on the real cluster: a file is written from it, and a job proves it, or says what is bad."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import hpctools.site
from hpctools.errors import InvalidInput, Problem
from hpctools.jobs import site

# Fewer GPUs than a node has: other tests leave some of them busy for a while.
SMALL = {"gpus_per_node": 1, "nodes": 2}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs are made below where one is."""
    monkeypatch.chdir(tmp_path)
    # Without torch, which takes long to load on a busy machine; test_preflight.py is for that.
    system = Path("/usr/bin/python3")
    monkeypatch.setenv("HPCTOOLS_PYTHON", str(system) if system.exists() else sys.executable)
    return tmp_path


def verdicts(name: str, **given: object) -> dict[str, tuple[str, str]]:
    found = hpctools.site.check(name, **{**SMALL, **given})  # type: ignore[arg-type]
    return {one.name: (one.verdict, one.found) for one in found}


def test_a_site_is_written_from_the_cluster_and_its_job_ends_well(
    slurm_env: Mapping[str, str], folder: Path
) -> None:
    said: list[str] = []
    text = hpctools.site.init(say=said.append)
    assert "srun --partition=main" in said[1]
    (folder / "site.yaml").write_text(text)
    problems: list[Problem] = []
    made = site.load(folder / "site.yaml", problems)
    assert problems == []
    assert (made.gpu_option, made.ask_memory) == ("gpus-per-node", True)
    assert "of partition main. Lines that begin with #" in " ".join(text.replace("\n#", "").split())
    assert made.fabric.kind != ""  # a node was asked
    found = verdicts("./site.yaml")
    assert {name: said for name, said in found.items() if said[0] == "bad"} == {}
    assert found["runs_dir"] == ("ok", f"{folder}/runs: 2 of 2 nodes wrote into it")
    assert {"python", "ports", "clock", "run-folder", "fabric"} <= found.keys()


BAD = """\
setup: |
  . ./module.sh
  no-such-module load cuda
fabric: {kind: infiniband, interfaces: =ib77}
containers:
  runtime: apptainer
  images: {a: /no/image.sif, b: "docker://example.org/x:1"}
  binds: [/no/data]
variables: {scratch: /proc/self, data: /no/data}
"""


def test_whatever_is_not_as_the_file_says_is_told_at_once(slurm_env: Mapping[str, str], folder: Path) -> None:
    (folder / "site.yaml").write_text(BAD)
    (folder / "module.sh").write_text("[ -n '' ]\ntrue\n")
    found = verdicts("./site.yaml")
    assert found["setup"] == ("bad", "failed: no-such-module load cuda")
    assert found["bind"] == ("bad", "/no/data is not there")
    assert found["data"] == ("bad", "/no/data is not there")
    assert found["scratch"][0] == "bad"
    assert found["interfaces"] == ("bad", "ib77 is not there, or has no link")
    assert found["fabric"][0] == "bad"
    assert found["nic"][0] == "bad"  # of the preflight, which ends the job
    assert found["job"][0] == "bad"
    assert found["containers"][0] in ("ok", "bad")  # the newest release has Apptainer
    assert len(list((folder / "runs").glob("site-check-*/site-check-*"))) == 1  # no second try


def test_what_slurm_refuses_runs_no_job(slurm_env: Mapping[str, str], folder: Path) -> None:
    found = verdicts("sandbox", partitions=["no-such"])
    assert found["sbatch --test-only"][0] == "bad"
    assert found["job"] == ("not checked", "none was submitted")
    assert list((folder / "runs").glob("*")) == []


def test_a_job_that_does_not_start_is_cancelled(slurm_env: Mapping[str, str], folder: Path) -> None:
    (folder / "site.yaml").write_text("defaults: {sbatch_option: {begin: now+1hour}}\n")
    found = verdicts("./site.yaml", wait_s=0)
    assert found["job"][0] == "not checked"
    assert found["job"][1].endswith("and was cancelled")
    job = found["job"][1].split()[1]
    state = subprocess.run(
        ["squeue", "-h", "-j", job, "-o", "%T"], capture_output=True, text=True, check=False
    )
    assert state.stdout.strip() in ("", "CANCELLED")


def test_mistakes_in_the_file_come_first_and_all_at_once(slurm_env: Mapping[str, str], folder: Path) -> None:
    (folder / "site.yaml").write_text("exprt: ALL\nfabric: {knd: tcp}\n")
    with pytest.raises(InvalidInput) as raised:
        hpctools.site.check("./site.yaml")
    assert [problem.where.rpartition(":")[2] for problem in raised.value.problems][:2] == ["1", "2"]


def test_the_command_line_says_the_same(slurm_env: Mapping[str, str], folder: Path) -> None:
    words = [sys.executable, "-m", "hpctools", "site"]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*words, *more], capture_output=True, text=True, timeout=300, check=False)

    done = run("init", "--no-probe", "-o", "site.yaml")
    assert done.returncode == 0, done.stderr
    done = run("check", "./site.yaml", "--partition", "no-such", "--json")
    assert done.returncode == 1
    assert {"name", "verdict", "found", "partition"} == json.loads(done.stdout)[0].keys()
