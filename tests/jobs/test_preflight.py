"""What the preflight makes of what it sees: real answers of nvidia-smi, folders as /sys has them."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpctools.jobs import render, resources
from hpctools.jobs.runtime import preflight
from hpctools.jobs.runtime.preflight import BAD, OK, SKIPPED, WARNING, Record
from tests.jobs.jobs_of import ask, recorded

SCRIPT = Path(preflight.__file__)
GOOD = "0, NVIDIA H200, 0, 0, 0\n1, NVIDIA H200, 0, 0, 0\n"


def verdicts(found: list[Record]) -> list[tuple[str, str]]:
    return [(one["name"], one["verdict"]) for one in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD, [("gpus", OK)]),
        (GOOD.splitlines()[0], [("gpus", BAD)]),
        (GOOD.replace("H200, 0, 0, 0\n1", "H200, 3, 0, 0\n1"), [("gpus", OK), ("ecc", BAD)]),
        (GOOD.replace("0, 0\n1", "1, 0\n1"), [("gpus", OK), ("row-remap", BAD)]),
        (GOOD.replace("0, 0\n1", "0, 1\n1"), [("gpus", OK), ("row-remap", WARNING)]),
        ("0, T4, [N/A], [N/A], [N/A]\n1, T4, [N/A], [N/A], [N/A]\n", [("gpus", OK)]),
        ("", [("gpus", BAD)]),
    ],
)
def test_gpus_are_counted_and_their_errors_told(text: str, expected: list[tuple[str, str]]) -> None:
    assert verdicts(preflight.judged_gpus(text, 2)) == expected


def links(*states: str) -> str:
    return "".join(
        f"GPU {gpu}: NVIDIA H200 (UUID: GPU-{gpu})\n"
        + "".join(f"\t Link {n}: {one}\n" for n, one in enumerate(row))
        for gpu, row in enumerate([s.split(",") for s in states])
    )


def test_a_gpu_with_fewer_links_than_its_neighbours_is_bad() -> None:
    (good,) = preflight.judged_links(links("26.562 GB/s,26.562 GB/s", "26.562 GB/s,26.562 GB/s"))
    assert (good["verdict"], good["found"]) == (OK, "2 links each")
    (bad,) = preflight.judged_links(links("26.562 GB/s,26.562 GB/s", "26.562 GB/s,<inactive>"))
    assert (bad["verdict"], bad["found"], bad["expected"]) == (BAD, "GPU 1: 1 active links", "2")
    assert preflight.judged_links("")[0]["verdict"] == SKIPPED


@given(st.text(max_size=200))
def test_whatever_nvidia_smi_prints_is_judged(text: str) -> None:
    assert preflight.judged_gpus(text, 1)
    assert preflight.judged_links(text)


def sysfs(folder: Path, states: dict[str, str], **interfaces: str) -> str:
    for device, state in states.items():
        port = folder / "class/infiniband" / device / "ports/1"
        port.mkdir(parents=True)
        (port / "state").write_text(f"4: {state}\n")
    for name, state in interfaces.items():
        (folder / "class/net" / name).mkdir(parents=True)
        (folder / "class/net" / name / "operstate").write_text(f"{state}\n")
    return str(folder)


def test_an_adapter_of_the_sites_list_must_have_a_link(tmp_path: Path) -> None:
    root = sysfs(tmp_path, {"mlx5_0": "ACTIVE", "mlx5_1": "DOWN"}, ib0="up", ib1="down")
    assert verdicts(preflight.nics("infiniband", [], [], root)) == [("nic", WARNING)]
    assert verdicts(preflight.nics("infiniband", ["mlx5_0"], ["ib0"], root)) == [("nic", OK)]
    found = preflight.nics("infiniband", ["mlx5_1", "mlx5_7"], ["ib1", "ib2"], root)
    assert [one["found"] for one in found] == [
        "mlx5_1 is DOWN", "mlx5_7 is not there", "ib1 is down", "ib2 is not there",
    ]  # fmt: skip
    assert {one["verdict"] for one in found} == {BAD}


def test_a_fabric_without_an_adapter_is_bad(tmp_path: Path) -> None:
    assert preflight.nics("roce", [], [], str(tmp_path))[0]["verdict"] == BAD
    assert preflight.nics("tcp", [], [], str(tmp_path))[0]["verdict"] == OK
    root = sysfs(tmp_path, {"mlx5_0": "DOWN"})
    assert (BAD, "no adapter has a link") in [
        (one["verdict"], one["found"]) for one in preflight.nics("infiniband", [], [], root)
    ]


@pytest.mark.parametrize(
    ("limit", "fabric", "verdict"),
    [(8 << 20, "infiniband", BAD), (8 << 20, "tcp", OK), (4 << 30, "roce", WARNING)],
)
def test_rdma_needs_locked_memory(
    limit: int, fabric: str, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limit, limit))
    assert preflight.memlock(fabric)["verdict"] == verdict


def test_little_memory_and_a_folder_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    meminfo = "MemTotal: 1000 kB\nMemAvailable: {} kB\n"
    assert [preflight.memory(meminfo.format(free))["verdict"] for free in (10, 100, 900)] == [
        BAD,
        WARNING,
        OK,
    ]
    assert preflight.disk("disk", str(tmp_path))["verdict"] in (OK, WARNING)
    assert os.listdir(tmp_path) == []
    assert preflight.disk("disk", str(tmp_path / "nope"))["verdict"] == BAD


# --- all nodes together -------------------------------------------------------------------------
def node(*checks: Record) -> Record:
    return {"node": 0, "started_s": 1.0, "checks": list(checks)}


def failed(joined: bool) -> Record:
    return {**preflight.check("all-reduce", BAD, "did not end in time"), "joined": joined}


DONE = preflight.check("all-reduce", OK, "1 GB/s")
LATE = preflight.check("all-reduce", WARNING, "torch was not loaded in time")
SICK = preflight.check("gpus", BAD, "7 are there", "8")
NO_PROGRAM = preflight.check("program", BAD, "x is not there")
NO_IMAGE = preflight.check("image", BAD, "x cannot be read")
FULL = preflight.check("disk", BAD, "/tmp: 0.0 GiB free")


@pytest.mark.parametrize(
    ("found", "bad"),
    [
        ({0: node(DONE), 1: node(DONE)}, []),
        ({0: node(DONE)}, ["b"]),
        ({0: node(failed(False)), 1: node(SICK, failed(False))}, ["b"]),
        ({0: node(failed(True)), 1: node(failed(False))}, ["b"]),
        ({0: node(failed(False)), 1: node(failed(False))}, ["all nodes"]),
        ({0: node(failed(False)), 1: node(LATE)}, []),
        ({0: node(failed(False))}, ["b"]),
        ({}, ["all nodes"]),  # srun has failed: a successor without any node would never start
    ],
)
def test_the_node_that_is_to_blame_is_named_and_no_other(found: dict[int, Record], bad: list[str]) -> None:
    named, _ = preflight.verdicts(found, ["a", "b"])
    assert [one["host"] for one in named] == bad


def test_a_job_of_one_node_has_no_other_to_compare_with() -> None:
    named, _ = preflight.verdicts({0: node(NO_PROGRAM)}, ["a"])
    assert named == [{"node": 0, "host": "a", "reasons": ["program: x is not there"]}]


def test_what_all_nodes_fail_alike_is_said_once() -> None:
    named, _ = preflight.verdicts({0: node(NO_PROGRAM), 1: node(NO_PROGRAM)}, ["a", "b"])
    assert named == [{"node": None, "host": "all nodes", "reasons": ["program: x is not there"]}]


@pytest.mark.parametrize(
    ("reports", "verdict"),
    [
        ([{"stage": "done", "right": True, "bus_gb_s": 9.0, "backend": "nccl", "ranks": 2}], OK),
        ([{"stage": "done", "right": True, "bus_gb_s": 3.0, "backend": "nccl", "ranks": 2}], WARNING),
        ([{"stage": "done", "right": False, "bus_gb_s": 9.0, "backend": "nccl", "ranks": 2}], BAD),
        ([{"stage": "no torch"}], SKIPPED),
        ([{"stage": "started", "timed_out": True, "said": [""]}], WARNING),
        ([{"stage": "started", "timed_out": False, "said": ["No device"]}], BAD),
        ([{"stage": "joined", "timed_out": True, "said": [""]}], BAD),
    ],
)
def test_an_all_reduce_is_judged_by_the_rank_that_came_least_far(reports: list[Record], verdict: str) -> None:
    assert preflight.judged_reduce(reports, 10.0)["verdict"] == verdict


# --- the file as it runs ------------------------------------------------------------------------
def test_the_head_is_a_clock_and_a_notice_board_until_nobody_reads(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-I", "-S", str(SCRIPT), "head"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    names, port = process.stdout.readline().decode().split()
    host, found = preflight.reach(["no.such.host.invalid", *names.split(","), "127.0.0.1"], int(port))
    assert host
    assert verdicts(found) == [("head", OK), ("clock", OK)]
    assert preflight.ask(host, int(port), "get store") == ""
    preflight.ask(host, int(port), "put store 7")
    assert preflight.ask(host, int(port), "get store") == "7"
    process.stdout.close()
    assert process.wait(60) == 0
    assert preflight.reach(["127.0.0.1"], int(port))[1][0]["verdict"] == BAD


def test_a_node_that_is_ended_by_slurm_is_not_bad(tmp_path: Path) -> None:
    shutil.copy(SCRIPT, tmp_path)
    (tmp_path / "attempt-0").mkdir()
    (tmp_path / "attempt-0/preflight-stopped.json").write_text("{}")
    words = [sys.executable, "-I", "-S", str(tmp_path / "preflight.py"), "judge"]
    done = subprocess.run(words, env={"SLURM_JOB_NUM_NODES": "2"}, capture_output=True)
    assert done.returncode == 143
    assert not list((tmp_path / "attempt-0").glob("node-*"))


def test_the_script_looks_at_the_nodes_only_when_it_is_asked_to(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(
        "fabric: {kind: infiniband, hcas: 'mlx5_0,mlx5_1', interfaces: =ib0, bandwidth_gb_s: 300}\n"
    )
    for wanted in (False, True):
        for launcher in ("torchrun", "srun", "none"):
            values = {"site": "./site.yaml", "nodes": 2, "preflight": wanted, "launcher": launcher}
            asked = ask(tmp_path, values)
            taken = resources.resolve(asked.spec, asked.site, recorded())
            text = render.render(asked.spec, taken, asked.site, "/runs/x")[0]
            subprocess.run(["bash", "-n"], input=text.encode(), check=True)
            words = "--gpus=8 --fabric=infiniband --hcas=mlx5_0,mlx5_1 --interfaces=ib0 --bandwidth=300\n"
            assert (words in text) is wanted
            assert ("preflight.py" in text) is wanted


def test_a_record_is_json_that_anybody_can_read(tmp_path: Path) -> None:
    preflight.write_failure(str(tmp_path), {"node": None, "host": "all nodes", "reasons": ["a", "b"]})
    record = json.loads((tmp_path / "node-000.json").read_text())
    assert (record["status"], record["host"], record["asked"]) == (90, "all nodes", False)
    assert (tmp_path / "node-000.log").read_text() == "preflight: a\npreflight: b\n"
