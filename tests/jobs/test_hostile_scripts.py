"""Rendered scripts with hostile values, run by the real bash; only srun is stood in for."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hpctools.jobs import render, resources, run_files, templates
from hpctools.slurm import sbatch
from tests.hostile import PROGRAM, folder_name, texts
from tests.jobs.jobs_of import ask, recorded

# Jobs of each template; the frame is the same, so plain has the most.
COUNTS = {"plain": 100, "torchrun": 12, "srun": 12, "accelerate": 12, "mpirun": 16, "array": 12}
COUNT = max(COUNTS.values())
# Drops its own options, and runs what follows as the only task.
SRUN = """\
#!/bin/bash
while [[ $1 == -* ]]; do shift; done
exec "$@"
"""
# mpirun, with our own options and the user's before the program.
MPIRUN = """\
#!/bin/bash
while [[ $1 != {python} ]]; do shift; done
OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_LOCAL_RANK=0 exec "$@"
"""
# torchrun and accelerate: the ranks' command stands at the end of their words.
STAND_IN = """\
import os, subprocess, sys
words = sys.argv[sys.argv.index("--no_python") + 1 :]
sys.exit(subprocess.run(words, env={**os.environ, "RANK": "0", "LOCAL_RANK": "0"}).returncode)
"""
EVERY = texts(1, 8 * COUNT)
# Folders that reach Slurm: the others are refused before there is a script.
FOLDERS = [name for name in map(folder_name, texts(2, 4 * COUNT)) if not sbatch.directive_problem(name)]


@pytest.fixture
def srun(tmp_path: Path) -> str:
    """A PATH whose srun is no Slurm's, and launchers beside it."""
    (tmp_path / "bin").mkdir()
    for name, text in (("srun", SRUN), ("mpirun", MPIRUN.format(python=sys.executable))):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    stand_ins(tmp_path / "lib")
    return f"{tmp_path / 'bin'}:{os.environ['PATH']}"


def stand_ins(library: Path) -> None:
    """Packages torch and accelerate that only start one rank."""
    for module in ("torch/distributed/run.py", "accelerate/commands/launch.py"):
        folder = library / os.path.dirname(module)
        folder.mkdir(parents=True)
        (folder.parent / "__init__.py").write_text("class cuda:\n    is_available = staticmethod(bool)\n")
        (folder / "__init__.py").touch()
        (library / module).write_text(STAND_IN)


def check(template: str, number: int, base: Path, path: str) -> None:
    """Render one job and do what Slurm would: run the script in the job's folder."""
    target, first, second, *args = EVERY[8 * number : 8 * number + 8]
    folder = base / f"{number}" / FOLDERS[2 * number % len(FOLDERS)]
    runs = FOLDERS[(2 * number + 1) % len(FOLDERS)]
    folder.mkdir(parents=True)
    script = f"{folder_name(target)}.py"
    (folder / script).write_text(PROGRAM)
    environment = {"A": first, "b_1": second}
    values = {
        "template": template,
        "python": sys.executable,
        "name": "x",
        "env": environment,
        "runs_dir": runs,
    }
    words = shlex.join([first, second, *args])
    mpi = "mpirun" if number % 2 else f"pmix{first}"
    values["set"] = {f"{template}.options": words, **({"mpi": mpi} if template == "mpirun" else {})}
    values |= {"array": "1-2"} if template == "array" else {}
    asked = ask(folder, values, *args, target=script)
    assert asked.problems == ()
    taken = resources.resolve(asked.spec, asked.site, recorded())
    job = run_files.make(asked, taken, lambda text: None)
    text = Path(job, run_files.SCRIPT).read_bytes()
    assert text == render.render(asked.spec, taken, asked.site, job)[0].encode("utf-8", "surrogateescape")
    subprocess.run(["bash", "-n"], input=text, check=True)
    environ = {"PATH": path, "HOME": "/", "SLURM_JOB_ID": "1", "SLURM_JOB_NUM_NODES": "1"}
    environ |= {"SLURM_CPUS_ON_NODE": "8"}
    environ |= {"PYTHONPATH": str(base.parent / "lib")}
    if template == "array":
        environ |= {"SLURM_ARRAY_JOB_ID": "1", "SLURM_ARRAY_TASK_ID": "2"}
    seen = Path(job, "task-2" if template == "array" else "", "seen.json")
    done = subprocess.run(["bash"], input=text, env=environ, cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert json.loads(seen.read_text()) == [args, environment, str(folder)]
    assert sorted(os.listdir(folder)) == sorted({script, runs})


def test_every_template_is_tried() -> None:
    found = {one.name for one in templates.listing(()) if one.needs_target}
    assert found - {"base"} == COUNTS.keys()


@pytest.mark.parametrize("template", COUNTS)
def test_hundreds_of_hostile_words_variables_and_folders_arrive_and_none_is_executed(
    tmp_path: Path, srun: str, template: str
) -> None:
    with ThreadPoolExecutor(4) as pool:
        jobs = range(COUNTS[template])
        list(pool.map(lambda number: check(template, number, tmp_path / "jobs", srun), jobs))
    assert not list(tmp_path.rglob("executed"))
