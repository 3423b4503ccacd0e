"""A job as it was asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hpctools.jobs import spec
from tests.jobs.jobs_of import ask


def test_a_python_script_is_run_by_the_chosen_python(tmp_path: Path) -> None:
    argv = ask(tmp_path, {"python": "/opt/py"}, "--lr", "$(x) y").spec.argv
    assert argv == ("/opt/py", "train.py", "--lr", "$(x) y")


def test_the_python_is_the_active_environments_else_ours(tmp_path: Path) -> None:
    python = tmp_path / "env/bin/python"
    python.parent.mkdir(parents=True)
    python.touch(0o755)
    assert ask(tmp_path, environ={"VIRTUAL_ENV": str(tmp_path / "env")}).spec.python == str(python)
    assert ask(tmp_path, environ={"CONDA_PREFIX": str(tmp_path / "env")}).spec.python == str(python)
    assert ask(tmp_path, environ={"VIRTUAL_ENV": "/nope"}).spec.python == sys.executable


def test_a_link_to_python_stays_a_link(tmp_path: Path) -> None:
    """The folder of a virtual environment's link tells which environment it is."""
    (tmp_path / "py").symlink_to(sys.executable)
    assert ask(tmp_path, {"python": "./py"}).spec.python == f"{tmp_path}/./py"


def test_an_executable_that_is_no_python_is_run_itself(tmp_path: Path) -> None:
    (tmp_path / "train.sh").touch(0o755)
    assert ask(tmp_path, {}, "a", target="train.sh").spec.argv == ("./train.sh", "a")


def test_a_script_that_nothing_can_run_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "train.sh").touch(0o644)
    (problem,) = ask(tmp_path, target="train.sh").problems
    assert "neither *.py nor executable" in str(problem)


def test_a_script_whose_name_begins_with_a_dash_is_no_option(tmp_path: Path) -> None:
    assert ask(tmp_path, {"python": "py"}, target="-x.py").spec.argv == ("py", "./-x.py")


def test_a_command_is_not_looked_for_and_not_changed(tmp_path: Path) -> None:
    asked = ask(tmp_path, {"command": True}, "-c", "exit 3", target="bash")
    assert asked.spec.argv == ("bash", "-c", "exit 3")
    assert asked.problems == ()


def test_a_folder_is_no_script(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    assert "code is a folder" in str(ask(tmp_path, target="code").problems[0])


def test_the_nearest_script_is_named(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/train.py").touch()
    from hpctools.jobs import request

    (problem,) = request.gather("sub/trian.py", environ={"HOME": "/"}, cwd=str(tmp_path)).problems
    assert str(problem) == "TARGET: there is no sub/trian.py (did you mean sub/train.py?)"


@pytest.mark.parametrize(
    ("name", "folder_name"),
    [
        ("train", "train"),
        ("a b/c", "a-b-c"),
        ("$(touch x);\n", "touch-x"),
        ("../..", "job"),
        ("-x", "x"),
        ("é☃", "job"),
        ("n" * 500, "n" * 40),
    ],
)
def test_a_run_folder_has_a_plain_name(tmp_path: Path, name: str, folder_name: str) -> None:
    assert ask(tmp_path, {"name": name}).spec.folder_name == folder_name


def test_the_name_of_a_job_is_the_scripts(tmp_path: Path) -> None:
    assert ask(tmp_path).spec.name == "train"
    # Nobody chose it as a job's name, so what a directive cannot carry is replaced.
    assert ask(tmp_path, target="a\n\\b.py").spec.name == "a__b"


def test_a_log_in_a_folder_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    (problem,) = ask(tmp_path, {"output": "logs/x.out"}).problems
    assert str(problem) == f"output=: there is no folder {tmp_path}/logs (mkdir it first)"
    assert ask(tmp_path, {"output": "%x/x.out"}).problems == ()  # only Slurm knows


def test_a_missing_python_is_only_a_doubt(tmp_path: Path) -> None:
    asked = ask(tmp_path, {"python": "/nope/python"})
    assert asked.problems == ()
    (doubt,) = spec.doubts(asked.spec)
    assert doubt == "/nope/python is not there, on this machine; the job needs it on its nodes"


def test_a_virtual_environment_without_torch_is_a_doubt(tmp_path: Path) -> None:
    python = tmp_path / "env/bin/python"
    python.parent.mkdir(parents=True)
    python.touch(0o755)
    (tmp_path / "env/pyvenv.cfg").touch()
    packages = tmp_path / "env/lib/python3.11/site-packages"
    packages.mkdir(parents=True)
    asked = ask(tmp_path, {"python": str(python)}).spec
    assert "seems to have no torch" in spec.doubts(asked)[0]
    assert spec.doubts(ask(tmp_path, {"python": str(python), "launcher": "none"}).spec) == ()
    (packages / "torch").mkdir()
    assert spec.doubts(asked) == ()
