"""The doctor's judgments, and that it never hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from hpctools import doctor, process
from hpctools.doctor import machine, slurm
from hpctools.doctor.check import OK, PROBLEM, WARNING, Answer, Check, ask, at_once
from hpctools.slurm import scontrol, sinfo

RECORDED = Path(__file__).resolve().parent.parent / "recorded" / "22.05"
VERSION = Answer("slurm-wlm 22.05.8\n")


def config(**changes: str) -> Mapping[str, str]:
    return {**scontrol.parse_config((RECORDED / "scontrol-config.txt").read_text()), **changes}


def groups(**changes: object) -> list[sinfo.NodeGroup]:
    found = sinfo.parse((RECORDED / "sinfo.txt").read_text())
    return [replace(group, **changes) for group in found]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("version", "verdict"),
    [
        (VERSION, OK),
        (Answer("slurm 26.05.1"), OK),
        (Answer("slurm 20.11.9"), WARNING),
        (Answer(error="sbatch: cannot be run: No such file or directory"), PROBLEM),
        (Answer(error="sbatch: fatal: Could not establish a configuration source"), OK),
    ],
)
def test_slurm_s_commands_are_judged_by_their_release(version: Answer, verdict: str) -> None:
    assert slurm.commands(version).verdict == verdict


def test_slurm_conf_is_found_or_what_to_do_is_said(tmp_path: Path) -> None:
    conf = tmp_path / "slurm.conf"
    assert slurm.conf({"SLURM_CONF": str(conf)}, {}).verdict == PROBLEM
    conf.touch()
    assert slurm.conf({"SLURM_CONF": str(conf)}, {}).verdict == OK
    assert slurm.conf({}, {"SLURM_CONF": "/run/slurm/conf/slurm.conf"}).verdict == OK


def test_the_controller_answers_is_down_or_is_older_than_the_commands() -> None:
    up = Answer((RECORDED / "scontrol-ping.txt").read_text())
    assert slurm.controller(up, config(), VERSION).verdict == OK
    down = slurm.controller(Answer(up.text.replace(" UP", " DOWN")), {}, VERSION)
    assert (down.verdict, "sandbox up" in down.advice) == (PROBLEM, True)
    assert slurm.controller(up, config(), Answer("slurm 24.05.1")).verdict == PROBLEM
    backup = Answer(up.text + "Slurmctld(backup) at login2 is DOWN\n")
    assert slurm.controller(backup, config(), VERSION).verdict == WARNING
    assert slurm.controller(up, {}, VERSION).verdict == PROBLEM


def test_munge_is_judged_by_a_credential_made_and_read() -> None:
    assert slurm.munge(config(), Answer("MUNGE:AwQ="), Answer("STATUS: Success (0)")).verdict == OK
    broken = slurm.munge(config(), Answer(error="munge: Error: Failed to access socket"), Answer())
    assert (broken.verdict, "munged" in broken.advice) == (PROBLEM, True)
    assert slurm.munge(config(AuthType="auth/slurm"), Answer(error="no"), Answer()).verdict == OK


@pytest.mark.parametrize(
    ("settings", "text", "socket"),
    [
        ({"AuthInfo": "socket=/run/m.sock,ttl=60"}, "", "/run/m.sock"),
        ({"AuthInfo": "(null)"}, "AuthInfo=socket=/not/this", None),
        ({}, "ClusterName=a\nauthinfo = socket=/run/x.sock\n", "/run/x.sock"),
        ({}, "#AuthInfo=socket=/run/x.sock\n", None),
    ],
)
def test_munge_is_asked_at_the_socket_that_slurm_uses(
    settings: Mapping[str, str], text: str, socket: str | None
) -> None:
    assert slurm.munge_socket(settings, text) == socket


def test_accounting_is_there_missing_away_or_closed_to_the_user() -> None:
    mine = Answer("research\nroot\n")
    assert slurm.accounting(config(), mine, "ada").verdict == OK
    assert slurm.accounting(config(), Answer(), "ada").verdict == PROBLEM
    free = config(AccountingStorageEnforce="none")
    assert slurm.accounting(free, Answer(), "ada").verdict == WARNING
    assert slurm.accounting(config(), Answer(error="Connection refused"), "ada").verdict == WARNING
    none = config(AccountingStorageType="accounting_storage/none")
    assert slurm.accounting(none, Answer(), "ada").verdict == WARNING


def test_nodes_take_jobs_in_all_in_some_or_in_no_partition() -> None:
    assert slurm.nodes(groups()).verdict == OK
    assert slurm.nodes(groups(state="down")).verdict == PROBLEM
    assert slurm.nodes(groups(mark="*")).verdict == PROBLEM
    assert slurm.nodes([*groups(), *groups(partition="broken", state="drained")]).verdict == WARNING
    assert slurm.nodes([]).verdict == PROBLEM


def test_gpus_are_known_and_tracked() -> None:
    assert slurm.gpus(config(), groups()).verdict == OK
    assert slurm.gpus(config(GresTypes="(null)"), groups()).verdict == WARNING
    assert slurm.gpus(config(), groups(gres=())).verdict == WARNING
    untracked = slurm.gpus(config(AccountingStorageTRES="cpu,mem"), groups())
    assert (untracked.verdict, "AccountingStorageTRES" in untracked.advice) == (WARNING, True)


@pytest.mark.parametrize(
    ("taken", "kept", "limit", "verdict"),
    [
        ("ALL", "(null)", 8 * 1024**2, WARNING),
        ("ALL", "(null)", None, OK),
        ("ALL", "MEMLOCK", 65536, OK),
        ("NONE", "(null)", 65536, OK),
        ("NOFILE", "(null)", 65536, OK),
        ("CORE,MEMLOCK", "(null)", 65536, WARNING),
    ],
)
def test_a_low_limit_of_locked_memory_matters_where_slurm_takes_it_to_the_nodes(
    taken: str, kept: str, limit: int | None, verdict: str
) -> None:
    settings = config(PropagateResourceLimits=taken, PropagateResourceLimitsExcept=kept)
    assert slurm.memlock(settings, limit).verdict == verdict


def test_torch_is_looked_for_in_the_python_of_jobs() -> None:
    assert machine.torch(Answer("3.11.7\n2.13.0\n"), "python3").found == "2.13.0 (Python 3.11.7, python3)"
    assert machine.torch(Answer("3.11.7\n\n"), "python3").verdict == WARNING
    assert machine.torch(Answer(error="a\nb: not found"), "python3").verdict == WARNING
    answer = ask(process.run, ["/usr/bin/env", "python3", "-c", machine.TORCH], 20)
    assert answer.text.split("\n")[0].startswith("3.")


def test_containers_are_named_with_their_versions() -> None:
    found = machine.containers(
        {"apptainer": Answer("apptainer version 1.3.1-1"), "podman": Answer(error="no")},
        Answer("      --container-image=[USER@][REGISTRY#]IMAGE\n"),
    )
    assert found.found == "apptainer 1.3.1-1, pyxis"
    assert machine.containers({"podman": Answer(error="no")}, Answer()).verdict == WARNING


MOUNTS = "\n".join(
    [
        "server:/home /home nfs4 rw 0 0",
        "/dev/vda / ext4 rw 0 0",
        r"server:/a /with\040blank lustre rw 0 0",
        "tmpfs /home/ada/tmp tmpfs rw 0 0",
    ]
)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/etc", "ext4"),
        ("/home", "nfs4"),
        ("/home/ada/x", "nfs4"),
        ("/homes", "ext4"),
        ("/with blank/x", "lustre"),
        ("/home/ada/tmp/y", "tmpfs"),
    ],
)
def test_the_file_system_of_a_folder_is_that_of_the_longest_mount_point_above(path: str, kind: str) -> None:
    assert machine.file_system(Path(path), MOUNTS) == kind


def test_run_folders_need_a_place_that_is_writable_closed_to_others_and_seen_by_all_nodes(
    tmp_path: Path,
) -> None:
    mounts = "/dev/vda / ext4 rw 0 0"
    assert machine.folder(tmp_path / "runs", mounts, True).verdict == OK
    assert machine.folder(tmp_path / "runs", mounts, False).verdict == WARNING
    assert machine.folder(tmp_path / "runs", "s:/ / nfs rw 0 0", False).verdict == OK
    tmp_path.chmod(0o777)
    assert "chmod o-w" in machine.folder(tmp_path / "runs", mounts, True).advice
    assert machine.folder(Path("/proc/1/runs"), mounts, True).verdict == PROBLEM


def test_a_cluster_whose_nodes_are_all_this_machine_needs_no_shared_file_system() -> None:
    assert machine.all_here(["127.0.0.1"], "vm") is True
    assert machine.all_here(["vm", "10.0.0.2"], "vm") is False
    assert machine.all_here([], "vm") is None


def test_a_probe_that_hangs_or_fails_is_a_finding_and_holds_nobody_up() -> None:
    def fails() -> Check:
        raise OSError(5, "Input/output error", "/nfs")

    over = threading.Event()

    def hangs() -> Check:
        over.wait(60)
        return Check("late", OK, "")

    started_s = time.monotonic()
    checks = at_once(
        {"fine": lambda: Check("fine", OK, ""), "fails": fails, "hangs": hangs},
        2,
        lambda name, why: Check(name, PROBLEM, why),
    )
    assert time.monotonic() - started_s < 20
    over.set()
    assert [check.verdict for check in checks] == [OK, PROBLEM, PROBLEM]
    assert "Input/output error" in checks[1].found
    assert checks[2].found == "no answer within 2 s"


def test_a_program_that_hangs_is_an_answer_too() -> None:
    assert "0.2 s" in ask(process.run, ["sleep", "60"], 0.2).error
    assert "cannot be run" in ask(process.run, ["no such program"], 1).error
    assert ask(process.run, ["false"], 1).error == "false ended with status 1"


def test_without_slurm_it_still_looks_at_all_else(tmp_path: Path) -> None:
    def none(argv: object, **more: object) -> process.Completed:
        from hpctools.errors import NotFound

        raise NotFound("cannot be run")

    checks = doctor.examine(none, runs=tmp_path, environ={"XDG_STATE_HOME": str(tmp_path)})
    assert doctor.verdict(checks) == PROBLEM
    assert {"Python", "torch", "containers", "run folders", "records", "machine"} < {
        check.name for check in checks
    }
