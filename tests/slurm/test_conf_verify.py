"""`conf verify` on real daemons."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from hpctools import process
from hpctools.cli import main
from hpctools.conf.verify import controller, throwaway
from hpctools.conf.verify.run import verify
from hpctools.conf.verify.value import Verification
from hpctools.errors import InvalidInput
from hpctools.sandbox import cluster, places, processes, programs
from hpctools.sandbox.daemons import Sandbox
from hpctools.sandbox.processes import Identity

SLURM = """\
ClusterName=site
SlurmctldHost=ctl1(10.0.0.1)
SlurmctldHost=ctl2(10.0.0.2)
SlurmUser=slurm
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup,task/affinity
PrologFlags=Contain
Prolog=/etc/slurm/prolog.sh
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
JobSubmitPlugins=lua
Include nodes.conf
PartitionName=gpu Nodes=gpu[001-128] Default=YES
PartitionName=half Nodes=gpu[065-128] AllowGroups=staff
PartitionName=cpu Nodes=cpu[1-2]
PartitionName=pairs Nodes=cpu[1-2] MinNodes=2
PartitionName=off Nodes=cpu1 State=DOWN
"""
NODES = """\
NodeName=DEFAULT Sockets=2 CoresPerSocket=32 ThreadsPerCore=2
NodeName=gpu[001-128] NodeAddr=10.1.0.[1-128] RealMemory=2000000 Gres=gpu:h100:8
NodeName=cpu[1-2] RealMemory=500000
"""
GRES = "NodeName=gpu[001-128] Name=gpu Type=h100 File=/dev/nvidia[0-7] Cores=0-31\n"
SMALL = "ClusterName=c\nSlurmctldHost=ctl\nNodeName=n[1-4] CPUs=4\nPartitionName=p Nodes=ALL Default=YES\n"


def site(folder: Path, **texts: str) -> Path:
    """A folder with a candidate; slurm_conf="..." and so on take the place of the good files."""
    good = {"slurm_conf": SLURM, "nodes_conf": NODES, "gres_conf": GRES}
    for name, text in {**good, **texts}.items():
        (folder / name.replace("_conf", ".conf").replace("_yaml", ".yaml")).write_text(text)
    return folder


def small(folder: Path, **texts: str) -> Path:
    return site(folder, **{"slurm_conf": SMALL, "nodes_conf": "", "gres_conf": "", **texts})


def fatal(found: Verification) -> list[tuple[str, int, str]]:
    return [(Path(p.file).name, p.line, p.message) for p in found.problems if p.severity == "fatal"]


def living() -> list[Identity]:
    """The daemons of verifications of these tests."""
    mark = str(places.state_home() / "sandbox" / "verify-")
    return processes.scan(lambda seen: seen.environ.get(processes.MARK, "").startswith(mark))


def left() -> list[object]:
    """What they have left: folders (the one in the state folder goes last), locks and processes."""
    return [*(places.state_home() / "sandbox").glob("*verify-*"), *living()]


@pytest.fixture(autouse=True)
def nothing_stays(slurm_programs: None) -> None:
    assert left() == []


def release() -> tuple[int, ...]:
    return tuple(int(part) for part in programs.release(process.run).split(".")[:2])


def test_a_good_candidate_boots_with_its_nodes_and_runs_jobs(tmp_path: Path) -> None:
    found = verify(site(tmp_path))
    assert [str(problem) for problem in found.problems] == []
    assert (found.boots, found.passed) == (True, True)
    nodes = {one.name: (one.alike, one.registered, one.gres_found, one.ok) for one in found.nodes}
    assert nodes == {"gpu065": (128, True, "gpu:h100:8", True), "cpu1": (2, True, "", True)}
    assert {one.name: (one.state, one.nodes) for one in found.partitions} == {
        "gpu": ("UP", 128),
        "half": ("UP", 64),
        "cpu": ("UP", 2),
        "pairs": ("UP", 2),
        "off": ("DOWN", 1),
    }
    assert [(one.partition, one.state) for one in found.canaries] == [
        ("gpu", "ran"),
        ("half", "ran"),
        ("cpu", "ran"),
        ("pairs", "not run"),
        ("off", "not run"),
    ]
    assert left() == []


def test_what_is_replaced_is_told_and_so_is_what_is_not_verified(tmp_path: Path) -> None:
    found = verify(site(tmp_path))
    told = {one.key: one for one in found.replacements}
    assert (told["StateSaveLocation"].line, told["StateSaveLocation"].old) == (5, "/var/spool/slurmctld")
    assert told["File"].new == "SANDBOX/dev/nvidia[0-7]"
    assert {one.kind for one in found.replacements} >= {"hosts", "cgroup", "prologs", "job_submit", "devices"}
    assert "what job_submit and cli_filter plugins make of jobs" in found.not_verified
    assert (
        "the database's host, access and contents, and job completion logs elsewhere"
        not in found.not_verified
    )


def test_the_controller_alone(tmp_path: Path) -> None:
    found = verify(site(tmp_path), controller_only=True)
    assert (found.passed, found.nodes, found.canaries) == (True, (), ())
    assert any("only the controller" in sentence for sentence in found.not_verified)


@pytest.mark.native
def test_a_database_knows_the_qos_and_accounts_that_are_named(tmp_path: Path) -> None:
    accounting = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=db1
AccountingStorageTRES=gres/gpu,gres/gpu:h100
AccountingStorageEnforce=associations,limits,qos
PartitionName=chem Nodes=gpu[001-128] AllowAccounts=chem QOS=part
PartitionName=high Nodes=gpu[001-128] AllowQOS=high
"""
    dbd = "DbdHost=db1\nStorageType=accounting_storage/mysql\nStoragePass=x\nPurgeJobAfter=12months\n"
    found = verify(site(tmp_path, slurm_conf=SLURM + accounting, slurmdbd_conf=dbd))
    assert [str(problem) for problem in found.problems] == []
    assert {one.partition: one.state for one in found.canaries if one.state != "not run"} == dict.fromkeys(
        ("gpu", "half", "cpu", "chem", "high"), "ran"
    )
    assert {"StoragePass", "AccountingStorageHost"} <= {one.key for one in found.replacements}


