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
PrologFlags=Alloc,Nonsense
SelectTypeParameters=CR_Nonsense
PriorityWeightTRES=CPU=1,GRES/foo=2
AccountingStorageTRES=gres/gpu
GresTypes=shard
ProctrackType=cgroup
"""
NODES = "NodeName=n[1-4] CPUs=4\n\nNodeName=g[1-4] \\\n  CPUs=8 Foo=1\nNodeName=localmachine[ CPUs=1\n"
TOPOLOGY = "SwitchName=s1 Nodes=n[1-4]\nSwitchName=s2 Nodes=g[1-9]\nSwitchName=s3 Switches=s[1-7]\n"
GRES = """\
Name=gpu Cores=0-3
Name=gpu Cores=4-7
Name=shard Count=8
NodeName=g[1-2] Name=nic Count=4 File=/dev/nic[0-7]
NodeName=g[3-4] Name=nic Count=2 File=/dev/nic[0-7]
NodeName=g[3-4] Name=fpga Count=2
"""
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
        ("fatal: Switch configuration s3 has invalid child (s7)", "topology.conf", 3),
        ("fatal: Invalid node name (g9) in switch config (s2)", "topology.conf", 2),
        ('fatal: Node "g7" specified in topology.conf but slurmctld has no record', "topology.conf", 2),
        ('error: _find_node_record: lookup failure for node "g9"', "topology.conf", 2),
        ("fatal: Switch configuration is not a tree", "topology.conf", 1),
        ("error: WARNING: switches lack access to 2 nodes: x[1-2]", "topology.conf", 1),
        ("error: Invalid PrologFlag: Nonsense", "slurm.conf", 10),
        ("error: PrologFlag Serial is incompatible with RunInJob", "slurm.conf", 10),
        ("error: Bad SelectTypeParameter: CR_Nonsense", "slurm.conf", 11),
        ("error: TRES weight 'GRES:foo' is not a configured TRES type.", "slurm.conf", 12),
        ("fatal: failed to parse tres weights str 'CPU=1,GRES/foo=2'", "slurm.conf", 12),
        ("fatal: GresTypes: gres/'shared' requires that gres/gpu also be configured", "slurm.conf", 14),
        ("error: cannot find proctrack plugin for cgroup", "slurm.conf", 15),
        ('error: gres/fpga lacks "File=" parameter for node g3', "gres.conf", 6),
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


@pytest.mark.parametrize(("node", "line"), [("g1", 4), ("g4", 5)])
def test_what_a_slurmd_says_of_a_gres_stands_at_the_line_for_its_node(
    locator: Locator, node: str, line: int
) -> None:
    log = "slurmd: fatal: Invalid GRES record for nic, count does not match File value\n"
    (found,) = messages.findings(log, f"slurmd-{node}", locator)
    assert (Path(found.file).name, found.line, found.rule) == ("gres.conf", line, "slurmd")


def test_a_switch_of_topology_yaml_is_found(tmp_path: Path) -> None:
    text = "- topology: t\n  tree:\n    switches:\n    - switch: a\n      nodes: n[1-9]\n    - switch: b\n"
    found = Locator(candidate(tmp_path, "26.05", slurm_conf=SLURM, topology_yaml=text), {})
    for message, line in (("fatal: switch b has no nodes", 6), ("fatal: Invalid node (n9) in switch x", 5)):
        (one,) = told(message, found)
        assert (Path(one.file).name, one.line) == ("topology.yaml", line)


def test_a_value_that_stands_twice_is_no_place(tmp_path: Path) -> None:
    text = "ClusterName=c\nSlurmctldHost=ctl\nMailDomain=same\nEpilog=same\n"
    (one,) = told("error: invalid: same\n", Locator(candidate(tmp_path, slurm_conf=text), {}))
    assert one.line == 1


@pytest.mark.parametrize(
    "quoted", ["StoragePass=s3cret", 'JobCompPass="s3cret s3cret"', "AuthInfo=key=s3cret"]
)
def test_a_line_that_is_quoted_is_without_its_secrets(locator: Locator, quoted: str) -> None:
    log = f"slurmctld: error: Parse error in file /sandbox/etc/slurm.conf line 2: {quoted} oops\n"
    (one,) = told(log, locator)
    assert "s3cret" not in str(one)
    assert one.message.endswith("=(hidden) oops")


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
        "error: slurm_send_node_msg: [s:[1]] slurm_bufs_sendto(msg_type=RESPONSE_PARTITION_INFO) failed: "
        "Unexpected missing socket error",
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
