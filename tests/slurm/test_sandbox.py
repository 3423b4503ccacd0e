"""The sandbox itself, on real daemons: it starts, breaks, mends and leaves nothing behind."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import jinja2
import markupsafe
import psutil
import pytest

import hpctools as hpctools_package
from hpctools.errors import HpctoolsError, InvalidInput, NotFound
from hpctools.sandbox import cgroups, choice, cluster, faults, places, processes
from hpctools.sandbox.daemons import Sandbox
from hpctools.sandbox.places import Places
from hpctools.sandbox.spec import Spec

pytestmark = pytest.mark.native

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become other users and make namespaces")


def quiet(text: str) -> None:
    """Nobody wants progress here."""


def hpctools(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "hpctools", *arguments]


def left_of(name: str, nodes: Sequence[str] = ("n1", "n2")) -> list[str]:
    """What stands of a sandbox outside of its data folder, in words."""
    here = Places(name)
    belongs = processes.of_sandbox(str(here.data), str(here.slurm_conf), str(here.log), nodes)
    found = [f"process {identity.pid}" for identity in processes.scan(belongs)]
    found += [str(path) for path in [here.shared] if path.exists()]
    return found + [str(path) for path in cgroups.folders(nodes)]


@pytest.fixture
def name(slurm_programs: None) -> Iterator[str]:
    """A sandbox of the test's own, gone afterwards."""
    name = f"x{secrets.token_hex(4)}"
    yield name
    with contextlib.suppress(NotFound):
        cluster.down(name, purge=True)
    assert left_of(name) == []


def small(name: str, **changes: object) -> Spec:
    return Spec(**{"name": name, "nodes": 2, "gpus_per_node": 2, "accounting": False, **changes})  # type: ignore[arg-type]


def srun(sandbox: Sandbox, *arguments: str) -> str:
    return cluster.command(sandbox, ["srun", *arguments]).check()


def test_gpus_are_typed_visible_and_accounted(sandbox: Sandbox) -> None:
    """A job that asks for 3 GPUs sees 0,1,2, and accounting tracks both gres/gpu and its type."""
    shown = ["sh", "-c", "echo $SLURM_JOB_ID $CUDA_VISIBLE_DEVICES"]
    lines = srun(sandbox, "--nodes=2", "--gpus-per-node=3", *shown).split("\n")
    job_id = lines[0].split()[0]
    assert [line.split()[1:] for line in lines if line] == [["0,1,2"]] * 2

    def tracked() -> bool:
        asked = ["sacct", "-XnP", "-j", job_id, "-o", "AllocTRES"]
        return "gres/gpu:h100=6,gres/gpu=6" in cluster.command(sandbox, asked).check()

    assert processes.wait_until(tracked, 60)


def test_everything_listens_on_loopback_only(sandbox: Sandbox) -> None:
    """Every listening socket of the sandbox's processes, those of a running job's among them."""
    here = sandbox.places
    env = sandbox.command_env(os.environ)
    belongs = processes.of_sandbox(
        str(here.data), str(here.slurm_conf), str(here.log), sandbox.spec.node_names
    )
    with subprocess.Popen(["srun", "--job-name=listening", "--nodes=4", "sleep", "300"], env=env) as job:
        listening: list[str] = []

        def all_listen() -> bool:
            """slurmctld, slurmdbd, four slurmd, and what srun listens on for its tasks."""
            pids = {identity.pid for identity in processes.scan(belongs)} | {job.pid}
            listening[:] = [
                connection.laddr.ip
                for connection in psutil.net_connections("inet")
                if connection.laddr and connection.pid in pids and connection.status in ("LISTEN", "NONE")
            ]
            return len(listening) >= 8

        try:
            assert processes.wait_until(all_listen, 60), listening
            assert [address for address in listening if not ipaddress.ip_address(address).is_loopback] == []
        finally:
            cluster.command(sandbox, ["scancel", "--name=listening"]).check()


