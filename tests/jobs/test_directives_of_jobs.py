"""A job's #SBATCH lines, and the environment in which sbatch reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctools.jobs import directives, resources
from tests.jobs.jobs_of import ask, mixed, recorded

RUN = "/shared/runs/train-x"


def of(folder: Path, cluster: object = None, **values: object) -> dict[str, str | None]:
    asked = ask(folder, values)
    taken = resources.resolve(asked.spec, asked.site, recorded() if cluster is None else mixed())
    return dict(directives.of(asked.spec, taken, asked.site, RUN))


def test_a_whole_node_job_asks_for_all_of_it(tmp_path: Path) -> None:
    assert of(tmp_path, nodes=4) == {
        "job-name": "train",
        "nodes": "4",
        "ntasks-per-node": "1",
        "mem": "0",
        "gpus-per-node": "8",
        "exclusive": None,
        "requeue": None,
        "signal": "USR1@180",
        "chdir": str(tmp_path),
        "output": f"{RUN}/slurm.out",
        "open-mode": "append",
    }


def test_every_setting_that_has_an_option_of_sbatch_is_in_the_script(tmp_path: Path) -> None:
    values = {
        "name": "n", "comment": "c", "nodes": 2, "cpus_per_task": 3, "mem": "4G", "array": "1-2",
        "time": 5, "partition": "p", "account": "a", "qos": "q", "constraint": "f", "nodelist": "n1",
        "exclude": "n2", "reservation": "r", "dependency": "singleton",
    }  # fmt: skip
    found = of(tmp_path, **values)
    expected = {key.replace("_", "-"): str(value) for key, value in values.items()}
    expected |= {"job-name": expected.pop("name"), "time": "00:05:00"}
    assert {name: found.get(name) for name in expected} == expected


def test_gpus_are_asked_for_in_one_way_only(tmp_path: Path) -> None:
    """--gpus-per-node with --gres=gpu is an error since 26.05; --gpus-per-task hides GPUs."""
    assert of(tmp_path, gpus_per_node="h200:4")["gpus-per-node"] == "h200:4"
    (tmp_path / "site.yaml").write_text("gpu_option: gres\n")
    found = of(tmp_path, gpus_per_node="h200:4", site="./site.yaml")
    assert found["gres"] == "gpu:h200:4"
    assert "gpus-per-node" not in found
    assert "gpus-per-node" not in of(tmp_path, sbatch_option={"gres": "gpu:1"})
    assert "gpus-per-node" not in of(tmp_path, gpus_per_node=0)


def test_options_of_sbatch_replace_what_would_be_filled_in(tmp_path: Path) -> None:
    found = of(tmp_path, sbatch_option={"exclusive": "user", "mem-per-cpu": "1G", "--licenses": "a:1"})
    assert found["exclusive"] == "user"
    assert "mem" not in found
    assert found["licenses"] == "a:1"


def test_an_array_writes_one_log_for_each_task(tmp_path: Path) -> None:
    assert of(tmp_path, array="0-3")["output"] == f"{RUN}/slurm-%A_%a.out"


def test_a_percent_sign_in_the_run_folder_is_no_pattern_of_slurms(tmp_path: Path) -> None:
    spec = ask(tmp_path).spec
    assert directives.stdout(spec, "/a%j/100%/r") == "/a%%j/100%%/r/slurm.out"


def test_patterns_in_output_are_the_users_own(tmp_path: Path) -> None:
    folder = tmp_path / "50%x"
    folder.mkdir()
    spec = ask(folder, {"output": "%x-%j.out"}).spec
    assert directives.stdout(spec, RUN) == f"{tmp_path}/50%%x/%x-%j.out"


def test_values_that_no_directive_carries_are_all_told(tmp_path: Path) -> None:
    folder = tmp_path / "back\\slash"
    folder.mkdir()
    asked = ask(folder, {"name": "a\nb", "comment": "\x1b", "sbatch_option": {"wckey": "x\ny"}})
    taken = resources.resolve(asked.spec, asked.site, None)
    found = directives.problems(asked.spec, directives.of(asked.spec, taken, asked.site, f"{folder}/runs/x"))
    assert [problem.where for problem in found] == [
        "name=",
        "comment=",
        "working folder",
        "--runs-dir",
        "sbatch_option=wckey",
    ]


def test_a_users_defaults_for_sbatch_stay_unless_the_script_says_otherwise(tmp_path: Path) -> None:
    """sbatch gives its variables precedence over directives, so one of them would win."""
    environ = {
        "PATH": "/bin", "SBATCH_PARTITION": "p", "SBATCH_TIMELIMIT": "1", "SBATCH_WCKEY": "w",
        "SBATCH_WAIT": "1", "SBATCH_OUTPUT": "/dev/null", "SBATCH_GRES": "gpu:1", "SLURM_CONF": "/c",
    }  # fmt: skip
    found = directives.environment(environ, (("time", "5"), ("output", "x"), ("gpus-per-node", "8")))
    assert found == {"PATH": "/bin", "SBATCH_PARTITION": "p", "SBATCH_WCKEY": "w", "SLURM_CONF": "/c"}


def test_within_a_job_nothing_of_that_job_reaches_sbatch_but_which_cluster(tmp_path: Path) -> None:
    environ = {
        "PATH": "/bin", "SLURM_JOB_ID": "7", "SLURM_NTASKS": "64", "SRUN_DEBUG": "3",
        "SBATCH_PARTITION": "p", "SLURM_CONF": "/c",
    }  # fmt: skip
    assert directives.environment(environ, ()) == {"PATH": "/bin", "SLURM_CONF": "/c"}


@pytest.mark.parametrize("export", ["ALL", "LISTED", "NONE"])
def test_the_site_says_whether_the_environment_travels(tmp_path: Path, export: str) -> None:
    found = of(tmp_path, set={"site.export": export})
    assert found.get("export") == ("NONE" if export == "NONE" else None)
