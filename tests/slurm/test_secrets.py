"""Secrets on the real cluster: they reach the ranks, and neither Slurm nor a log has them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import hpctools
from hpctools import process

VALUE = "hf_Xq7'$(touch executed) \\n"
PROGRAM = """\
import hashlib, json, os, pathlib
value = os.environ["HF_TOKEN"].encode() + os.environ["KEY"].encode()
seen = [hashlib.sha256(value).hexdigest(), "OTHER_TOKEN" in os.environ, "NCCL_DEBUG" in os.environ]
pathlib.Path(os.environ["HPCTOOLS_RUN"], "seen-" + os.environ["SLURM_PROCID"]).write_text(json.dumps(seen))
"""


def test_secrets_reach_every_rank_and_nothing_of_slurms(
    slurm_env: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    monkeypatch.chdir(tmp_path)
    for name, value in (("HF_TOKEN", VALUE), ("OTHER_TOKEN", "other_Xq7"), ("NCCL_DEBUG", "WARN")):
        monkeypatch.setenv(name, value)
    (tmp_path / "train.py").write_text(PROGRAM)
    (tmp_path / "keys").write_text("KEY=key_Xq7\n")
    (tmp_path / "keys").chmod(0o600)
    job = hpctools.submit(
        "train.py",
        nodes=2,
        launcher="none",
        gpus_per_node=1,
        python=sys.executable,
        secret=["HF_TOKEN"],
        env_file="keys",
        time="5",
    )
    assert job.job_id is not None
    assert job.run is not None
    shown = process.run(["scontrol", "show", "job", "--details", job.job_id]).check()
    shown += process.run(["scontrol", "write", "batch_script", job.job_id, "-"]).check()
    assert job.wait() == 0, job.logs()
    digest = hashlib.sha256(f"{VALUE}key_Xq7".encode()).hexdigest()
    for rank in "01":
        assert json.loads((job.run / f"seen-{rank}").read_text()) == [digest, False, True]
    shown += process.run(["sacct", "--jobs", job.job_id, "--format=ALL", "--parsable2"]).check()
    shown += job.logs()
    assert "train" in shown
    assert "Xq7" not in shown
    left = [path.name for path in tmp_path.rglob("*") if path.is_file() and b"Xq7" in path.read_bytes()]
    assert left == ["keys"]
    assert not list(tmp_path.rglob("executed"))


def test_a_waiting_job_that_is_cancelled_leaves_no_secret(
    slurm_env: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", VALUE)
    (tmp_path / "train.py").write_text("print()\n")
    job = hpctools.submit("train.py", gpus_per_node=1, secret=["HF_TOKEN"], sbatch_option="hold")
    assert job.run is not None
    assert (job.run / "secrets.json").exists()
    assert job.cancel().done
    assert not (job.run / "secrets.json").exists()


def test_the_last_of_tasks_that_end_together_takes_the_secrets_away(
    slurm_env: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", VALUE)
    job = hpctools.submit(
        "sleep", "1", command=True, template="array", array="0-3%2", secret=["HF_TOKEN"], time="5"
    )
    assert job.run is not None
    assert job.wait() == 0, job.logs()
    assert (job.run / "secrets.removed").exists()  # by a task, not by us who waited
    assert not (job.run / "secrets.json").exists()