@pytest.mark.native
def test_what_slurmdbd_refuses_is_told_and_the_rest_is_verified(tmp_path: Path) -> None:
    text = SMALL + "AccountingStorageType=accounting_storage/slurmdbd\n"
    dbd = "DbdHost=db1\nStorageType=accounting_storage/mysql\nNoSuchKey=1\n"
    found = verify(small(tmp_path, slurm_conf=text, slurmdbd_conf=dbd), controller_only=True)
    assert (found.boots, found.passed) == (True, False)
    assert ("slurmdbd.conf", 3) in [(file, line) for file, line, _ in fatal(found)]


def test_a_fatal_message_stands_at_its_line(tmp_path: Path) -> None:
    found = verify(small(tmp_path, slurm_conf=SMALL + "PartitionName=q Nodes=n[1-4],nowhere\n"))
    assert (found.boots, found.passed) == (False, False)
    ((file, line, message),) = fatal(found)
    assert (file, line) == ("slurm.conf", 5)
    assert "Invalid node names in partition q" in message


def test_an_unknown_key_stands_at_its_line_in_an_included_file(tmp_path: Path) -> None:
    text = NODES + "\n# no such key\nNoSuchKey=1\n"
    ((file, line, message),) = fatal(verify(site(tmp_path, nodes_conf=text)))
    assert (file, line) == ("nodes.conf", 6)
    assert "NoSuchKey" in message


def test_a_file_that_is_missing_is_not_waited_for(tmp_path: Path) -> None:
    found = verify(small(tmp_path, slurm_conf=f"TopologyPlugin=topology/tree\n{SMALL}"))
    ((file, line, message),) = fatal(found)
    assert (file, line) == ("slurm.conf", 1)
    assert f"cannot stat file {tmp_path}/topology.conf" in message
    assert found.timings["controller"] < controller.PATIENCE_S


