"""What a preempted job gets, and the warning when its checkpoint takes longer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hpctools.errors import ParseError
from hpctools.jobs import grace
from hpctools.jobs.facts import Facts
from hpctools.jobs.grace import Checkpoint, Grace
from hpctools.process import Completed
from hpctools.slurm import sacctmgr
from tests.jobs import jobs_of

_LINE = "PartitionName={} PriorityTier={} GraceTime={} PreemptMode={} Nodes={} TRES=(null)\n"
QOS = "normal|00:02:00|\nlow||\nhigh|00:00:30|normal,low\n"


def cluster(grace_s: int = 60, mode: str = "REQUEUE", nodes: str = "n[1-4]") -> Facts:
    lines = _LINE.format("low", 1, grace_s, mode, "n[1-4]") + _LINE.format("high", 9, 0, mode, nodes)
    return jobs_of.facts("", lines)


def given(kind: str, facts: Facts, qos: str = "") -> Grace | None:
    config = {"PreemptType": kind, "KillWait": "30 sec"}
    return grace.grace(config, "low", facts, sacctmgr.parse_qos(QOS), qos)


def test_a_partitions_grace_counts_when_partitions_preempt() -> None:
    assert given("preempt/partition_prio", cluster()) == Grace(60, "partition low")


def test_a_qos_grace_counts_when_qos_preempt_and_the_partitions_does_not() -> None:
    assert given("preempt/qos", cluster(), "normal") == Grace(120, "QOS normal")


def test_without_grace_there_is_killwait() -> None:
    assert given("preempt/qos", cluster(), "low") == Grace(30, "QOS low", "KillWait; GraceTime is 0")
    assert given("preempt/partition_prio", cluster(0)) == Grace(
        30, "partition low", "KillWait; GraceTime is 0"
    )


@pytest.mark.parametrize(
    ("kind", "facts", "qos"),
    [
        ("(null)", cluster(), ""),
        ("preempt/none", cluster(), "normal"),
        ("preempt/partition_prio", cluster(mode="OFF"), ""),
        ("preempt/partition_prio", cluster(nodes="m[1-4]"), ""),  # a higher tier with nodes of its own
        ("preempt/qos", cluster(), "high"),  # nobody preempts it
        ("preempt/qos", cluster(), "unknown"),
    ],
)
def test_what_is_never_preempted_needs_no_grace(kind: str, facts: Facts, qos: str) -> None:
    assert given(kind, facts, qos) is None


def test_a_line_that_is_no_qos_is_refused() -> None:
    with pytest.raises(ParseError):
        sacctmgr.parse_qos("normal|00:02:00\n")


def answers(argv: Sequence[str], **_: Any) -> Completed:
    text = "PreemptType             = preempt/partition_prio\nKillWait                = 30 sec\n"
    return Completed(tuple(argv), 0, "Configuration data as of 2026-11-21T19:00:00\n" + text, "")


@pytest.mark.parametrize(("seconds", "warned"), [(60, False), (61, True)])
def test_a_longer_checkpoint_is_warned_of(tmp_path: Path, seconds: int, warned: bool) -> None:
    asked = jobs_of.ask(tmp_path, {"partition": "low", "checkpoint_time": seconds})
    found = grace.problems(asked.spec, grace.checkpoint(asked.spec), cluster(), answers)
    assert bool(found) is warned
    if found:
        assert "takes 61 s, but partition low gives a preempted job 60 s (GraceTime)" in str(found[0])


def test_what_is_not_known_is_not_asked_for(tmp_path: Path) -> None:
    def never(argv: Sequence[str], **_: Any) -> Completed:
        raise AssertionError(argv)

    asked = jobs_of.ask(tmp_path, {"partition": "low"})
    assert grace.checkpoint(asked.spec) is None
    assert grace.problems(asked.spec, None, cluster(), never) == ()


def measured(runs: Path, name: str, seconds: float) -> None:
    folder = runs / name / "attempt-0"
    folder.mkdir(parents=True)
    result = {"status": 0, "state": "finished", "checkpoint": {"step": 9, "seconds": seconds}}
    (folder / "result.json").write_text(json.dumps(result))


def test_the_newest_run_of_the_same_name_tells_how_long_saving_takes(tmp_path: Path) -> None:
    asked = jobs_of.ask(tmp_path, {"runs_dir": str(tmp_path / "runs")})
    measured(tmp_path / "runs", "train-20261121T100000Z-aaaaaa", 50)
    measured(tmp_path / "runs", "train-20261120T100000Z-bbbbbb", 90)
    measured(tmp_path / "runs", "train-big-20261122T100000Z-cccccc", 900)
    assert grace.checkpoint(asked.spec) == Checkpoint(50, "the checkpoint of train-20261121T100000Z-aaaaaa")
    asked = jobs_of.ask(tmp_path, {"runs_dir": str(tmp_path / "runs"), "checkpoint_time": 7})
    assert grace.checkpoint(asked.spec) == Checkpoint(7, "checkpoint_time=")
