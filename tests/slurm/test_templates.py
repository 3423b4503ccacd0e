"""Every packaged template on the real cluster: real ranks of each launcher, and jobs without a TARGET."""

from __future__ import annotations

import ctypes.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import hpctools
from tests.slurm.test_training import torch_python

__all__ = ["torch_python"]  # a fixture
# Read here: no test sees the user's own HPCTOOLS_ variables.
PYTHON = os.environ.get("HPCTOOLS_PYTHON") or sys.executable
USUAL: Mapping[str, Any] = {"nodes": 2, "gpus_per_node": 2, "time": "30", "cpus_per_task": 1, "mem": "1G"}

# The ranks of a real Open MPI, from C by ctypes: no compiler and no mpi4py is needed. They find each other by
# PMIx and stop at that: on one machine that plays two nodes the TCP of Open MPI 4.1 crashes now and then.
MPI = """
import ctypes, os
mpi = ctypes.CDLL("libmpi.so.40", mode=ctypes.RTLD_GLOBAL)
world = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.in_dll(mpi, "ompi_mpi_comm_world")))
rank, size = ctypes.c_int(), ctypes.c_int()
mpi.MPI_Init(None, None)
mpi.MPI_Comm_rank(world, ctypes.byref(rank))
mpi.MPI_Comm_size(world, ctypes.byref(size))
print("rank", rank.value, "of", size.value, "on", os.environ["SLURMD_NODENAME"], flush=True)
mpi.MPI_Finalize()
"""
# Below MPI: a client of PMIx that meets the others.
PMIX = """
import ctypes, os
class Proc(ctypes.Structure):
    _fields_ = [("nspace", ctypes.c_char * 256), ("rank", ctypes.c_uint32)]
pmix, me = ctypes.CDLL("libpmix.so.2"), Proc()
assert pmix.PMIx_Init(ctypes.byref(me), None, 0) == 0
assert pmix.PMIx_Fence(None, 0, None, 0) == 0
assert me.rank == int(os.environ["SLURM_PROCID"])
print("rank", me.rank, "on", os.environ["SLURMD_NODENAME"], "met all", flush=True)
assert pmix.PMIx_Finalize(None, 0) == 0
"""
# The nodes are one machine: their ranks must not take each other for neighbours in its memory.
OPEN_MPI = {"OMPI_MCA_btl": "tcp,self", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def absent(reason: str) -> None:
    """Leave the test out; in CI, where the scripts have installed it, it fails."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def submit(folder: Path, program: str, **settings: object) -> hpctools.Job:
    """A job of a program of Python in folder; empty for none."""
    given: dict[str, Any] = {**USUAL, "python": sys.executable, "runs_dir": str(folder / "runs"), **settings}
    if not program:
        return hpctools.submit(**given)
    (folder / "program.py").write_text(program)
    return hpctools.submit(folder / "program.py", **given)


def plugins(env: Mapping[str, str]) -> str:
    done = subprocess.run(["srun", "--mpi=list"], env=dict(env), capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


@pytest.mark.native
@pytest.mark.parametrize("how", ["pmix", "mpirun"])
def test_the_ranks_of_open_mpi_meet(slurm_env: Mapping[str, str], tmp_path: Path, how: str) -> None:
    if not shutil.which("mpirun"):
        absent("there is no mpirun here: apt-get install openmpi-bin")
    job = submit(tmp_path, MPI, launcher="mpirun", set={"mpi": how}, env=OPEN_MPI)
    assert job.wait() == 0, job.logs()
    said = sorted(line for line in job.logs().splitlines() if line.startswith("["))
    hosts = (
        [(job.run / f"attempt-0/rank-{rank:05d}.json").read_text() for rank in range(4)] if job.run else []
    )
    found = [(one["rank"], one["local_rank"], one["node"], one["host"]) for one in map(json.loads, hosts)]
    nodes = [found[0][3], found[2][3]]
    assert found == [(rank, rank % 2, rank // 2, nodes[rank // 2]) for rank in range(4)]
    assert said == [f"[{rank}] rank {rank} of 4 on {nodes[rank // 2]}" for rank in range(4)]


@pytest.mark.native
@pytest.mark.parametrize("how", ["pmix", "mpirun"])
def test_a_rank_of_mpi_that_fails_ends_the_job_with_its_status(
    slurm_env: Mapping[str, str], tmp_path: Path, how: str
) -> None:
    if not shutil.which("mpirun"):
        absent("there is no mpirun here: apt-get install openmpi-bin")
    code = "import os, time\nif os.environ.get('OMPI_COMM_WORLD_RANK', os.environ['SLURM_PROCID']) == '2':\n"
    code += "    raise SystemExit(7)\ntime.sleep(200)\n"
    job = submit(tmp_path, code, launcher="mpirun", set={"mpi": how}, env=OPEN_MPI)
    assert job.wait() == 7, job.logs()
    result = job.result()
    assert result is not None
    assert result.first_failure is not None
    assert (result.first_failure.rank, result.first_failure.node) == (2, 1)


def test_ranks_find_each_other_by_slurms_pmix(slurm_env: Mapping[str, str], tmp_path: Path) -> None:
    if "pmix" not in plugins(slurm_env) or not ctypes.util.find_library("pmix"):
        pytest.skip("this Slurm has no PMIx plugin, or there is no libpmix")
    job = submit(tmp_path, PMIX, launcher="mpirun")
    assert job.wait() == 0, job.logs()
    assert job.logs().count("met all") == 4


@pytest.mark.native
def test_accelerate_starts_its_ranks_on_all_nodes(slurm_env: Mapping[str, str], tmp_path: Path) -> None:
    """Two ranks on each of two nodes reduce as accelerate has it, with the user's own word for it."""
    if subprocess.run([PYTHON, "-c", "import accelerate"], capture_output=True).returncode:
        pytest.skip(f"{PYTHON} has no accelerate; HPCTOOLS_PYTHON names one that has")
    code = """
import torch
from accelerate import Accelerator
on = Accelerator()
total = on.reduce(torch.tensor([on.process_index + 1.0], device=on.device), "sum")
print("rank", on.process_index, "of", on.num_processes, "sum", int(total), on.mixed_precision, flush=True)
on.end_training()
"""
    options = {"accelerate.options": "--mixed_precision bf16"}
    job = submit(
        tmp_path, code, template="accelerate", python=PYTHON, set=options, env={"HF_HOME": str(tmp_path)}
    )
    assert job.wait() == 0, job.logs()
    for rank in range(4):
        assert f"[{rank}] rank {rank} of 4 sum 10 bf16\n" in job.logs()


@pytest.mark.native
def test_the_nccl_test_measures_with_torch(
    slurm_env: Mapping[str, str], torch_python: str, tmp_path: Path
) -> None:
    words = ["--min", "1K", "--max", "64K", "--factor", "8", "--iterations", "2", "--warmup", "1"]
    settings: dict[str, Any] = {**USUAL, "gpus_per_node": 1, "set": {"nccl_tests": "no"}}
    job = hpctools.submit(
        "", *words, template="nccl-test", python=torch_python, runs_dir=str(tmp_path), **settings
    )
    assert job.wait() == 0, job.logs()
    assert job.run is not None
    found = json.loads((job.run / "nccl-test.json").read_text())
    assert (found["ranks"], [one["bytes"] for one in found["rows"]]) == (2, [1024, 8192, 65536])
    assert all(one["wrong"] == 0 and one["busbw"] == one["algbw"] > 0 for one in found["rows"])
    assert "all-reduce of 2 ranks on 2 nodes by torch" in job.logs()


def test_nccl_tests_itself_is_taken_where_it_is(slurm_env: Mapping[str, str], tmp_path: Path) -> None:
    """What stands for it tells how it was started: a task a GPU, by PMIx."""
    if "pmix" not in plugins(slurm_env):
        pytest.skip("this Slurm has no PMIx plugin")
    program = tmp_path / "all_reduce_perf"
    program.write_text('#!/bin/bash\necho "task $SLURM_PROCID $PMIX_RANK of $SLURM_STEP_NUM_TASKS: $*"\n')
    program.chmod(0o755)
    job = submit(tmp_path, "", template="nccl-test", set={"nccl_tests": str(program)})
    assert job.wait() == 0, job.logs()
    for task in range(4):
        assert f"[{task}] task {task} {task} of 4: -b 1024 -e 1073741824 -f 4 -g 1 -n 20 -w 5\n" in job.logs()


def test_the_preflight_alone_looks_at_the_nodes(slurm_env: Mapping[str, str], tmp_path: Path) -> None:
    """Without torch, so that it is quick: the all-reduce has its own tests."""
    job = submit(tmp_path, "", template="preflight", gpus_per_node=0)
    assert job.wait() == 0, job.logs()
    assert "hpctools: preflight: 2 nodes are good" in job.logs()
    result = job.result()
    assert result is not None
    assert result.state == "finished"


def test_each_task_of_an_array_has_its_number(slurm_env: Mapping[str, str], tmp_path: Path) -> None:
    code = 'import os\nprint("number", os.environ["SLURM_ARRAY_TASK_ID"], os.environ["HPCTOOLS_RUN"])\n'
    job = submit(tmp_path, code, template="array", array="3-4", nodes=1, gpus_per_node=0)
    assert job.wait() == 0
    assert job.run is not None
    for task in "34":
        log = job.run / f"task-{task}" / "attempt-0" / "rank-00000.log"
        assert log.read_text() == f"number {task} {job.run}/task-{task}\n"
