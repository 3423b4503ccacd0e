"""Times, limits, names, programs, secrets and words: what differs between releases, and what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctools.conf.mending import fix
from tests.conf.rules.lines import BEGIN, say

ALL = "PartitionName=main Nodes=ALL"
GPUS = "NodeName=gpu[1-2] CPUs=4 Gres=gpu:4"


@pytest.mark.parametrize(
    ("release", "lines", "severities"),
    [
        ("23.11", ["MessageTimeout=60"], ["warning"]),
        ("24.05", ["MessageTimeout=60"], []),
        ("24.05", ["MessageTimeout=60", "UnkillableStepTimeout=299"], ["error"]),
        ("26.05", ["UnkillableStepTimeout=50"], []),
    ],
)
def test_unkillable_steps_by_release(
    tmp_path: Path, release: str, lines: list[str], severities: list[str]
) -> None:
    found = say(tmp_path, ["unkillable-step-timeout"], *lines, release=release)
    assert [one.severity for one in found] == severities


def test_a_partition_may_have_a_longer_resume_timeout(tmp_path: Path) -> None:
    lines = ("SuspendTime=60", "SuspendProgram=/a", "ResumeProgram=/b", GPUS)
    assert say(tmp_path, ["resume-timeout-short"], *lines, ALL)
    assert not say(tmp_path, ["resume-timeout-short"], *lines, f"{ALL} ResumeTimeout=900")
    assert not say(tmp_path, ["power-save-off"], *lines, ALL)


@pytest.mark.parametrize(
    ("line", "is_found"),
    [
        ("", True),
        ("PropagateResourceLimits=NONE", False),
        ("PropagateResourceLimits=CORE,STACK", False),
        ("PropagateResourceLimits=MEMLOCK", True),
        ("PropagateResourceLimitsExcept=MEMLOCK,NOFILE", False),
        ("PropagateResourceLimitsExcept=ALL", False),
        ("PropagateResourceLimitsExcept=CORE", True),
    ],
)
def test_memlock(tmp_path: Path, line: str, is_found: bool) -> None:
    assert bool(say(tmp_path, ["memlock-propagated"], line, GPUS, ALL)) is is_found


def test_one_machine_has_no_fabric(tmp_path: Path) -> None:
    assert not say(tmp_path, ["memlock-propagated"], "NodeName=gpu1 CPUs=4 Gres=gpu:4", ALL)


def test_the_window_of_backfill_ends_at_30_days(tmp_path: Path) -> None:
    rule = ["backfill-window-short"]
    (found,) = say(tmp_path, rule, GPUS, f"{ALL} MaxTime=90-0")
    assert "bf_window=43200" in found.hint
    assert not say(tmp_path, rule, GPUS, f"{ALL} MaxTime=90-0", "SchedulerParameters=defer,bf_window=43200")
    assert not say(tmp_path, rule, GPUS, f"{ALL} MaxTime=1-0")
    assert not say(tmp_path, rule, GPUS, f"{ALL} MaxTime=90-0", "SchedulerType=sched/builtin")


def test_localhost_is_right_where_all_nodes_are(tmp_path: Path) -> None:
    def found(*lines: str) -> bool:
        return bool(say(tmp_path, ["controller-is-localhost"], "SlurmctldHost=localhost", *lines))

    assert found("NodeName=gpu[1-2]")
    assert not found("NodeName=gpu[1-2] NodeAddr=127.0.0.1 Port=[7001-7002]")
    assert not found("NodeName=mine")
    reached = say(
        tmp_path, ["controller-is-localhost"], "SlurmctldHost=localhost(10.0.0.1)", "NodeName=gpu[1-2]"
    )
    assert not reached


@pytest.mark.parametrize(
    ("nodes", "is_found"),
    [
        ("NodeName=a[1-2] NodeAddr=10.0.0.[1-2]", False),
        ("NodeName=a[1-2] NodeAddr=10.0.0.[1,1]", True),
        ("NodeName=a1 NodeAddr=x\nNodeName=a2 NodeAddr=X", True),
        ("NodeName=a1 NodeAddr=x Port=1\nNodeName=a2 NodeAddr=x Port=2", False),
        ("NodeName=a[1-2] NodeAddr=x,x Port=[1-2]", False),
    ],
)
def test_addresses(tmp_path: Path, nodes: str, is_found: bool) -> None:
    assert bool(say(tmp_path, ["node-address-shared"], nodes)) is is_found


@pytest.mark.parametrize(
    ("release", "line", "is_found"),
    [
        ("22.05", "Prolog=a.sh", True),
        ("23.11", "Prolog=a.sh", False),
        ("23.11", "PrologSlurmctld=a.sh", True),
        ("25.11", "ResumeProgram=up", True),
        ("26.05", "ResumeProgram=up", False),
        ("26.05", "HealthCheckProgram={path}/nhc", False),
    ],
)
def test_relative_paths_by_release(tmp_path: Path, release: str, line: str, is_found: bool) -> None:
    assert bool(say(tmp_path, ["program-path-relative"], line, release=release)) is is_found


def test_folders_below_tmp_only(tmp_path: Path) -> None:
    assert say(tmp_path, ["state-in-tmp"], "StateSaveLocation=/var/tmp//slurm")
    assert not say(tmp_path, ["state-in-tmp"], "StateSaveLocation=/tmpfs/slurm")
    assert say(tmp_path, ["program-in-tmp"], "Epilog=/etc/slurm/e.sh", "Epilog=/tmp/../tmp/e.sh")


def test_a_password_is_taken_out(tmp_path: Path) -> None:
    (tmp_path / "slurm.conf").write_text(f"{BEGIN}AccountingStoragePass=x # of the database\n{GPUS}\n{ALL}\n")
    fixed = fix([str(tmp_path)], release="26.05")
    assert fixed.files[str(tmp_path / "slurm.conf")].decode() == f"{BEGIN}{GPUS}\n{ALL}\n"


@pytest.mark.parametrize(
    ("release", "line", "said"),
    [
        ("23.11", "SlurmctldParameters=enable_configless,enable_stepmgr", "new in 24.05"),
        ("24.05", "SlurmctldParameters=enable_configless,enable_stepmgr", ""),
        ("25.05", "SchedulerParameters=no_env_cache", "gone since 25.05"),
        ("24.11", "SchedulerParameters=no_env_cache,BF_Window=100", ""),
        ("26.05", "SchedulerParameters=rl_enable", "no word of SchedulerParameters"),
        ("26.05", "SlurmdParameters=(null)", ""),
    ],
)
def test_words_by_release(tmp_path: Path, release: str, line: str, said: str) -> None:
    found = say(tmp_path, ["unknown-parameter"], line, release=release)
    assert [said in one.message for one in found] == ([True] if said else [])


def test_a_word_of_another_key_is_sent_there(tmp_path: Path) -> None:
    (found,) = say(tmp_path, ["unknown-parameter"], "SchedulerParameters=rl_enable")
    assert found.hint == "it belongs into SlurmctldParameters"


def test_a_part_of_slurm_conf_misses_nothing(tmp_path: Path) -> None:
    (tmp_path / "nodes.conf").write_text("NodeName=gpu[1-20] CPUs=64 Gres=gpu:8 RealMemory=500000\n")
    lines = (
        "Include nodes.conf",
        "Include elsewhere.conf",
        "AccountingStorageType=accounting_storage/slurmdbd",
    )
    rules = [
        "default-memory-missing",
        "gpu-cpus-missing",
        "gpu-not-accounted",
        "memlock-propagated",
        "memory-not-given-out",
        "priority-fifo",
        "slurmdbd-host-local",
        "time-limit-missing",
        "usage-not-gathered",
    ]
    assert not say(tmp_path, rules, *lines, "PriorityType=priority/multifactor", ALL)
