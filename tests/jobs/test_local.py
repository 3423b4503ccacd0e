"""The same job without Slurm."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from hpctools.errors import InvalidInput
from hpctools.jobs import local, record
from tests.jobs.jobs_of import ask


class Started:
    """Stands for the terminal: keeps what would have been started."""

    def __init__(self, status: int = 0) -> None:
        self.words: list[str] = []
        self.environment: dict[str, str] = {}
        self.status = status

    def __call__(self, words: list[str], environment: Mapping[str, str]) -> int:
        self.words, self.environment = words, dict(environment)
        return self.status


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_a_local_job_has_the_same_folder_and_ends_with_the_jobs_status(tmp_path: Path) -> None:
    started = Started(7)
    asked = ask(tmp_path, {"python": "/opt/py", "ranks_per_node": 3, "env": {"A": "b"}}, "x")
    entry, status = local.run(asked, environ={"PATH": "/bin"}, start=started)
    run = Path(entry.run)
    assert status == 7
    assert started.words == [
        "/opt/py", "-I", "-S", str(run / "launch.py"), "local", "--launcher=torchrun", "--ranks-per-node=3",
    ]  # fmt: skip
    assert started.environment == {"PATH": "/bin", "A": "b"}
    assert json.loads((run / "argv.json").read_text()) == ["/opt/py", "train.py", "x"]
    assert not (run / "job.sbatch").exists()
    assert [one.state for one in record.load_all()] == ["local"]


@pytest.mark.parametrize(("launcher", "given"), [("torchrun", True), ("accelerate", True), ("srun", False)])
def test_a_launcher_here_gets_the_words_that_are_its_own(tmp_path: Path, launcher: str, given: bool) -> None:
    words = {f"{launcher}.options": "--max-restarts 0 'a b'"}
    asked = ask(tmp_path, {"launcher": launcher, "ranks_per_node": 2, "set": words})
    started = Started()
    local.run(asked, environ={}, start=started)
    assert ("--options=--max-restarts 0 'a b'" in started.words) == given
    bad = ask(tmp_path, {"launcher": launcher, "set": {f"{launcher}.options": "'"}})
    with pytest.raises(InvalidInput, match="cannot be split into words"):
        local.run(bad, environ={}, start=started)


@pytest.mark.parametrize(
    ("values", "environ", "ranks"),
    [
        ({"gpus_per_node": 2}, {}, "2"),
        ({"gpus_per_node": 2, "ranks_per_node": 4}, {}, "4"),
        ({}, {"CUDA_VISIBLE_DEVICES": "0,1,5"}, "3"),
        ({}, {"CUDA_VISIBLE_DEVICES": ""}, "1"),
        ({"launcher": "none"}, {"CUDA_VISIBLE_DEVICES": "0,1"}, "1"),
    ],
)
def test_each_gpu_here_gets_a_rank(
    tmp_path: Path, values: dict[str, object], environ: dict[str, str], ranks: str
) -> None:
    started = Started()
    local.run(ask(tmp_path, values), environ=environ, start=started)
    assert started.words[-1] == f"--ranks-per-node={ranks}"


@pytest.mark.parametrize(("ranks", "launcher"), [(1, "srun"), (2, "torchrun")])
def test_without_srun_several_ranks_are_started_by_torchrun(
    tmp_path: Path, ranks: int, launcher: str
) -> None:
    said: list[str] = []
    started = Started()
    local.run(ask(tmp_path, {"launcher": "srun", "ranks_per_node": ranks}), said.append, {}, started)
    assert f"--launcher={launcher}" in started.words
    assert any("torchrun starts the ranks" in text for text in said) == (ranks > 1)


def test_gpus_are_counted_by_their_devices(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert local.gpus_here({}, str(tmp_path)) == 3


def test_more_nodes_become_one_and_that_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    entry, _ = local.run(ask(tmp_path, {"nodes": 4}), said.append, {}, Started())
    assert entry.nodes == 1
    assert any("1 node instead of 4" in text for text in said)


@pytest.mark.parametrize(
    "values", [{"array": "1-3"}, {"launcher": "none", "ranks_per_node": 2}, {"nodes": "x"}]
)
def test_what_cannot_be_done_here_is_refused(tmp_path: Path, values: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        local.run(ask(tmp_path, values), environ={}, start=Started())


def test_names_that_slurm_would_refuse_are_fine_without_it(tmp_path: Path) -> None:
    local.run(ask(tmp_path, {"name": "a\nb\\"}), environ={}, start=Started())


def test_that_no_node_is_looked_at_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    local.run(ask(tmp_path, {"preflight": True}), said.append, {}, Started())
    assert any("--preflight" in text and "left out" in text for text in said)
