"""The preflight on the real cluster: good nodes train, a bad one is named and ends the job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import hpctools
from hpctools.jobs import run_files

# Read here: no test sees the user's own HPCTOOLS_ variables.
PYTHON = os.environ.get("HPCTOOLS_PYTHON") or sys.executable
# As the driver answers on a node of one GPU; where it is BAD it has lost it.
NVIDIA_SMI = """\
#!/bin/bash
if [[ $1 == --query-gpu=* ]]; then
    [[ BAD ]] && { echo "Unable to determine the device handle for GPU0"; exit 255; }
    echo "0, NVIDIA H200, 0, 0, 0"
fi
"""


@pytest.fixture(autouse=True)
def patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading torch takes longer than 45 s on a machine that is busy enough."""
    text = run_files.PREFLIGHT.read_text()
    assert "\nNODE_S = 45.0 " in text
    (tmp_path / "preflight.py").write_text(text.replace("\nNODE_S = 45.0 ", "\nNODE_S = 400.0 "))
    monkeypatch.setattr(run_files, "PREFLIGHT", tmp_path / "preflight.py")


def submit(folder: Path, **settings: object) -> hpctools.Job:
    (folder / "train.py").write_text("print('trained')\n")
    usual = {"nodes": 2, "nodelist": "n[1-2]", "launcher": "none", "python": PYTHON, "gpus_per_node": 1}
    given = {**usual, "preflight": True, "runs_dir": str(folder / "runs"), "time": "10", **settings}
    return hpctools.submit(folder / "train.py", **given)


@pytest.mark.native
def test_good_nodes_are_said_to_be_good_and_the_training_runs(
    slurm_env: Mapping[str, str], tmp_path: Path
) -> None:
    job = submit(tmp_path)
    assert job.wait() == 0, job.logs()
    assert job.logs().count("trained") == 2
    assert "hpctools: preflight: 2 nodes are good" in job.logs()
    assert job.run is not None
    found = json.loads((job.run / "attempt-0/preflight.json").read_text())
    assert (found["status"], found["bad"]) == (0, [])
    assert [one["host"] for one in found["nodes"]] == ["n1", "n2"]
    has_torch = subprocess.run([PYTHON, "-c", "import torch"], capture_output=True).returncode == 0
    assert (found["bus_gb_s"] is not None) is has_torch


def break_gpus(where: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "bin").mkdir()
    (folder / "bin/nvidia-smi").write_text(NVIDIA_SMI.replace("BAD", where))
    (folder / "bin/nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")


def test_a_bad_node_is_left_out_and_the_training_runs_without_it(
    slurm_env: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_gpus("$HPCTOOLS_ATTEMPT.$SLURM_NODEID == 0.1", tmp_path, monkeypatch)
    job = submit(tmp_path, nodelist=None)
    assert job.wait() == 0, job.logs()
    said = job.logs()
    assert said.count("trained") == 2
    assert job.run is not None
    first, second = (json.loads((job.run / f"attempt-{n}/preflight.json").read_text()) for n in (0, 1))
    bad = first["bad"][0]["host"]
    assert f"bad nodes are left out ({bad}: gpus: " in said
    assert bad not in [one["host"] for one in second["nodes"]]


@pytest.mark.native
def test_where_a_bad_node_cannot_be_left_out_the_job_fails_and_names_it(
    slurm_env: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_gpus("$SLURMD_NODENAME == n2", tmp_path, monkeypatch)
    job = submit(tmp_path)
    assert job.wait() == 90, job.logs()
    said = job.logs()
    assert "preflight: n2 is bad: gpus: nvidia-smi fails: Unable to determine the device handle" in said
    assert "the preflight on n2 failed first: status 90" in said
    assert "n1 is bad" not in said
    assert "no successor could be submitted: " in said  # --nodelist asks for n2
    assert "trained" not in said
    result = job.result()
    assert result is not None
    assert result.first_failure is not None
    assert (result.status, result.first_failure.host, result.first_failure.node) == (90, "n2", 1)


def test_a_mistake_of_the_job_is_no_fault_of_its_nodes(
    slurm_env: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = hpctools.submit("no-such-program", command=True, nodes=2, launcher="none", preflight=True, time="5")
    assert job.wait() == 90, job.logs()
    assert "all nodes are bad: program: no-such-program is not there" in job.logs()
    assert "to be started again" not in job.logs()
