"""Variables that do harm: each rule on the value it is about, and on one that is right."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpctools.cli import main
from hpctools.jobs import env_lint, fabric
from hpctools.jobs.env_lint import Found
from hpctools.jobs.env_rules import RULES, Rule
from hpctools.jobs.fabric import Fabric
from tests.jobs.jobs_of import ask

ROOT = Path(__file__).parents[2]
NONE, IB, ROCE, EFA, CXI, TCP = (Fabric(kind) for kind in ("", *fabric.KINDS))


def rules(variable: str, value: str, made: Fabric = NONE) -> list[str]:
    return [one.rule for one in env_lint.findings([Found(variable, value, "x")], made)]


@pytest.mark.parametrize(
    ("variable", "bad", "good", "made", "rule"),
    [
        ("NCCL_SOCKET_IFNAME", "lo", "^lo,docker", NONE, "loopback"),
        ("GLOO_SOCKET_IFNAME", "eth0,lo", "eth0", NONE, "loopback"),
        ("NCCL_NET", "Socket", "IB", IB, "around-the-guard"),
        ("NCCL_NET", "AWS Libfabric", "ib", ROCE, "other-network"),
        ("NCCL_IB_DISABLE", "1", "0", NONE, "ib-disabled"),
        ("NCCL_P2P_DISABLE", "1", "0", NONE, "p2p-disabled"),
        ("NCCL_SHM_DISABLE", "1", "0", NONE, "shm-disabled"),
        ("NCCL_NVLS_ENABLE", "0", "2", NONE, "nvls-disabled"),
        ("NCCL_ALGO", "Ring", "", NONE, "algorithm-fixed"),
        ("NCCL_IB_TIMEOUT", "14", "22", NONE, "ib-timeout"),
        ("NCCL_IB_HCA", "mlx5_0,mlx5_1", "=mlx5_0,mlx5_1", IB, "hca-prefix"),
        ("NCCL_IB_GID_INDEX", "3", "-1", ROCE, "gid-index"),
        ("NCCL_TOPO_FILE", "/opt/p5.xml", "", NONE, "topology-file"),
        ("NCCL_DEBUG", "TRACE", "INFO", NONE, "debug-trace"),
        ("NCCL_DEBUG_FILE", "/scratch/log", "/scratch/%h.%p", NONE, "debug-file"),
        ("FI_PROVIDER", "efa", "cxi", CXI, "other-cloud"),
        ("FI_PROVIDER", "efa", "tcp", EFA, "old-efa"),
        ("RDMAV_FORK_SAFE", "1", "0", EFA, "fork-safe"),
        ("CUDA_LAUNCH_BLOCKING", "1", "0", NONE, "launch-blocking"),
        ("TORCH_DISTRIBUTED_DEBUG", "DETAIL", "OFF", NONE, "torch-debug"),
        ("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0", "3", NONE, "no-error-handling"),
        ("OMP_NUM_THREADS", "1", "8", NONE, "one-thread"),
    ],
)
def test_a_rule_finds_the_bad_value_and_not_the_good(
    variable: str, bad: str, good: str, made: Fabric, rule: str
) -> None:
    assert rule in rules(variable, bad, made)
    assert rule not in rules(variable, good, made)


@pytest.mark.parametrize(
    ("variable", "value", "right", "wrong", "rule"),
    [
        ("NCCL_NET", "Socket", TCP, IB, "around-the-guard"),
        ("NCCL_PROTO", "simple", Fabric("efa", ofi_plugin=(1, 5, 0)), EFA, "algorithm-fixed"),
        ("NCCL_NET_GDR_LEVEL", "PHB", CXI, IB, "gdr-level"),
        ("NCCL_IB_GID_INDEX", "3", Fabric("roce", nccl=(2, 20)), ROCE, "gid-index"),
        ("NCCL_IB_TIMEOUT", "18", Fabric("roce", nccl=(2, 22)), ROCE, "ib-timeout"),
        ("FI_EFA_USE_DEVICE_RDMA", "1", Fabric("efa", ofi_plugin=(1, 6, 0)), EFA, "old-efa"),
        ("FI_CXI_DEFAULT_CQ_SIZE", "131072", CXI, EFA, "other-cloud"),
        ("NCCL_IB_TC", "106", ROCE, EFA, "other-cloud"),
        ("FI_CXI_DEFAULT_CQ_SIZE", "131072", NONE, TCP, "other-cloud"),
    ],
)
def test_what_is_right_on_one_fabric_or_version_is_wrong_on_another(
    variable: str, value: str, right: Fabric, wrong: Fabric, rule: str
) -> None:
    assert rule not in rules(variable, value, right)
    assert rule in rules(variable, value, wrong)


@pytest.mark.parametrize("kind", fabric.KINDS)
@pytest.mark.parametrize("old", [False, True])
def test_nothing_that_a_fabric_needs_is_found_fault_with(kind: str, old: bool) -> None:
    made = Fabric(kind, hcas="mlx5_0", interfaces="=ib0", traffic_class=106, service_level=1, gid_index=3)
    if old:
        made = Fabric(kind, nccl=(2, 20), ofi_plugin=(1, 5), gid_index=3)
    needed = fabric.variables(made, 2)
    assert env_lint.findings([Found(one.name, one.value, "x") for one in needed], made) == ()


@given(st.sampled_from(RULES), st.text(max_size=20), st.sampled_from([NONE, IB, ROCE, EFA, CXI, TCP]))
def test_any_value_can_be_judged(rule: Rule, value: str, made: Fabric) -> None:
    assert rule.applies(value, made) in (True, False)


def test_every_rule_says_what_why_and_whence() -> None:
    for rule in RULES:
        assert all((rule.message, rule.hint, rule.source)), rule
        assert re.compile(rule.variables)


def test_a_file_is_read_and_not_run() -> None:
    text = (
        "# export NCCL_ALGO=Ring\n"
        "export A='b c' NCCL_DEBUG=INFO # x\n"
        "  ENV NCCL_P2P_DISABLE 1\n"
        "setenv FI_PROVIDER efa\n"
        "B=$(touch executed); echo NCCL_NET=x\n"
        "NCCL_PROTO=LL python train.py --x=1\n"
        "echo 'open\n"
    )
    found = [(one.variable, one.value, one.origin) for one in env_lint.of_text(text, "f")]
    assert found == [
        ("A", "b c", "f:2"),
        ("NCCL_DEBUG", "INFO", "f:2"),
        ("NCCL_P2P_DISABLE", "1", "f:3"),
        ("FI_PROVIDER", "efa", "f:4"),
        ("B", "$(touch", "f:5"),
        ("NCCL_PROTO", "LL", "f:6"),
    ]


def test_what_a_job_is_given_hides_what_it_inherits_and_the_network_matters_on_several_nodes(
    tmp_path: Path,
) -> None:
    inherited = {"NCCL_P2P_DISABLE": "1", "NCCL_IB_DISABLE": "1"}
    for nodes, expected in ((1, []), (2, ["NCCL_IB_DISABLE"])):
        asked = ask(tmp_path, {"nodes": nodes, "env": {"NCCL_P2P_DISABLE": "0"}})
        found = env_lint.remarks(asked.spec, asked.site, inherited)
        assert [one.partition("=")[0] for one in found] == expected
    assert "(from your shell) turns InfiniBand and RoCE off" in found[0]
    asked = ask(tmp_path, {"env": {"NCCL_P2P_DISABLE": "1"}})
    (said,) = env_lint.remarks(asked.spec, asked.site, {})
    assert "(from env=NCCL_P2P_DISABLE)" in said


def test_the_command_tells_what_is_fatal_and_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site.yaml").write_text("fabric: infiniband\n")
    (tmp_path / "job.sh").write_text("export NCCL_NET=Socket\nexport NCCL_SOCKET_IFNAME=lo\n")
    assert main(["lint-env", "job.sh", "--site", "./site.yaml", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [(one["severity"], one["variable"], one["origin"]) for one in found] == [
        ("fatal", "NCCL_SOCKET_IFNAME", "job.sh:2"),
        ("warning", "NCCL_NET", "job.sh:1"),
    ]
    assert main(["lint-env", "job.sh"]) == 1
    out = capsys.readouterr().out
    assert "job.sh:2: it names the loopback" in " ".join(out.split())
    (tmp_path / "job.sh").write_text("export NCCL_DEBUG=WARN\n")
    assert main(["lint-env", "job.sh"]) == 0
    assert "no variable here is known to do harm" in capsys.readouterr().out


def test_the_command_looks_at_the_shell_and_at_what_submit_adds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NCCL_ALGO", "Ring")
    (tmp_path / "hpctools.yaml").write_text("env:\n  NCCL_NVLS_ENABLE: 0\n")
    assert main(["lint-env", "--env", "FI_EFA_FORK_SAFE=1", "--json"]) == 0
    origins = {one["variable"]: one["origin"] for one in json.loads(capsys.readouterr().out)}
    assert origins["NCCL_ALGO"] == "your shell"
    assert origins["NCCL_NVLS_ENABLE"].endswith("hpctools.yaml:2: env.NCCL_NVLS_ENABLE")
    assert origins["FI_EFA_FORK_SAFE"] == "--env FI_EFA_FORK_SAFE"


def test_a_sites_first_lines_and_templates_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    lines = "export NCCL_ALGO=Ring\nexport MASTER_ADDR={{ var.head }} MASTER_PORT=$port\n"
    (tmp_path / "templates/torchrun.sbatch.j2").write_text(lines)
    (tmp_path / "templates/srun.sbatch.j2").write_text("export NCCL_PROTO=LL\n")
    (tmp_path / "site.yaml").write_text(
        "templates: templates\nsetup: |\n  module load cuda\n  export NCCL_P2P_DISABLE=1\n"
    )
    asked = ask(tmp_path, {"site": "./site.yaml"})
    said = env_lint.remarks(asked.spec, asked.site, {})
    assert [one.partition(" ")[0] for one in said] == ["NCCL_P2P_DISABLE=1", "NCCL_ALGO=Ring"]
    assert f"setup of {tmp_path}/site.yaml:2" in said[0]
    assert f"{tmp_path}/templates/torchrun.sbatch.j2:1" in said[1]
