"""The commands of hpctools/slurm, asked of the real cluster and read."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from hpctools import process
from hpctools.slurm import hostlist, sacct, sacctmgr, sbatch, scontrol, sinfo, squeue, why

NAMES = (
    "n1", "n1,n2,n3", "n09,n10,n11", "n9,n10", "n099,n100", "n3,n1,n2", "n1,login,n2", "a1b2,a1b3,a2b2",
    "n1-ib,n2-ib", "n1.x,n2.x", "a1b2c3,a1b2c4", "10,11,12", "n1,n1,n2", "n09,n9,n10", "n0,n00,n000",
    "n7,n008,n9",
)  # fmt: skip
LISTS = (
    "n[1-3]", "n[001-010,7]", "n[9-11]", "a[1-2]b[3-4]", "a[1-2][3-4]", "[1-3]", "n[3,1,1]", "a,,b",
    "n[00-1]", "n[8-010]", "n1,m[2-3],login", "a[1-2]b[1-3]c[1-2]", "a[1,3-4]b[2,1]c[1,5]d[01-02]",
)  # fmt: skip
# Read since 23.11.
SUFFIXED_LISTS = ("n[1-3]b", "n[1-2]-ib,n3", "n[1-2]b[3-4]c", "n[1-2]3", "a[1-2]b[1-3]c[1-2].x.y")
NO_LISTS = ("n[]", "n[1,]", "n[x]", "n[3-1]", "n[1-2-3]", "n[1-70000]", "n[-2]")


def ask(words: Sequence[str], env: Mapping[str, str]) -> process.Completed:
    """Run one of our commands as hpctools does."""
    return process.run(words, env={**env, **squeue.ENV}, timeout_s=60)


def release(env: Mapping[str, str]) -> tuple[int, int]:
    """The release of Slurm at hand: (22, 5)."""
    major, minor = ask(["sinfo", "--version"], env).check().split()[-1].split(".")[:2]
    return int(major), int(minor)


@pytest.mark.needs_slurm
@pytest.mark.parametrize("names", NAMES)
def test_slurm_folds_a_list_of_nodes_as_we_do(slurm_env: Mapping[str, str], names: str) -> None:
    folded = ask(["scontrol", "show", "hostlist", names], slurm_env).check().strip()
    assert hostlist.fold(names.split(",")) == folded


@pytest.mark.needs_slurm
@pytest.mark.parametrize("text", LISTS)
def test_slurm_expands_a_list_of_nodes_as_we_do(slurm_env: Mapping[str, str], text: str) -> None:
    assert hostlist.expand(text) == ask(["scontrol", "show", "hostnames", text], slurm_env).check().split()


@pytest.mark.needs_slurm
@pytest.mark.parametrize("text", SUFFIXED_LISTS)
def test_text_behind_the_last_bracket_is_read_as_slurm_since_23_11_does(
    slurm_env: Mapping[str, str], text: str
) -> None:
    said = ask(["scontrol", "show", "hostnames", text], slurm_env)
    if release(slurm_env) < (23, 11):
        assert "Invalid hostlist" in said.stderr
    else:
        assert hostlist.expand(text) == said.check().split()


@pytest.mark.needs_slurm
@pytest.mark.parametrize("text", NO_LISTS)
def test_slurm_refuses_what_we_refuse(slurm_env: Mapping[str, str], text: str) -> None:
    with pytest.raises(Exception, match="not a list of node names"):
        hostlist.expand(text)
    assert "Invalid hostlist" in ask(["scontrol", "show", "hostnames", text], slurm_env).stderr


@pytest.mark.needs_slurm
def test_the_facts_of_the_cluster_agree_with_each_other(slurm_env: Mapping[str, str]) -> None:
    groups = sinfo.parse(ask(sinfo.command(), slurm_env).check())
    partitions = scontrol.parse_partitions(ask(scontrol.partitions_command(), slurm_env).check())
    nodes = scontrol.parse_nodes(ask(scontrol.node_command(), slurm_env).check())
    for partition in partitions:
        of_it = [group for group in groups if group.partition == partition.name]
        assert sum(group.nodes for group in of_it) == partition.nodes
        assert {group.max_time_s for group in of_it} == {partition.max_time_s}
        assert {group.default_time_s for group in of_it} == {partition.default_time_s}
        assert {group.is_default for group in of_it} == {partition.is_default}
        members = set(hostlist.expand(partition.node_list))
        assert members == {name for group in of_it for name in hostlist.expand(group.node_list)}
        assert members == {node.name for node in nodes if partition.name in node.partitions}
    assert {node.gres for node in nodes} == {group.gres for group in groups}


@pytest.mark.needs_slurm
def test_slurmctld_answers_and_tells_its_configuration(slurm_env: Mapping[str, str]) -> None:
    assert [one.up for one in scontrol.parse_ping(ask(scontrol.ping_command(), slurm_env).check())] == [True]
    config = scontrol.parse_config(ask(scontrol.config_command(), slurm_env).check())
    version = ask(["sinfo", "--version"], slurm_env).check().split()[-1]
    assert config["SLURM_VERSION"] == version


@pytest.mark.needs_slurm
def test_three_commands_say_the_same_of_a_job(slurm_env: Mapping[str, str], tmp_path: Path) -> None:
    script = tmp_path / "job.sbatch"
    lines = [
        sbatch.directive("hold", None),
        sbatch.directive("gpus-per-node", "2"),
        sbatch.directive("nodes", "2"),
    ]
    lines += [
        sbatch.directive("output", str(tmp_path / "a b #c.out")),
        sbatch.directive("time", "1-02:03:04"),
    ]
    script.write_text("\n".join(["#!/bin/bash", *lines, "true\n"]))
    job = sbatch.parse(process.run(sbatch.command(str(script)), env=slurm_env, cwd=tmp_path).check()).job_id
    try:
        (queued,) = squeue.parse(ask(squeue.command(job_ids=(job,)), slurm_env).check())
        shown = scontrol.parse_job(ask(scontrol.job_command(job), slurm_env).check())
        (start,) = squeue.parse_start(ask(squeue.start_command(job), slurm_env).check())
        mine = squeue.parse(ask(squeue.command(me=True), slurm_env).check())
    finally:
        process.run(["scancel", job], env=slurm_env)
    # sbatch rounds a time limit up to whole minutes.
    assert queued.time_limit_s == 86400 + 2 * 3600 + 4 * 60
    assert queued.stdout == shown["StdOut"] == str(tmp_path / "a b #c.out")
    assert (queued.state, queued.reason) == (shown["JobState"], shown["Reason"]) == ("PENDING", "JobHeldUser")
    assert (queued.nodes, queued.work_dir, queued.tres["gres/gpu"]) == (2, shown["WorkDir"], 4)
    assert (start.job_id, start.reason, start.start_s) == (job, "JobHeldUser", None)
    assert job in {one.job_id for one in mine}


@pytest.mark.needs_slurm
def test_accounting_and_rights_are_read(slurm_env: Mapping[str, str]) -> None:
    fields = sacct.fields(release(slurm_env))
    sacct.parse(ask(sacct.command(start="now-1day", fields=fields), slurm_env).check())
    user = process.run(["id", "-un"]).check().strip()
    rights = sacctmgr.parse_associations(ask(sacctmgr.associations_command(user), slurm_env).check())
    assert all(one.user == user for one in rights)


@pytest.mark.needs_slurm
def test_a_single_unknown_job_is_the_error_that_we_know(slurm_env: Mapping[str, str]) -> None:
    said = ask(squeue.command(job_ids=("999999999",)), slurm_env)
    assert said.status == 1
    assert squeue.UNKNOWN_JOB in said.stderr
    assert squeue.parse(ask(squeue.command(job_ids=("999999998", "999999999")), slurm_env).check()) == ()


def wait_for_accounting(
    job: str, state: str, env: Mapping[str, str], parts: int = 1
) -> list[sacct.AccountedJob]:
    """What accounting says of a job once all parts of it are in this state."""
    words = sacct.command(job_ids=(job,), fields=sacct.fields(release(env)))
    until = time.monotonic() + 180
    while time.monotonic() < until:
        found = sacct.parse(process.run(words, env={**env, **sacct.ENV}, timeout_s=60).check())
        if [one.state for one in found] == [state] * parts:
            return list(found)
        time.sleep(0.3)
    raise AssertionError(f"job {job} is not {state}")


@pytest.mark.needs_slurm
def test_the_parts_of_a_heterogeneous_job_that_ran_are_numbered(
    slurm_env: Mapping[str, str], tmp_path: Path
) -> None:
    script = tmp_path / "job.sbatch"
    script.write_text("#!/bin/bash\nexit 3\n")
    words = sbatch.command(str(script))
    options = ["--nodes=1", "--time=1", ":", "--nodes=2", "--time=1"]
    job = sbatch.parse(process.run([*words[:-1], *options, words[-1]], env=slurm_env, cwd=tmp_path).check())
    try:
        parts = wait_for_accounting(job.job_id, "FAILED", slurm_env, parts=2)
    finally:
        process.run(["scancel", job.job_id], env=slurm_env)
    assert [(part.het_offset, part.nodes, part.exit_status) for part in parts] == [(0, 1, 3), (1, 2, 3)]
    assert {part.het_job_id for part in parts} == {job.job_id}
    assert len({part.job_id for part in parts}) == 2


@pytest.mark.needs_slurm
def test_the_log_that_slurm_tells_of_is_where_the_job_wrote(
    slurm_env: Mapping[str, str], tmp_path: Path
) -> None:
    script = tmp_path / "job.sbatch"
    script.write_text("#!/bin/bash\nkill -KILL $$\n")
    job = sbatch.parse(process.run(sbatch.command(str(script)), env=slurm_env, cwd=tmp_path).check()).job_id
    (accounted,) = wait_for_accounting(job, "FAILED", slurm_env)
    (queued,) = squeue.parse(ask(squeue.command(job_ids=(job,)), slurm_env).check())
    shown = scontrol.parse_job(ask(scontrol.job_command(job), slurm_env).check())
    assert shown["StdOut"] == str(tmp_path / f"slurm-{job}.out")
    assert Path(shown["StdOut"]).is_file()
    assert queued.stdout.replace("%j", job) == shown["StdOut"]
    # Accounting tells it since 24.05.
    told = accounted.stdout
    assert (told is None) == (release(slurm_env) < (24, 5))
    assert told is None or told.replace("%j", job) == shown["StdOut"]
    assert (accounted.exit_signal, queued.state) == (9, "FAILED")
    assert "ignal" in why.explain(queued.reason)
