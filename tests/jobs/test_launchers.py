"""What launch.py tells accelerate, what it makes of mpirun's variables, and the NCCL test's arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctools.jobs.runtime import launch, nccl_test

NODES = ["--num_machines=2", "--num_processes=8", "--same_network", "--machine_rank=1"]
NODES += ["--main_process_ip=n1", "--main_process_port=20012"]
PLAIN = ["--mixed_precision=no", "--dynamo_backend=no"]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The second of two nodes, and a home without a configuration of accelerate."""
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    monkeypatch.setenv("SLURM_NODEID", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ([], [*PLAIN, "--multi_gpu"]),
        (["--mixed_precision", "bf16"], [*PLAIN, "--multi_gpu"]),
        (["--use_fsdp", "--fsdp_version=2"], PLAIN),
        (["--config_file=fsdp.yaml"], []),
    ],
)
def test_accelerate_is_told_of_the_nodes_and_of_nothing_that_the_user_decides(
    node: Path, options: list[str], more: list[str]
) -> None:
    assert launch.accelerate_words(4, "n1", 20012, options) == [*NODES, *more]


def test_accelerates_own_configuration_decides_where_there_is_one(node: Path) -> None:
    (node / "accelerate").mkdir()
    (node / "accelerate/default_config.yaml").touch()
    assert launch.accelerate_words(4, "n1", 20012, []) == NODES


def test_one_rank_in_all_is_no_distributed_training(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "1")
    assert "--multi_gpu" not in launch.accelerate_words(1, "n1", 20012, [])


@pytest.mark.parametrize(
    ("launcher", "granted", "ranks"),
    [("torchrun", "32", 4), ("srun", "8", 1), ("none", "8", 1), ("mpirun", "8", 1), ("mpirun", "", 4)],
)
def test_ranks_of_one_task_share_its_cpus(
    launcher: str, granted: str, ranks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under mpirun Slurm still says how many CPUs each rank was to have."""
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", granted)
    assert launch.sharing(launcher, 4) == ranks


def test_bandwidths_are_those_of_nccl_tests() -> None:
    """An all-reduce of 1 GB in 10 ms among 8 ranks: 100 GB/s, of which each link carries 7/4."""
    found = nccl_test.row(10**9, 0.01, 8, 0)
    assert (found["count"], found["time_us"], found["algbw"]) == (250_000_000, 10_000, 100)
    assert found["busbw"] == pytest.approx(175)


def test_sizes_grow_up_to_the_most() -> None:
    assert nccl_test.sizes(1024, 70_000, 4) == [1024, 4096, 16384, 65536]
    given = nccl_test.options(["--min", "8K", "--max", "1M", "--factor", "2"])
    assert (given.min, given.max) == (8192, 1048576)


@pytest.mark.parametrize("words", [["--min", "3"], ["--factor", "1"], ["--max", "1Q"], ["--max", "8"]])
def test_sizes_that_make_no_table_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        nccl_test.options(words)
    assert "nccl-test: error" in capsys.readouterr().err
