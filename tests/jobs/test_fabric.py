"""What NCCL needs on a fabric: the right variables, and no more, in the job's script."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpctools.errors import Problem
from hpctools.jobs import fabric, render, resources
from hpctools.jobs.fabric import Fabric
from tests.jobs.jobs_of import ask, recorded


def needed(made: Fabric, nodes: int = 2, given: tuple[str, ...] = ()) -> dict[str, str]:
    return {one.name: one.value for one in fabric.variables(made, nodes, given)}


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (Fabric(), {}),
        (Fabric("infiniband"), {"NCCL_NET": "IB"}),
        (
            Fabric("infiniband", net="IBext_v8", hcas="mlx5_0,mlx5_1", interfaces="=ib0"),
            {"NCCL_NET": "IBext_v8", "NCCL_SOCKET_IFNAME": "=ib0", "NCCL_IB_HCA": "=mlx5_0,mlx5_1"},
        ),
        (Fabric("infiniband", hcas="^mlx5_9"), {"NCCL_NET": "IB", "NCCL_IB_HCA": "^mlx5_9"}),
        (
            Fabric("roce", traffic_class=106, service_level=3, gid_index=3),
            {"NCCL_NET": "IB", "NCCL_IB_TC": "106", "NCCL_IB_SL": "3"},
        ),
        (Fabric("roce", nccl=(2, 20, 5), gid_index=3), {"NCCL_NET": "IB", "NCCL_IB_GID_INDEX": "3"}),
        (Fabric("efa"), {"NCCL_NET": "AWS Libfabric"}),
        (
            Fabric("efa", ofi_plugin=(1, 5, 0)),
            {"NCCL_NET": "AWS Libfabric", "FI_PROVIDER": "efa", "NCCL_PROTO": "simple"},
        ),
        (
            Fabric("efa", ofi_plugin=(1, 6, 0)),
            {"NCCL_NET": "AWS Libfabric", "FI_EFA_USE_DEVICE_RDMA": "1"},
        ),
        (
            Fabric("slingshot", variables={"FI_CXI_RX_MATCH_MODE": "hybrid"}),
            {
                "NCCL_NET": "AWS Libfabric",
                "NCCL_SOCKET_IFNAME": "hsn",
                "NCCL_NET_GDR_LEVEL": "PHB",
                "NCCL_CROSS_NIC": "1",
                "FI_MR_CACHE_MONITOR": "userfaultfd",
                "FI_CXI_RX_MATCH_MODE": "hybrid",
            },
        ),
        (Fabric("tcp", interfaces="=eth0"), {"NCCL_NET": "Socket", "NCCL_SOCKET_IFNAME": "=eth0"}),
    ],
)
def test_each_fabric_and_version_gets_exactly_what_it_needs(made: Fabric, expected: dict[str, str]) -> None:
    assert needed(made) == expected
    assert all(one.reason for one in fabric.variables(made, 2))


@pytest.mark.parametrize("kind", fabric.KINDS)
def test_one_node_has_no_network_to_choose(kind: str) -> None:
    assert needed(Fabric(kind), nodes=1) == {}


def test_what_is_given_is_left_alone_and_a_sites_own_value_wins_over_ours() -> None:
    made = Fabric("slingshot", variables={"NCCL_CROSS_NIC": "0"})
    found = needed(made, given=("NCCL_NET",))
    assert "NCCL_NET" not in found
    assert found["NCCL_CROSS_NIC"] == "0"


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20))
def test_a_hostile_value_is_set_as_it_is_and_never_wins_over_what_is_there(value: str) -> None:
    made = Fabric("tcp", net=value or "x", variables={"OTHER": value})
    text = fabric.lines(fabric.variables(made, 2), made.title, render.quote)
    show = 'printf "%s\\0%s" "$NCCL_NET" "$OTHER"'
    for before, expected in (("", [value or "x", value]), ("NCCL_NET=; OTHER='mine !'\n", ["", "mine !"])):
        done = subprocess.run(["bash", "-u"], input=f"{before}{text}\n{show}".encode(), capture_output=True)
        assert done.stdout.decode().split("\0") == expected, done.stderr


def script(folder: Path, site: str, **values: object) -> str:
    (folder / "site.yaml").write_text(site)
    asked = ask(folder, {"site": "./site.yaml", "nodes": 2, **values})
    assert asked.problems == ()
    taken = resources.resolve(asked.spec, asked.site, recorded())
    return render.render(asked.spec, taken, asked.site, "/runs/x")[0]


def test_the_script_says_why_each_variable_is_there(tmp_path: Path) -> None:
    text = script(tmp_path, "fabric:\n  kind: efa\n")
    assert (
        "NCCL would go on over TCP and say nothing, many times slower.\n"
        "# With this it ends with an error instead.\n"
        "export NCCL_NET=${NCCL_NET-'AWS Libfabric'}\n"
    ) in text
    subprocess.run(["bash", "-n"], input=text.encode(), check=True)


def test_the_users_own_variable_is_the_only_one_in_the_script(tmp_path: Path) -> None:
    text = script(tmp_path, "fabric: {kind: infiniband, hcas: mlx5_0}\n", env={"NCCL_NET": "Socket"})
    assert [line for line in text.splitlines() if line.startswith("export NCCL")] == [
        "export NCCL_NET=Socket",
        "export NCCL_IB_HCA=${NCCL_IB_HCA-=mlx5_0}",
    ]


def test_a_site_without_a_fabric_sets_nothing(tmp_path: Path) -> None:
    assert "NCCL_NET" not in script(tmp_path, "description: x\n")


def test_set_changes_the_fabric(tmp_path: Path) -> None:
    text = script(
        tmp_path, "fabric: infiniband\n", set={"site.fabric": "tcp", "site.fabric.interfaces": "=e0"}
    )
    assert "export NCCL_NET=${NCCL_NET-Socket}" in text
    assert shlex.quote("=e0") in text


def test_what_is_wrong_in_a_fabric_is_said_with_its_line() -> None:
    problems: list[Problem] = []
    entries: dict[str, tuple[object, str]] = {
        "knd": ("tcp", "f:1"),
        "kind": ("tokenring", "f:2"),
        "hcas": ("mlx5 0", "f:3"),
        "nccl": ("new", "f:4"),
        "variables": ({"A B": "1", "OK": None}, "f:5"),
        "bandwidth_gb_s": ("-1", "f:6"),
        "net": ({"a": "b"}, "f:7"),
    }
    made = fabric.read(entries, problems)
    assert [problem.where for problem in problems] == [f"f:{line}" for line in range(1, 8)]
    assert "did you mean kind?" in str(problems[0])
    assert made == Fabric(variables={"OK": ""})


def test_a_fabric_without_a_kind_is_a_problem() -> None:
    problems: list[Problem] = []
    fabric.read({"hcas": ("mlx5_0", "f:3")}, problems)
    assert "f:3: the fabric has no kind" in str(problems[0])