def test_a_crash_is_told_from_an_end(tmp_path: Path) -> None:
    text = SMALL.replace("Default=YES", "Default=YES Topology=tree")
    found = verify(small(tmp_path, slurm_conf=text, topology_yaml="[]\n"))
    assert not found.boots
    ((_, _, message),) = fatal(found)
    assert ("SIGSEGV" if release() >= (25, 11) else "unrecognized key: Topology") in message


def test_a_controller_that_hangs_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with throwaway.throwaway(None, accounting=False) as made:
        made.write({"slurm.conf": SMALL.encode()})
        found = controller.boot(made, patience_s=0)
    assert found.partitions is None
    assert "neither answers nor ends" in found.why
    assert left() == []


def test_gres_that_do_not_fit_are_told(tmp_path: Path) -> None:
    found = verify(site(tmp_path, gres_conf=GRES.replace("[0-7]", "[0-5]")))
    assert (found.boots, found.passed) == (True, False)
    (node,) = [one for one in found.nodes if not one.ok]
    assert (node.gres, node.gres_found) == ("gpu:h100:8", "gpu:h100:6")
    assert "count reported lower than configured (6 < 8)" in node.reason
    problems = {(one.rule, Path(one.file).name, one.line) for one in found.problems}
    assert {("gres", "nodes.conf", 2), ("node", "nodes.conf", 2)} <= problems
    # The other kind of node is well, and its partition runs jobs.
    assert [one.state for one in found.canaries if one.partition == "cpu"] == ["ran"]


def test_gres_without_grestypes_are_a_failure(tmp_path: Path) -> None:
    found = verify(site(tmp_path, slurm_conf=SLURM.replace("GresTypes=gpu\n", "")))
    assert [(one.ok, one.gres_ok) for one in found.nodes if one.gres] == [(True, False)]
    assert (found.boots, found.passed) == (True, False)
    assert main(["conf", "verify", str(tmp_path)]) == 1


def test_a_plugin_that_slurmd_refuses_is_told_at_its_line(tmp_path: Path) -> None:
    found = verify(small(tmp_path, slurm_conf=f"{SMALL}ProctrackType=cgroup\n"))
    assert not found.passed
    told = {(Path(one.file).name, one.line) for one in found.problems if one.rule == "slurmd"}
    assert ("slurm.conf", 5) in told


def test_gpus_that_autodetect_would_find_are_there(tmp_path: Path) -> None:
    found = verify(site(tmp_path, gres_conf="AutoDetect=nvml\n"))
    assert [one.gres_found for one in found.nodes if one.gres] == ["gpu:h100:8"]
    assert found.passed
    assert "that the device files exist, and what AutoDetect finds" in found.not_verified


def test_nodes_of_a_cloud_are_tried(tmp_path: Path) -> None:
    text = SMALL.replace("CPUs=4", "CPUs=4 State=CLOUD") + "ResumeProgram=/opt/on\nSuspendProgram=/opt/off\n"
    found = verify(small(tmp_path, slurm_conf=text + "SuspendTime=600\n"))
    assert ([one.state for one in found.nodes], [one.state for one in found.canaries]) == (["idle"], ["ran"])


def test_ten_thousand_nodes_boot(tmp_path: Path) -> None:
    nodes = "NodeName=n[00001-10000] CPUs=192 RealMemory=2000000 Gres=gpu:h200:8"
    switches = [f"SwitchName=l{n} Nodes=n[{32 * n + 1:05}-{min(32 * n + 32, 10000):05}]" for n in range(313)]
    topology = "\n".join([*switches, "SwitchName=core Switches=l[0-312]"]) + "\n"
    text = SMALL.replace("NodeName=n[1-4] CPUs=4", nodes) + "GresTypes=gpu\nTopologyPlugin=topology/tree\n"
    gres = "Name=gpu Type=h200 File=/dev/nvidia[0-7]\n"
    found = verify(small(tmp_path, slurm_conf=text, gres_conf=gres, topology_conf=topology))
    assert [str(problem) for problem in found.problems] == []
    assert [(one.alike, one.ok) for one in found.nodes] == [(10000, True)]


