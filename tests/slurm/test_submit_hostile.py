"""Hostile names, paths, values, words and variables, through the real sbatch, slurmctld and bash.

Each is carried unchanged or refused with a clear message; none is ever executed.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from hpctools import process
from hpctools.errors import InvalidInput
from hpctools.jobs import request, submission
from hpctools.jobs.record import Record
from hpctools.slurm import sbatch, squeue
from tests.hostile import PARTS, PROGRAM, folder_name, texts
from tests.jobs.test_hostile_scripts import COUNTS, stand_ins

COUNT = 250  # submitted, and looked up in slurmctld
RUN = 40  # of these, run to their end
VALUES = texts(3, 9 * COUNT)
# Every second job is one that can be carried whole.
CARRIED = [text for text in texts(4, 9 * COUNT) if not sbatch.directive_problem(text)]


def values(number: int) -> list[str]:
    """Nine texts; for even numbers such that a directive carries."""
    pool = VALUES if number % 2 else CARRIED
    start = 9 * number % (len(pool) - 9)
    return pool[start : start + 9]


def gather(number: int, base: Path) -> tuple[request.Request, list[str]]:
    """The request of one job, and its hostile texts."""
    name, comment, target, first, second, runs, where, *args = taken = values(number)
    folder = base / f"{number}" / folder_name(where)
    folder.mkdir(parents=True)
    script = f"{folder_name(target)}.py"
    (folder / script).write_text(PROGRAM)
    settings = {
        "launcher": "none",
        "python": sys.executable,
        "name": name,
        "comment": comment,
        "env": {"A": first, "b_1": second},
        "runs_dir": folder_name(runs),
        "gpus_per_node": 0,
        "cpus_per_task": 1,
        "time": 5,
        "mem": "50M",
        **({} if number % 2 == 0 and number < 2 * RUN else {"sbatch_option": ["hold"]}),
    }
    environ = {"HOME": str(base)}
    return request.gather(script, args, settings, environ=environ, cwd=str(folder)), taken


def refused_parts(asked: request.Request, taken: list[str]) -> list[str]:
    """What of a job no directive can carry."""
    name, comment = taken[:2]
    parts = (name, comment, asked.spec.workdir, asked.spec.runs_dir)
    return [part for part in parts if sbatch.directive_problem(part)]


def test_hundreds_of_hostile_jobs_are_what_they_were_or_refused(
    slurm_env: Mapping[str, str], tmp_path: Path
) -> None:
    submitted: dict[str, tuple[request.Request, list[str], Record]] = {}
    refused = 0
    try:
        for number in range(COUNT):
            asked, taken = gather(number, tmp_path / "jobs")
            bad = refused_parts(asked, taken)
            entry = submit_or_refuse(asked, bad or not taken[0].strip(), slurm_env)
            if entry is None:
                refused += 1
            else:
                submitted[str(entry.job_id)] = (asked, taken, entry)
        assert refused > COUNT / 4
        assert len(submitted) > COUNT / 4
        look_up(submitted)
        run_to_their_end(submitted)
    finally:
        process.run(["scancel", "--quiet", *submitted])
    assert not list((tmp_path / "jobs").rglob("executed"))
    assert not Path("executed").exists()


def submit_or_refuse(asked: request.Request, bad: object, env: Mapping[str, str]) -> Record | None:
    """The record of a job; None of one with a part that is bad, which must be refused in clean words."""
    if not bad:
        return submission.submit(submission.plan(asked, environ=env), environ=env)
    with pytest.raises(InvalidInput) as raised:
        submission.plan(asked, environ=env)
    assert all(ord(letter) >= 32 or letter == "\n" for letter in str(raised.value))
    return None


def look_up(submitted: Mapping[str, tuple[request.Request, list[str], Record]]) -> None:
    """slurmctld has each job as it was asked for."""
    words = [*squeue.command(job_ids=tuple(submitted))]
    found = squeue.parse(process.run(words, env={**os.environ, **squeue.ENV}).check())
    assert {job.job_id for job in found} == set(submitted)
    for job in found:
        asked, taken, entry = submitted[job.job_id]
        assert job.name == taken[0]
        assert job.comment == taken[1]
        assert job.work_dir == asked.spec.workdir
        assert Path(entry.run).name in job.stdout


def run_to_their_end(submitted: Mapping[str, tuple[request.Request, list[str], Record]]) -> None:
    """Those that are not held got their words and variables, in their folder."""
    waiting = {
        job_id: job for job_id, job in submitted.items() if not job[0].settings.entries("sbatch-option")
    }
    assert len(waiting) > RUN / 2
    deadline = time.monotonic() + 900
    while waiting:
        for job_id, (asked, taken, entry) in list(waiting.items()):
            result = Path(entry.run, "attempt-0", "result.json")
            if not result.exists():
                continue
            assert json.loads(result.read_text())["status"] == 0, entry.log().read_text()
            seen = json.loads(Path(entry.run, "seen.json").read_text())
            assert seen == [taken[7:], {"A": taken[3], "b_1": taken[4]}, asked.spec.workdir]
            assert entry.log().exists()
            del waiting[job_id]
        assert time.monotonic() < deadline, {key: value[1] for key, value in waiting.items()}
        time.sleep(0.3)


@pytest.mark.parametrize("template", COUNTS)
def test_each_hostile_text_alone_is_fine_as_a_word_and_a_variable(
    slurm_env: Mapping[str, str], tmp_path: Path, template: str
) -> None:
    """Words and variables need no directive, so nothing of them is ever refused, by no template."""
    (tmp_path / "train.py").write_text(PROGRAM)
    stand_ins(tmp_path / "lib")
    shown = {"A": "".join(PARTS), "b_1": "\n".join(PARTS)}
    settings = {
        "template": template,
        "python": sys.executable,
        "gpus_per_node": 0,
        "env": {**shown, "PYTHONPATH": str(tmp_path / "lib")},
        "set": {f"{template}.options": shlex.join(PARTS), "mpi": "none"},
        **({"array": "1"} if template == "array" else {}),
    }
    asked = request.gather("train.py", PARTS, settings, cwd=str(tmp_path))
    entry = submission.submit(submission.plan(asked))
    home = Path(entry.run, "task-1" if template == "array" else "")
    result = home / "attempt-0" / "result.json"
    deadline = time.monotonic() + 300
    while not result.exists():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert json.loads(result.read_text())["status"] == 0
    assert json.loads((home / "seen.json").read_text()) == [list(PARTS), shown, str(tmp_path)]
    assert not (tmp_path / "executed").exists()
