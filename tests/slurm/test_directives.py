"""Values in #SBATCH lines, through the real sbatch, slurmctld and bash."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from hpctools import process
from hpctools.slurm import sbatch, squeue

# What shells, sbatch's reader, Slurm's file name patterns and terminals take for more than text.
PARTS = (
    " ", "  ", "'", '"', "''", '""', "#", " #", "$", "$(touch executed)", "`touch executed`",
    ";touch executed;", "&& touch executed", "| touch executed", "> executed", "*", "?", "[a-z]",
    "{a,b}", "~", "!", "%", "%j", "%%", "(", ")", "<", "=", "--", " --wrap=true", "-", ":", " : ",
    "hetjob", "packjob", ",", "@", "^", "/", "..", "é", "☃", "😀", "\u202e", "\u2028", "ſ", "a", "B",
    "0", "${HOME}", "$((1+1))", "#SBATCH --hold", "\xa0", "\xad",
)  # fmt: skip
REFUSED = (
    "\n",
    "\r",
    "\t",
    "\x1b[31m",
    "\\",
    "\\n",
    "\x7f",
    "\x85",
    "\nexit 3\n",
    "\n#SBATCH --hold\n",
    "\0",
)


def values(seed: int, count: int, parts: tuple[str, ...]) -> list[str]:
    """Texts made of these parts, the same ones in every run."""
    chance = random.Random(seed)  # noqa: S311
    return ["".join(chance.choices(parts, k=chance.randint(1, 6))) for _ in range(count)]


def write(path: Path, lines: list[str]) -> str:
    path.write_text("\n".join(["#!/bin/bash", *lines, "true", ""]), encoding="utf-8")
    return str(path)


@pytest.mark.needs_slurm
def test_hundreds_of_hostile_values_arrive_unchanged(slurm_env: Mapping[str, str], tmp_path: Path) -> None:
    carried = [*PARTS, *values(1, 150, PARTS)]
    # slurmctld keeps an empty comment as none, and cuts blanks nowhere.
    jobs: dict[str, tuple[str, str]] = {}
    try:
        for number, value in enumerate(carried):
            name = carried[-number - 1]
            lines = [sbatch.directive("comment", value), sbatch.directive("job-name", name)]
            script = write(tmp_path / f"{number}.sbatch", [*lines, sbatch.directive("hold", None)])
            answer = process.run(sbatch.command(script), env=slurm_env, cwd=tmp_path)
            jobs[sbatch.parse(answer.check()).job_id] = (value, name)
        found = squeue.parse(
            process.run(squeue.command(job_ids=tuple(jobs)), env={**slurm_env, **squeue.ENV}).check()
        )
    finally:
        if jobs:
            process.run(["scancel", *jobs], env=slurm_env)
    assert {job.job_id: (job.comment, job.name) for job in found} == jobs
    assert not (tmp_path / "executed").exists()


@pytest.mark.needs_slurm
def test_a_hostile_value_is_nothing_to_the_bash_that_runs_the_script(
    slurm_env: Mapping[str, str], tmp_path: Path
) -> None:
    every = [*PARTS, *values(2, 400, PARTS)]
    script = write(tmp_path / "job.sbatch", [sbatch.directive("comment", value) for value in every])
    done = process.run(["bash", script], env=slurm_env, cwd=tmp_path)
    assert (done.status, done.stdout, done.stderr) == (0, "", "")
    said = sbatch.parse_test_only(process.run(sbatch.command(script, test_only=True), env=slurm_env).stderr)
    assert said.ok, said.message
    assert [path.name for path in tmp_path.iterdir()] == ["job.sbatch"]


@pytest.mark.needs_slurm
def test_what_is_refused_would_not_have_arrived(slurm_env: Mapping[str, str], tmp_path: Path) -> None:
    refused = [value for value in values(3, 300, (*PARTS, *REFUSED)) if sbatch.directive_problem(value)]
    assert len(refused) > 100
    assert all(sbatch.directive_problem(value) for value in REFUSED)
    # Quoted as if it were allowed, a backslash is eaten by the real sbatch: the refusal is needed.
    script = write(tmp_path / "job.sbatch", ["#SBATCH --comment='a\\b'", "#SBATCH --hold"])
    job = sbatch.parse(process.run(sbatch.command(script), env=slurm_env, cwd=tmp_path).check()).job_id
    try:
        text = process.run(squeue.command(job_ids=(job,)), env={**slurm_env, **squeue.ENV}).check()
    finally:
        process.run(["scancel", job], env=slurm_env)
    assert squeue.parse(text)[0].comment == "ab"
