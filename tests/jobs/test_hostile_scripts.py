"""Rendered scripts with hostile values, run by the real bash; only srun is stood in for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hpctools.jobs import render, resources, run_files
from hpctools.slurm import sbatch
from tests.hostile import PROGRAM, folder_name, texts
from tests.jobs.jobs_of import ask, recorded

COUNT = 100
# Drops its own options, and runs what follows as the only task.
SRUN = """\
#!/bin/bash
while [[ $1 == -* ]]; do shift; done
exec "$@"
"""
EVERY = texts(1, 8 * COUNT)
# Folders that reach Slurm: the others are refused before there is a script.
FOLDERS = [name for name in map(folder_name, texts(2, 4 * COUNT)) if not sbatch.directive_problem(name)]


@pytest.fixture
def srun(tmp_path: Path) -> str:
    """A PATH whose srun is no Slurm's."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/srun").write_text(SRUN)
    (tmp_path / "bin/srun").chmod(0o755)
    return f"{tmp_path / 'bin'}:{os.environ['PATH']}"


def check(number: int, base: Path, path: str) -> None:
    """Render one job and do what Slurm would: run the script in the job's folder."""
    target, first, second, *args = EVERY[8 * number : 8 * number + 8]
    folder = base / f"{number}" / FOLDERS[2 * number % len(FOLDERS)]
    runs = FOLDERS[(2 * number + 1) % len(FOLDERS)]
    folder.mkdir(parents=True)
    script = f"{folder_name(target)}.py"
    (folder / script).write_text(PROGRAM)
    environment = {"A": first, "b_1": second}
    values = {"launcher": "none", "python": sys.executable, "name": "x", "env": environment, "runs_dir": runs}
    asked = ask(folder, values, *args, target=script)
    assert asked.problems == ()
    taken = resources.resolve(asked.spec, asked.site, recorded())
    job = run_files.make(asked, taken, lambda text: None)
    text = Path(job, run_files.SCRIPT).read_bytes()
    assert text == render.render(asked.spec, taken, asked.site, job)[0].encode("utf-8", "surrogateescape")
    subprocess.run(["bash", "-n"], input=text, check=True)
    environ = {"PATH": path, "HOME": "/", "SLURM_JOB_ID": "1", "SLURM_JOB_NUM_NODES": "1"}
    done = subprocess.run(["bash"], input=text, env=environ, cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert json.loads(Path(job, "seen.json").read_text()) == [args, environment, str(folder)]
    assert sorted(os.listdir(folder)) == sorted({script, runs})


def test_hundreds_of_hostile_words_variables_and_folders_arrive_and_none_is_executed(
    tmp_path: Path, srun: str
) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: check(number, tmp_path / "jobs", srun), range(COUNT)))
    assert not list(tmp_path.rglob("executed"))