def test_a_cluster_that_is_there_is_not_touched(
    tmp_path: Path, sandbox: Sandbox, slurm_env: Mapping[str, str]
) -> None:
    def seen() -> tuple[str, dict[str, str]]:
        jobs = cluster.command(sandbox, ["squeue", "--noheader", "--states=all", "--format=%i"]).check()
        return jobs, cluster.node_states(sandbox)

    # The jobs of the tests before are gone.
    assert processes.wait_until(lambda: set(cluster.node_states(sandbox).values()) == {"idle"}, 120), seen()
    before = seen()
    assert verify(site(tmp_path)).passed
    assert seen() == before


def test_two_at_a_time(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "hpctools", "conf", "verify", "--json", str(site(tmp_path))]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    for each in running:
        out, _ = each.communicate(timeout=300)
        assert (each.returncode, json.loads(out)["passed"]) == (0, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_stays_of_one_that_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    words = [sys.executable, "-u", "-m", "hpctools", "conf", "verify", str(site(tmp_path))]
    running = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert running.stderr
    with running.stderr:
        # slurmctld is up.
        assert b"slurmctld" in running.stderr.readline()
        running.send_signal(number)
        running.wait(300)
        said = running.stderr.read()
    assert processes.wait_until(lambda: not living(), 60)
    if number == signal.SIGKILL:
        assert running.returncode == -signal.SIGKILL
        # The kernel ends its daemons; its folders go with the next verification.
        verify(small(tmp_path), controller_only=True)
    else:
        assert running.returncode == 128 + number
        assert b"interrupted; nothing is left behind\n" in said
        assert b"Traceback" not in said
    assert left() == []


def test_mistakes_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not a folder"):
        verify(tmp_path / "absent")
    with pytest.raises(InvalidInput, match=r"slurm\.conf"):
        verify(tmp_path)
    with pytest.raises(InvalidInput, match=r"19\.05"):
        verify(small(tmp_path), "19.05")


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conf", "verify", str(site(tmp_path))]) == 0
    said = capsys.readouterr()
    assert (
        f"{tmp_path}/slurm.conf:5: StateSaveLocation: /var/spool/slurmctld -> SANDBOX/slurmctld" in said.out
    )
    assert said.out.rstrip().split("\n")[-1].startswith(f"{tmp_path} boots on Slurm ")
    assert "slurmctld" in said.err
    (tmp_path / "nodes.conf").write_text("NoSuchKey=1\n")
    assert main(["conf", "verify", "--json", "--controller-only", str(tmp_path)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["boots"], found["passed"]) == (False, False)
    assert (tmp_path / "nodes.conf").samefile(found["problems"][0]["file"])
    assert main(["conf", "verify", str(tmp_path / "absent")]) == 2


@pytest.mark.native
def test_root_is_not_needed(tmp_path: Path) -> None:
    home = Path("/tmp") / f"hpctools-test-{os.getpid()}"  # searchable by all, unlike tmp_path
    home.mkdir(mode=0o755)
    try:
        (home / "site").mkdir()
        (home / "state").mkdir(mode=0o777)
        (home / "state").chmod(0o777)
        site(home / "site")
        env = {**os.environ, "HOME": str(home / "state"), "XDG_STATE_HOME": str(home / "state")}
        env["PYTHONDONTWRITEBYTECODE"] = "1"
        words = (
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"] if os.geteuid() == 0 else []
        )
        words += [sys.executable, "-m", "hpctools"]
        if process.run([*words, "--version"], env=env).status:
            pytest.skip("an ordinary user cannot run the Python of these tests")
        done = process.run([*words, "conf", "verify", "--json", str(home / "site")], env=env)
        assert done.status == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)["problems"] == []
    finally:
        process.run(["rm", "-rf", str(home)])
