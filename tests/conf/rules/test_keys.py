"""What is said of lines that the parser does not take."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctools.conf.judge import lint
from tests.conf.rules.lines import say

NODE = "NodeName=n1 CPUs=4"


@pytest.mark.parametrize("line", ["SlurmUser=", "SlurmUser =  # to be set", "NodeName=n2 State="])
def test_a_key_without_a_value_is_called_that(tmp_path: Path, line: str) -> None:
    (one,) = say(tmp_path, ["unreadable-line"], NODE, line)
    assert one.severity == "fatal"
    assert one.message.endswith(" has no value")


def test_what_is_left_of_a_value_with_spaces_is_shown(tmp_path: Path) -> None:
    (one,) = say(tmp_path, ["unreadable-line"], NODE, "SchedulerParameters=bf_continue, defer")
    assert one.message == "'defer' after SchedulerParameters is no key=value"


def test_a_nodes_key_elsewhere_belongs_into_its_line(tmp_path: Path) -> None:
    found = say(
        tmp_path, ["unknown-key"], NODE, "SlurmctldHost=b CPUs=2", "MaxTime=60", "CgroupMountpoint=/c"
    )
    assert [one.hint for one in found] == [
        "it belongs into a NodeName line",
        "it belongs into a PartitionName line",
        "it belongs into cgroup.conf",
    ]


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("DefMemPerCPU=1GB", "megabytes, without a unit"),
        ("MaxJobCount=many", "digits only"),
        ("TrackWCKey=maybe", "yes or no"),
    ],
)
def test_a_value_of_the_wrong_type_has_a_hint(tmp_path: Path, line: str, hint: str) -> None:
    assert [one.hint for one in say(tmp_path, ["value-type"], NODE, line)] == [hint]


def test_nodes_that_are_not_there_are_one_problem_a_list(tmp_path: Path) -> None:
    (one,) = say(tmp_path, ["partition-nodes"], NODE, "PartitionName=p Nodes=n[1-9] Default=YES")
    assert one.message == "there is no node n2, n3, n4 (and 5 more)"


def test_a_word_that_is_gone_is_gone_since_a_release(tmp_path: Path) -> None:
    (one,) = say(tmp_path, ["unknown-parameter"], NODE, "SchedulerParameters=no_env_cache")
    assert "is gone since 25.05" in one.message


def test_a_byte_order_mark_is_named(tmp_path: Path) -> None:
    path = tmp_path / "slurm.conf"
    path.write_bytes(b"\xef\xbb\xbfClusterName=alpha\nSlurmctldHost=head\n")
    (found,) = [one for one in lint([str(path)], release="24.11") if one.rule == "unreadable-line"]
    assert found.hint == "remove the byte order mark at its beginning"


def test_a_file_that_includes_itself_is_not_said_to_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "slurm.conf"
    path.write_text("ClusterName=alpha\nSlurmctldHost=head\nInclude slurm.conf\n")
    (found,) = [one for one in lint([str(tmp_path)], release="24.11") if one.rule == "include-missing"]
    assert (found.severity, found.hint) == ("fatal", "remove the line, or name another file")
