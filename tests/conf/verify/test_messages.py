"""What daemons log stands at the candidate's own lines. The messages are real ones, of 22.05 to 26.05."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpctools.conf.finding import Finding
from hpctools.conf.verify import messages
from hpctools.conf.verify.messages import Locator
from tests.conf.verify.grounds import candidate

SLURM = """\
ClusterName=c
SlurmctldHost=ctl
SelectType=select/cons_res
TopologyPlugin=topology/tree
AccountingStoreJobComment=YES
Include nodes.conf
Include absent.conf
PartitionName=cpu Nodes=n[1-4]
PartitionName=gpu Nodes=g[1-4] AllowQOS=high MaxTime=1:00:00
"""
NODES = "NodeName=n[1-4] CPUs=4\n\nNodeName=g[1-4] \\\n  CPUs=8 Foo=1\nNodeName=localmachine[ CPUs=1\n"
TOPOLOGY = "SwitchName=s1 Nodes=n[1-4]\nSwitchName=s2 Nodes=g[1-9]\n"
GRES = "Name=gpu Cores=0-3\nName=gpu Cores=4-7\nName=shard Count=8\n"
NO_FILE = "No such file or directory, retrying in 1sec up to 60sec"


@pytest.fixture
def locator(tmp_path: Path) -> Locator:
    (tmp_path / "nodes.conf").write_text(NODES)
    found = candidate(tmp_path, slurm_conf=SLURM, topology_conf=TOPOLOGY, gres_conf=GRES)
    names = ("slurm.conf", "nodes.conf", "topology.conf", "gres.conf")
    origin = {f"/sandbox/etc/{name}": str(tmp_path / name) for name in names}
    return Locator(found, {**origin, "/sandbox/etc": str(tmp_path)})


def told(log: str, locator: Locator) -> list[Finding]:
    return messages.findings(log, "slurmctld", locator)


@pytest.mark.parametrize(
    ("message", "file", "line"),
    [
        ('error: Parse error in file /sandbox/etc/nodes.conf line 3: "Foo 1"', "nodes.conf", 3),
        ("error: _parse_next_key: Parsing error at unrecognized key: Foo", "nodes.conf", 4),
        ("fatal: Can't find plugin for select/cons_res", "slurm.conf", 3),
        ("fatal: failed to initialize node selection plugin", "slurm.conf", 3),
        ("fatal: Failed to initialize topology plugin", "slurm.conf", 4),
        ("fatal: The AccountingStoreJobComment option has been removed, please use x", "slurm.conf", 5),
        ("fatal: Invalid node names in partition cpu", "slurm.conf", 8),
        ("fatal: Partition gpu has an invalid AllowQOS (high), please check", "slurm.conf", 9),
        ("error: NodeNames=n[1-4] CPUs=4 match no Sockets", "nodes.conf", 1),
        ("fatal: NodeName=g2 CPUs=1 doesn't match neither Sockets(1)", "nodes.conf", 3),
        ("fatal: Unable to create NodeName list from localmachine[", "nodes.conf", 5),
        ("error: switch s2 has invalid node", "topology.conf", 2),
        ("error: Invalid GRES data for gpu, Cores=[4-7]", "gres.conf", 2),
        ('error: SHARING configuration lacks "File" specification', "gres.conf", 3),
        (f"error: s_p_parse_file: cannot stat file /sandbox/etc/absent.conf: {NO_FILE}", "slurm.conf", 7),
        (f"error: s_p_parse_file: cannot stat file /sandbox/etc/topology.conf: {NO_FILE}", "slurm.conf", 4),
        ("error: nothing that any line says", "slurm.conf", 1),
    ],
)
def test_a_message_stands_where_its_cause_is(locator: Locator, message: str, file: str, line: int) -> None:
    for log in (f"slurmctld: {message}\n", f"[2026-11-21T17:48:32.197] {message}\n"):
        (found,) = told(log, locator)
        assert (Path(found.file).name, found.line) == (file, line)
        assert found.severity == message.partition(":")[0]


def test_paths_are_the_candidates_own(locator: Locator, tmp_path: Path) -> None:
    (found,) = told(f"slurmctld: error: cannot stat file /sandbox/etc/absent.conf: {NO_FILE}\n", locator)
    assert f"{tmp_path}/absent.conf" in found.message
    assert "60 s" in found.hint


def test_why_a_file_is_refused_is_fatal_and_said_once(locator: Locator) -> None:
    log = """\
slurmctld: error: _parse_next_key: Parsing error at unrecognized key: Foo
slurmctld: error: something else
slurmctld: error: Parse error in file /sandbox/etc/nodes.conf line 4: " Foo=1 NodeAddr=239.0.0.[0-3]"
slurmctld: fatal: Unable to process configuration file
"""
    found = {(one.severity, one.message) for one in told(log, locator)}
    assert found == {
        ("fatal", "_parse_next_key: Parsing error at unrecognized key: Foo"),
        ("error", "something else"),
    }


def test_a_file_beside_slurm_conf_that_is_refused_is_told_by_its_reason(locator: Locator) -> None:
    log = """\
slurmctld: error: _parse_next_key: Parsing error at unrecognized key: Cores
slurmctld: fatal: Could not open/read/parse cgroup.conf file /sandbox/etc/cgroup.conf
"""
    (found,) = told(log, locator)
    assert (found.severity, Path(found.file).name) == ("fatal", "gres.conf")


def test_what_was_added_to_a_line_is_not_shown(locator: Locator) -> None:
    quoted = '"oops NodeAddr=239.0.0.[0-3]"'
    log = f"slurmctld: error: Parse error in file /sandbox/etc/nodes.conf line 1: {quoted}\n"
    (found,) = told(log, locator)
    assert found.message.endswith('line 1: "oops"')


def test_the_same_about_many_nodes_is_one_problem(locator: Locator) -> None:
    log = "".join(f"slurmctld: error: Cannot use AutoDetect on cloud node g{n}\n" for n in range(1, 5))
    (found,) = told(log, locator)
    assert found.message.endswith("g1 (and 3 more such messages)")


@pytest.mark.parametrize(
    "line",
    [
        "slurmctld: error:  mpi/pmix_v4: init: (null) [0]: mpi_pmix.c:195: can not load PMIx library",
        "error: cannot create http_parser context for http_parser/libhttp_parser, http_parser/llhttp_parser",
        "[2026-11-21T17:48:32.197] error: Could not open node state file /x/n: No such file or directory",
        "slurmctld: error: NOTE: Trying backup state save file. Jobs may be lost!",
        "slurmctld: No memory enforcing mechanism configured.",
    ],
)
def test_the_noise_of_the_platform_is_not_the_candidates(line: str) -> None:
    assert list(messages.read(line)) == []


def test_a_file_that_is_waited_for_is_no_noise() -> None:
    path = "/home/me/.local/state/hpctools/etc/nodes.conf"
    line = f"slurmctld: error: s_p_parse_file: cannot stat file {path}: {NO_FILE}"
    assert len(list(messages.read(line))) == 1


def test_the_last_line_of_a_log_is_without_its_time() -> None:
    assert messages.last("slurmctld: one\n[2026-11-21T17:48:32.197] two: three\n") == "two: three"
    assert messages.last("") == ""


@given(st.text(max_size=400))
def test_any_log_can_be_read(text: str) -> None:
    messages.last(text)
    assert all(severity in ("fatal", "error", "warning") for severity, _ in messages.read(text))