def test_secrets_have_the_narrowest_modes(sandbox: Sandbox) -> None:
    here = sandbox.places
    assert stat.S_IMODE((here.data / "munge" / "key").stat().st_mode) == 0o400
    assert stat.S_IMODE((here.etc / "slurmdbd.conf").stat().st_mode) == 0o600
    assert stat.S_IMODE(here.record.stat().st_mode) == 0o600
    for folder in (here.data, here.data / "munge", here.database_socket.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_partitions_and_qos_have_priorities_preemption_and_grace(sandbox: Sandbox) -> None:
    text = cluster.command(sandbox, ["scontrol", "show", "partition", "-o"]).check()
    found = dict(line.removeprefix("PartitionName=").split(" ", 1) for line in text.splitlines())
    assert " PriorityTier=1 " in found["scavenge"]
    assert " GraceTime=60 " in found["scavenge"]
    assert " PriorityTier=200 " in found["urgent"]
    asked = ["sacctmgr", "-nP", "show", "qos", "format=Name,Preempt,GraceTime"]
    assert "high|normal,scavenge|00:00:30" in cluster.command(sandbox, asked).check().splitlines()


def test_up_again_says_that_it_is_up_and_refuses_another_shape(sandbox: Sandbox) -> None:
    assert cluster.up(sandbox.spec, quiet) is False
    with pytest.raises(InvalidInput, match="--nodes: differs"):
        cluster.up(cluster.with_changes(sandbox.spec.name, {"nodes": 3}), quiet)


@root
def test_ada_runs_jobs_as_herself(sandbox: Sandbox) -> None:
    words = ["sandbox", "run", "--name", sandbox.spec.name, "--user", "ada", "--", "srun", "sh", "-c"]
    done = subprocess.run(
        hpctools(*words, 'id -un; touch "$HOME/x" && stat -c %U "$HOME/x"'),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["ada", "ada"]


def test_a_dead_node_takes_its_job_along_and_heals(name: str) -> None:
    """slurmd, slurmstepd and task end at once; slurmctld sees the node down; heal brings it back."""
    cluster.up(small(name), quiet)
    sandbox = cluster.load(name)
    job = (
        cluster.command(
            sandbox,
            ["sbatch", "--output=/dev/null", "--parsable", "--no-requeue", "-w", "n2", "--wrap", "sleep 99"],
        )
        .check()
        .strip()
    )
    here = sandbox.places
    belongs = processes.of_node(str(here.data), str(here.slurm_conf), str(here.log), "n2")
    assert processes.wait_until(lambda: len(processes.scan(belongs)) >= 3, 60)
    assert faults.fail(name, nodes=["n2"]) == ["n2"]
    assert processes.scan(belongs) == []
    assert cluster.status(name).state == "degraded"
    with pytest.raises(HpctoolsError, match="slurmd-n2 has ended"):
        cluster.wait_idle(cluster.load(name), quiet, timeout_s=600)

    def state() -> str:
        return cluster.command(sandbox, ["scontrol", "show", "job", "-o", job]).check()

    assert processes.wait_until(lambda: "JobState=NODE_FAIL" in state(), 180)
    assert faults.heal(name, quiet) == ["slurmd-n2"]
    # slurmctld may still have to hear that the job has ended there.
    assert processes.wait_until(lambda: cluster.status(name).nodes == {"n1": "idle", "n2": "idle"}, 60)


def test_after_kill_9_of_any_daemon_up_starts_again_with_the_jobs_kept(name: str) -> None:
    cluster.up(small(name), quiet)
    cluster.command(cluster.load(name), ["sbatch", "--output=/dev/null", "--hold", "--wrap", "true"]).check()
    state = Places(name).data / "slurmctld" / "job_state"
    # slurmctld saves its state every five seconds
    assert processes.wait_until(lambda: state.exists() and b"wrap" in state.read_bytes(), 60)
    for daemon in ("munged", "slurmctld", "slurmd-n1"):
        before = cluster.load(name)
        processes.kill([before.daemons[daemon]])
        assert cluster.up(cluster.with_changes(name, {}), quiet) is True
        after = cluster.load(name)
        assert not any(identity.alive() for identity in before.daemons.values())
        assert all(identity.alive() for identity in after.daemons.values())
    assert cluster.command(after, ["squeue", "-h"]).check().count("wrap") == 1


def test_after_a_reboot_no_recorded_pid_is_touched(name: str) -> None:
    """The record names a process of ours that lives; another boot makes it a stranger's."""
    cluster.up(small(name), quiet)
    cluster.down(name)
    with subprocess.Popen(["sleep", "600"]) as stranger:
        identity = processes.identify(stranger.pid)
        assert identity is not None
        record = places.existing(name)
        daemons = {"slurmctld": [identity.pid, identity.started]}
        places.save(name, {**record, "state": "up", "boot_id": "another", "daemons": daemons})
        assert cluster.up(cluster.with_changes(name, {}), quiet) is True
        assert stranger.poll() is None
        stranger.kill()


def test_down_leaves_nothing_but_a_users_shell(name: str) -> None:
    """Running steps and what they started in the background go; a shell that uses the sandbox stays."""
    cluster.up(small(name), quiet)
    sandbox = cluster.load(name)
    env = sandbox.command_env(os.environ)
    with subprocess.Popen(["sleep", "600"], env=env) as shell:
        script = "setsid sleep 987 & sleep 987"
        cluster.command(
            sandbox, ["sbatch", "--output=/dev/null", "--nodes=2", "--wrap", f"srun sh -c '{script}'"]
        ).check()
        here = sandbox.places
        belongs = processes.of_sandbox(str(here.data), str(here.slurm_conf), str(here.log), ("n1", "n2"))
        assert processes.wait_until(lambda: len(processes.scan(belongs)) >= 12, 60)
        assert cluster.down(name) is True
        assert left_of(name) == []
        assert shell.poll() is None
        shell.kill()
    assert cluster.down(name) is False
    assert cluster.status(name).state == "down"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_up_interrupted_at_any_moment_leaves_nothing(name: str, number: signal.Signals) -> None:
    """Ctrl-C and TERM clean up themselves; after KILL the next down does."""
    for delay_s in (0.15, 0.4, 0.7):
        words = hpctools("sandbox", "up", "--name", name, "--nodes", "2")
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as up:
            time.sleep(delay_s)
            up.send_signal(number)
            up.wait(300)
        if number == signal.SIGKILL:
            with contextlib.suppress(NotFound):
                cluster.down(name, purge=True)
        assert left_of(name) == []
        assert not Places(name).record.exists()


def test_two_stand_side_by_side_and_must_then_be_named(name: str, sandbox: Sandbox) -> None:
    cluster.up(small(name), quiet)
    second = cluster.load(name)
    assert not set(second.ports.values()) & set(sandbox.ports.values())
    assert srun(second, "--nodes=2", "printenv", "SLURM_CLUSTER_NAME").split() == [name, name]
    assert srun(sandbox, "printenv", "SLURM_CLUSTER_NAME").strip() == sandbox.spec.name
    with pytest.raises(InvalidInput, match="several are up"):
        choice.choose({})
    cluster.down(name)
    environ: dict[str, str] = {}
    assert choice.choose(environ) == sandbox.spec.name
    assert environ == {"SLURM_CONF": str(sandbox.places.slurm_conf)}
    assert choice.choose({"SLURM_CONF": "/mine"}) is None


def test_two_who_start_the_same_sandbox_at_once_get_one(name: str) -> None:
    words = hpctools("sandbox", "up", "--name", name, "--nodes", "2", "--no-accounting", "--json")
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [json.loads(up.communicate(timeout=300)[0]) for up in both]
    assert [up.returncode for up in both] == [0, 0]
    assert answers[0] == answers[1]
    assert answers[0]["state"] == "up"


def test_lines_of_slurm_conf_and_a_time_zone_reach_the_daemons(name: str, tmp_path: Path) -> None:
    (tmp_path / "slurm.conf").write_text("KillWait=7\nPartitionName=own Nodes=ALL Default=YES\n")
    cluster.up(small(name, conf=("KillWait=8",), conf_dir=str(tmp_path), timezone="Asia/Tokyo"), quiet)
    sandbox = cluster.load(name)
    text = cluster.command(sandbox, ["scontrol", "show", "config"]).check()
    assert "KillWait                = 8 sec" in text
    assert cluster.command(sandbox, ["sinfo", "-ho", "%R"]).check().split() == ["own"]
    assert srun(sandbox, "date", "+%Z").strip() == "JST"


def test_the_lines_of_env_reach_the_sandbox_from_the_real_shells(sandbox: Sandbox) -> None:
    """In bash the lines are evaluated; sinfo then finds the cluster."""
    words = hpctools("sandbox", "env", "--name", sandbox.spec.name, "--shell", "bash")
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    clean = {key: value for key, value in os.environ.items() if key != "SLURM_CONF"}
    asked = subprocess.run(
        ["bash", "-c", 'eval "$1"; sinfo -ho %R -p main', "bash", lines],
        capture_output=True,
        text=True,
        env=clean,
    )
    assert asked.stdout.split() == ["main"]


@root
def test_cgroups_constrain_devices_and_are_removed(name: str) -> None:
    if not (cgroups.CGROUPS / "devices").is_dir():
        pytest.skip("cgroup v1 is not mounted here")
    cluster.up(small(name, proctrack="cgroup"), quiet)
    sandbox = cluster.load(name)
    device = sandbox.places.shared / "dev" / "nvidia"
    said = cluster.command(
        sandbox, ["srun", "--gpus-per-node=1", "sh", "-c", f"cat {device}0 {device}1"]
    ).stderr
    assert f"{device}1: Operation not permitted" in said
    assert f"{device}0: Operation not permitted" not in said
    assert cgroups.folders(sandbox.spec.node_names)
    cluster.command(sandbox, ["sbatch", "--output=/dev/null", "--nodes=2", "--wrap", "srun sleep 99"]).check()
    time.sleep(1)
    cluster.down(name)
    assert left_of(name, sandbox.spec.node_names) == []


@root
def test_with_network_namespaces_nodes_are_hosts_whose_link_can_be_cut(name: str) -> None:
    cluster.up(small(name, netns=True), quiet)
    sandbox = cluster.load(name)
    assert sorted(srun(sandbox, "--nodes=2", "sh", "-c", "hostname; getent hosts n2").split()) == sorted(
        ["n1", "n2", "10.89.0.3", "n2", "10.89.0.3", "n2"]
    )
    ping = ["srun", "-w", "n1", "timeout", "10", "bash", "-c", f"</dev/tcp/n2/{sandbox.ports['slurmd-n2']}"]
    assert cluster.command(sandbox, ping).status == 0
    faults.fail(name, links=["n2"])
    assert cluster.command(sandbox, ping).status != 0
    faults.heal(name, quiet)
    assert cluster.command(sandbox, ping).status == 0


def test_frozen_daemons_answer_again_after_heal(name: str) -> None:
    cluster.up(small(name), quiet)
    faults.fail(name, parts=["ctld"], freeze=True)
    pid = cluster.load(name).daemons["slurmctld"].pid
    assert processes.wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, 60)
    assert cluster.status(name).state == "degraded"
    assert faults.heal(name, quiet) == ["slurmctld"]
    assert cluster.status(name).state == "up"


def test_what_is_not_there_cannot_fail(sandbox: Sandbox) -> None:
    with pytest.raises(InvalidInput, match="no node n9") as caught:
        faults.fail(sandbox.spec.name, nodes=["n9"], links=["n1"])
    assert len(caught.value.problems) == 2


@root
def test_an_ordinary_user_has_a_whole_cluster_of_his_own(name: str) -> None:
    """As nobody, from one folder: daemons, typed GPUs, accounting; and nothing is left.

    hpctools and what it imports are copied, since root's checkout may not be readable for others.
    """
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        os.chown(home, 65534, 65534)
        for module in (hpctools_package, click, jinja2, markupsafe, psutil):
            shutil.copytree(str(Path(module.__file__ or "").parent), f"{home}/lib/{module.__name__}")
        become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        env = {"HOME": home, "PATH": os.environ["PATH"], "PYTHONPATH": f"{home}/lib", "LANG": "C.UTF-8"}

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run([*become, *words], env=env, cwd="/", capture_output=True, text=True)

        interpreters = (os.path.realpath(sys.executable), "/usr/bin/python3")
        python = next((path for path in interpreters if run("test", "-x", path).returncode == 0), None)
        if python is None or run(python, "-c", "import hpctools.sandbox.cluster, psutil").returncode:
            pytest.skip("no Python here that an ordinary user may run")
        words = [python, "-m", "hpctools", "sandbox"]
        up = run(*words, "up", "--name", name, "--nodes", "2", "--gpus-per-node", "4")
        try:
            assert up.returncode == 0, up.stderr
            script = "id -un; echo $CUDA_VISIBLE_DEVICES"
            shown = ["srun", "--nodes=2", "--gpus-per-node=2", "sh", "-c", script]
            done = run(*words, "run", "--name", name, "--", *shown)
            assert sorted(done.stdout.split()) == ["0,1", "0,1", "nobody", "nobody"], done.stderr
            assert run(*words, "run", "--name", name, "--user", "ada", "--", "true").returncode == 2
        finally:
            assert run(*words, "down", "--name", name, "--purge").returncode == 0
        assert not Path(f"/tmp/hpctools-65534/{name}").exists()
        his = [one.info for one in psutil.process_iter(["uids", "status", "environ"]) if one.info["uids"]]
        his = [one for one in his if one["uids"].real == 65534 and one["status"] != psutil.STATUS_ZOMBIE]
        assert [one for one in his if (one["environ"] or {}).get("HOME") in (None, home)] == []


def test_down_that_was_killed_is_finished_by_the_next(name: str) -> None:
    for delay_s in (0.1, 0.25, 0.4):
        cluster.up(small(name), quiet)
        with subprocess.Popen(hpctools("sandbox", "down", "--name", name), stdout=subprocess.DEVNULL) as down:
            time.sleep(delay_s)
            down.kill()
        cluster.down(name)
        assert left_of(name) == []


def test_the_port_of_a_dead_daemon_stays_its_own(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a sandbox whose records are elsewhere, which would take the first port that is free."""
    cluster.up(small(name), quiet)
    ports = set(cluster.load(name).ports.values())
    faults.fail(name, parts=["ctld"])
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("XDG_STATE_HOME", str(tmp_path))
        other = f"{name}b"
        cluster.up(small(other), quiet)
        try:
            assert not ports & set(cluster.load(other).ports.values())
        finally:
            cluster.down(other, purge=True)
