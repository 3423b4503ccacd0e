"""Secrets reach the program, and nothing else; what else a job inherits is a list."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpctools.errors import ParseError, Problem
from hpctools.jobs import exported, render, resources, run_files, secrets, submission
from hpctools.jobs.request import Request
from hpctools.jobs.submission import Plan
from tests.hostile import texts
from tests.jobs.jobs_of import ask, recorded
from tests.jobs.test_launch import LAUNCH

VALUE = "hf_Xq7'$(touch executed)\n\"`"


def planned(asked: Request) -> Plan:
    assert asked.problems == ()
    return Plan(asked, recorded(), resources.resolve(asked.spec, asked.site, recorded()), (), ())


def with_secret(folder: Path, **values: object) -> Request:
    given = {"secret": ["HF_TOKEN"], "launcher": "none", "python": sys.executable, **values}
    return ask(folder, given, environ={"HOME": str(folder), "HF_TOKEN": VALUE})


def test_a_secret_stands_in_one_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    asked = with_secret(tmp_path)
    plan = planned(asked)
    run = Path(run_files.make(asked, plan.resources, lambda text: None))
    holding = [path.name for path in run.rglob("*") if path.is_file() and b"hf_Xq7" in path.read_bytes()]
    assert holding == ["secrets.json"]
    assert (run / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert json.loads((run / "secrets.json").read_text()) == {"HF_TOKEN": VALUE}
    assert "hf_Xq7" not in repr(asked)
    assert "hf_Xq7" not in render.render(asked.spec, plan.resources, asked.site, "/x")[0]


@pytest.mark.parametrize("export", ["LISTED", "ALL", "NONE"])
def test_sbatch_never_has_it_in_its_environment(tmp_path: Path, export: str) -> None:
    plan = planned(with_secret(tmp_path, set={"site.export": export}))
    environ = {"PATH": "/bin", "HF_TOKEN": VALUE, "SLURM_CONF": "/c"}
    found = submission._sbatch_environment(plan, "/runs/x", environ)
    assert found == {"PATH": "/bin", "SLURM_CONF": "/c"}


def test_a_file_of_variables_is_read_as_it_stands(tmp_path: Path) -> None:
    text = "# c\n\nA=b c\nexport B='$(touch executed)'\nC=\"x=y\"\n  D=\nE\nF='\nG=a\\nb\n"
    (tmp_path / "keys").write_text(text)
    asked = ask(tmp_path, {"env_file": "keys"}, environ={"HOME": "/", "E": "inherited"})
    assert asked.problems == ()
    assert dict(asked.spec.secrets) == {
        "A": "b c", "B": "$(touch executed)", "C": "x=y", "D": "", "E": "inherited", "F": "'", "G": "a\\nb",
    }  # fmt: skip


def test_what_is_wrong_is_told_and_no_value_is(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("hf_secret\nnot a name=hf_secret\nUID=hf_secret\nA=hf_secret\0\n")
    values = {"env_file": "keys", "secret": ["B=hf_secret", "NOPE", "1x"]}
    found = [str(problem) for problem in ask(tmp_path, values).problems]
    assert len(found) == 7
    assert not any("hf_secret" in one.replace("keys:1: hf_secret is not set here", "") for one in found)
    for expected in (
        "secret=B: has a value",
        "secret=NOPE: is not set here",
        "secret=1x",
        "keys:2: does not",
    ):
        assert any(expected in one for one in found), expected
    assert "No such file" in str(ask(tmp_path, {"env_file": "nope"}).problems[0])


def test_a_variable_that_is_given_openly_too_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("A=hf_secret\nB=hf_secret\n")
    (tmp_path / "hpctools.yaml").write_text("env: {C: hf_open}\n")
    values = {"env_file": "keys", "secret": ["C"], "env": ["A=hf_open", "D=hf_open"]}
    found = [str(one) for one in ask(tmp_path, values, environ={"HOME": "/", "C": "hf_secret"}).problems]
    words = "only one of the two can be its value (leave one of them out)"
    assert found == [
        f"env=A: A is given by env_file=, too, and {words}",
        f"{tmp_path}/hpctools.yaml:1: env.C: C is given by secret=C, too, and {words}",
    ]


def test_a_file_that_others_can_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("A=b\n")
    asked = ask(tmp_path, {"env_file": "keys"})
    os.chmod(tmp_path / "keys", 0o644)
    assert "chmod 600 keys" in secrets.remarks(asked.settings, str(tmp_path))[0]
    os.chmod(tmp_path / "keys", 0o600)
    assert secrets.remarks(asked.settings, str(tmp_path)) == ()


@given(st.text(max_size=60))
def test_any_text_is_a_file_of_variables_or_has_problems(text: str) -> None:
    problems: list[Problem] = []
    found = secrets.of_text(text, "f", {}, problems)
    lines = [line for line in map(str.strip, text.split("\n")) if line and line[0] != "#"]
    assert len(found) + len(problems) <= len(lines)


# --- in the job ---------------------------------------------------------------------------------
def in_job(run: Path, file: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    shutil.copy(LAUNCH.with_name(file), run)
    environ = {"PATH": os.environ["PATH"], "SLURM_PROCID": "0"}
    command = [sys.executable, "-I", "-S", str(run / file), *words]
    return subprocess.run(command, env=environ, cwd=run, capture_output=True, timeout=60)


def test_hostile_secrets_reach_the_program_as_they_are_and_go_at_the_end(tmp_path: Path) -> None:
    values = {f"S{number}": text for number, text in enumerate(texts(5, 300))}
    code = (
        "import json, os; json.dump({k: v for k, v in os.environ.items() if k[0] == 'S'}, open('seen', 'w'))"
    )
    (tmp_path / "argv.json").write_text(json.dumps([sys.executable, "-I", "-S", "-c", code]))
    (tmp_path / "secrets.json").write_bytes(run_files._json(values))
    done = in_job(tmp_path, "launch.py", "node", "--launcher=none")
    assert done.returncode == 0, done.stderr
    seen = json.loads((tmp_path / "seen").read_text())
    assert {name: seen[name] for name in values} == values
    assert (tmp_path / "secrets.json").exists()
    leave(tmp_path, "finished", 0)
    assert in_job(tmp_path, "restart.py", "end", "0").returncode == 0
    assert not (tmp_path / "secrets.json").exists()
    assert not list(tmp_path.rglob("executed"))
    assert b"went when it ended" in in_job(tmp_path, "launch.py", "node", "--launcher=none").stdout


def leave(run: Path, state: str, status: int) -> None:
    (run / "secrets.json").touch()
    (run / "attempt-0").mkdir(exist_ok=True)
    (run / "attempt-0" / "result.json").write_text(json.dumps({"state": state, "status": status}))


@pytest.mark.parametrize(
    ("state", "options", "stay"),
    [
        ("failed", (), False),
        ("do not restart", (), False),
        ("failed", ("--max-attempts=1",), False),
        ("stopped", (), True),  # Slurm has ended it, and may start it again
    ],
)
def test_secrets_stay_for_a_job_that_may_be_started_again(
    tmp_path: Path, state: str, options: tuple[str, ...], stay: bool
) -> None:
    leave(tmp_path, state, 143)
    assert in_job(tmp_path, "restart.py", "end", "143", *options).returncode == 143
    assert (tmp_path / "secrets.json").exists() is stay


def test_secrets_go_with_a_crash_loop(tmp_path: Path) -> None:
    leave(tmp_path, "failed", 7)
    assert in_job(tmp_path, "restart.py", "begin", "--crashes=1").returncode == 7
    assert not (tmp_path / "secrets.json").exists()


# --- the list -----------------------------------------------------------------------------------
SHELL = {
    "PATH": "/bin",
    "LC_ALL": "C",
    "CONDA_PREFIX": "/conda",
    "NCCL_DEBUG": "WARN",
    "https_proxy": "http://proxy:3128",
    "TOKENIZERS_PARALLELISM": "false",
    "WANDB_API_KEY": "s",
    "HF_TOKEN": "s",
    "AWS_SECRET_ACCESS_KEY": "s",
    "HTTPS_PROXY": "http://me:s@proxy:3128",
    "MYSITE_A": "1",
    "MY_OTHER": "1",
    "SLURM_JWT": "t",
}


def test_a_job_inherits_what_is_listed_and_no_secret() -> None:
    found = exported.environment(SHELL, exported.LISTED, ["MYSITE_*"])
    assert set(found) == {
        "PATH", "LC_ALL", "CONDA_PREFIX", "NCCL_DEBUG", "https_proxy", "TOKENIZERS_PARALLELISM", "MYSITE_A",
        "SLURM_JWT",
    }  # fmt: skip
    assert exported.environment(SHELL, exported.ALL) == SHELL
    assert exported.left_out(SHELL, {*found, "HF_TOKEN"}) == (
        "AWS_SECRET_ACCESS_KEY",
        "HTTPS_PROXY",
        "WANDB_API_KEY",
    )


def test_the_script_keeps_to_the_same_list() -> None:
    text = exported.lines(exported.LISTED, ["MYSITE_*"]) + "\nenv -0\n"
    done = subprocess.run(["bash", "-u"], input=text.encode(), env=SHELL, capture_output=True, check=True)
    names = {word.partition("=")[0] for word in done.stdout.decode().split("\0") if word}
    expected = set(exported.environment(SHELL, exported.LISTED, ["MYSITE_*"])) - {"SLURM_JWT"}
    # A password within an address is seen by hpctools alone.
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == expected | {"HTTPS_PROXY"}
    assert exported.lines(exported.ALL) == ""


@settings(max_examples=50)
@given(st.text(max_size=20))
def test_a_pattern_of_a_site_is_a_name_or_refused(text: str) -> None:
    try:
        found = exported.patterns(text)
    except ParseError:
        return
    assert all(letter.isalnum() or letter in "_*" for one in found for letter in one)


def test_who_submits_is_told_what_does_not_go_along_and_what_stands_in_the_script(tmp_path: Path) -> None:
    asked = ask(tmp_path, {"env": {"MY_TOKEN": "x"}})
    said = submission._said_of_environment(asked, {"HF_TOKEN": VALUE, "PATH": "/bin"})
    assert said == (
        "MY_TOKEN looks like a secret and stands in the job's script; --secret MY_TOKEN keeps it out",
        "the job does not get HF_TOKEN of your shell; --secret NAME brings one",
    )
    assert submission._said_of_environment(with_secret(tmp_path), {"HF_TOKEN": VALUE}) == ()
