"""What slurmctld refuses in slurm.conf alone: cases that the pages and the recorded answers leave out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpctools.conf.finding import Finding
from hpctools.conf.host_lists import count, why_refused
from hpctools.conf.judge import lint
from hpctools.conf.load import candidates
from hpctools.conf.rules.geometry import sizes_of
from hpctools.conf.rules.plugins import gone_since
from hpctools.conf.rules.times import is_time
from hpctools.errors import ParseError
from hpctools.slurm import conf_text, hostlist, units
from hpctools.slurm.releases import RELEASES

HEAD = "ClusterName=c\nSlurmctldHost=h\n"
NODES = "NodeName=n[1-2] CPUs=4\n"
PARTITION = "PartitionName=p Nodes=ALL Default=YES\n"


def found(folder: Path, text: str, rule: str, release: str = "26.05") -> list[Finding]:
    file = folder / "slurm.conf"
    file.write_text(text)
    return [one for one in lint([str(file)], release=release) if one.rule == rule]


def mended(text: str, findings: Sequence[Finding]) -> str:
    return conf_text.apply(text, [edit for one in findings for edit in one.edits])


@pytest.mark.parametrize(
    ("line", "rule", "right"),
    [
        ("SelectType=select/cons_res", "removed-plugin", "SelectType=select/cons_tres"),
        ("SchedulerType=Backfill", "unknown-plugin", "SchedulerType=sched/backfill"),
        ("FastSchedule=2", "removed-option", "SlurmdParameters=config_overrides"),
        ("AccountingStoreJobComment=YES", "removed-option", "AccountingStoreFlags=job_comment"),
        ("SchedulerParameters=a,max_job_bf=5", "removed-option", "SchedulerParameters=a,bf_max_job_test=5"),
        ("SbcastParameters=Compression=lz4", "obsolete-option", "BcastParameters=Compression=lz4"),
    ],
)
def test_what_can_be_mended_safely_is(tmp_path: Path, line: str, rule: str, right: str) -> None:
    text = f"{HEAD}{line} # as ever\n{NODES}{PARTITION}"
    assert mended(text, found(tmp_path, text, rule)) == f"{HEAD}{right} # as ever\n{NODES}{PARTITION}"


def test_a_removed_option_joins_the_flags_that_are_there(tmp_path: Path) -> None:
    text = f"{HEAD}AccountingStoreFlags=job_env\nAccountingStoreJobComment=yes\n{NODES}{PARTITION}"
    mend = mended(text, found(tmp_path, text, "removed-option"))
    assert mend == f"{HEAD}AccountingStoreFlags=job_env,job_comment\n{NODES}{PARTITION}"


def test_a_fast_schedule_beside_other_parameters_is_left_to_its_owner(tmp_path: Path) -> None:
    text = f"{HEAD}SlurmdParameters=l3cache_as_socket\nFastSchedule=2\n{NODES}{PARTITION}"
    assert [one.edits for one in found(tmp_path, text, "removed-option")] == [()]


def test_a_node_in_two_lines_is_said_with_the_place_of_the_other(tmp_path: Path) -> None:
    (one,) = found(tmp_path, f"{HEAD}{NODES}NodeName=n[2-3] CPUs=4\n{PARTITION}", "duplicate-node")
    assert "n2 already stands in " in one.message
    assert one.message.endswith(":3")
    assert one.line == 4


def test_where_an_include_is_missing_nodes_may_stand_there(tmp_path: Path) -> None:
    text = f"{HEAD}Include nodes.conf\nPartitionName=p Nodes=elsewhere[1-9] Default=YES\n"
    for rule in ("partition-nodes", "no-nodes"):
        assert not found(tmp_path, text, rule, "22.05")
    assert found(tmp_path, text.replace("Include nodes.conf\n", NODES), "partition-nodes")


def test_a_part_of_slurm_conf_misses_nothing(tmp_path: Path) -> None:
    file = tmp_path / "nodes.conf"
    file.write_text(NODES)
    assert not [one for one in lint([str(file)], release="22.05") if one.severity == "fatal"]


def test_a_value_of_a_default_line_is_said_once(tmp_path: Path) -> None:
    text = f"{HEAD}NodeName=DEFAULT State=UP\nNodeName=a\nNodeName=b\n{PARTITION}"
    (one,) = found(tmp_path, text, "node-state")
    assert one.line == 3


def test_a_list_that_only_slurm_reads_is_not_called_unknown(tmp_path: Path) -> None:
    # Slurm takes [1-] for 1.
    text = f"{HEAD}NodeName=n[1-] CPUs=4\nPartitionName=p Nodes=n1 Default=YES\n"
    assert not [one for one in lint([_file(tmp_path, text)], release="26.05") if one.severity == "fatal"]


@pytest.mark.parametrize(
    ("release", "severity"),
    [("22.05", "warning"), ("23.02", "warning"), ("23.11", "error"), ("24.05", "fatal")],
)
def test_linear_with_a_tree_grew_from_a_warning_to_a_refusal(
    tmp_path: Path, release: str, severity: str
) -> None:
    text = f"{HEAD}SelectType=select/linear\nTopologyPlugin=topology/tree\n{NODES}{PARTITION}"
    assert [one.severity for one in found(tmp_path, text, "linear-with-tree", release)] == [severity]


@pytest.mark.parametrize(
    ("line", "sockets", "cpus"),
    [
        ("CPUs=16 CoresPerSocket=4 ThreadsPerCore=2", 2, 16),
        ("Boards=2 SocketsPerBoard=2 CoresPerSocket=3", 4, 12),
        ("Procs=8", 8, 8),
        ("Sockets=2 CoresPerSocket=4", 2, 8),
        ("CPUs=3 CoresPerSocket=2", 1, 3),
        ("Boards=2", 2, 2),
    ],
)
def test_a_nodes_sockets_are_inferred_as_slurm_does(
    tmp_path: Path, line: str, sockets: int, cpus: int
) -> None:
    text = f"{HEAD}NodeName=n {line}\n{PARTITION}"
    (candidate,) = candidates([_file(tmp_path, text)], "26.05")
    assert candidate.slurm
    sizes = sizes_of(candidate.slurm.nodes[0])
    assert sizes
    assert (sizes.sockets, sizes.cpus) == (sockets, cpus)


def test_what_is_gone_is_gone_since_the_next_release_that_can_be_asked_for() -> None:
    assert gone_since("23.02") == "23.11"
    assert gone_since("20.11") == "22.05"


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=5))
def test_a_list_that_hostlist_expands_is_refused_by_no_release_for_its_ranges(
    pairs: list[tuple[int, int]],
) -> None:
    text = f"n[{','.join(f'{min(pair)}-{max(pair)}' for pair in pairs)}]"
    assert [why_refused(text, release) for release in RELEASES] == [""] * len(RELEASES)
    assert count(text) == len(hostlist.expand(text))


@given(st.text(alphabet="n[]1290-,x ab", max_size=12))
def test_any_list_is_judged_and_what_can_be_expanded_is_taken(text: str) -> None:
    try:
        hostlist.expand(text)
    except ParseError:
        assert isinstance(why_refused(text, "22.05"), str)
    else:
        assert not why_refused(text, "26.05")


@given(st.integers(0, 10**7))
def test_every_duration_that_slurm_prints_it_reads(seconds: int) -> None:
    assert is_time(units.format_duration(seconds))


@pytest.mark.parametrize("text", ["", "7d", "NONE", "1:2:3:4", "1-2-3", ":30", "1:", "-", "1.5", "1-2:", "é"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    assert not is_time(text)


def _file(folder: Path, text: str) -> str:
    file = folder / "slurm.conf"
    file.write_text(text)
    return str(file)
