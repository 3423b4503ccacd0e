"""prolog.sh, epilog.sh and health-check.sh, run with programs that stand for those of a node with GPUs."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hpctools.conf.rendering import render, write
from tests.conf.render.clusters import PLAIN, example, homogeneous

HEALTHY = "0, 0\n1, 0\n"
NO_ROWS = "00000000:18:00.0, 0, 0\n00000000:2A:00.0, No, No\n"
# Answers each question with a file of that name; without one it fails, as it does without a driver.
NVIDIA_SMI = """#!/bin/sh
case "$*" in
    *ecc.errors*) name=ecc ;;
    *query-remapped-rows*) name=rows ;;
    *query-compute-apps*) name=apps ;;
esac
[ -r "$ANSWERS/$name" ] && exec cat "$ANSWERS/$name"
echo "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
exit 9
"""
SS = '#!/bin/sh\necho "$*" >>"$ANSWERS/ss.asked"\ncat "$ANSWERS/ss" 2>/dev/null || true\n'
DMESG = '#!/bin/sh\ncat "$ANSWERS/dmesg" 2>/dev/null || true\n'
SCONTROL = """#!/bin/sh
echo "$*" >>"$ANSWERS/scontrol.asked"
case "$*" in *show*) echo "NodeName=n1 State=$(cat "$ANSWERS/state") ThreadsPerCore=1" ;; esac
"""


@dataclass
class Node:
    """A folder with the scripts, what they are told, and the programs they ask."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    def answer(self, name: str, text: str) -> None:
        (self.folder / "answers" / name).write_text(text)

    def asked(self, name: str) -> str:
        path = self.folder / "answers" / f"{name}.asked"
        return path.read_text() if path.exists() else ""

    def run(
        self, script: str, memlock: int | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """memlock: the limit of locked memory, in bytes, that slurmd would have."""
        conf = "".join(f"{key}={value}\n" for key, value in self.settings.items())
        (self.folder / "node-checks.conf").write_text(conf)
        limited = [] if memlock is None else ["prlimit", f"--memlock={memlock}"]
        return subprocess.run(
            [*limited, str(self.folder / script)],
            env={
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                "ANSWERS": str(self.folder / "answers"),
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A sound node with two GPUs, with no job, and no process on them."""
    texts = render(homogeneous(1), PLAIN, "24.11")
    write(texts, tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "answers").mkdir()
    programs = {
        "nvidia-smi": NVIDIA_SMI,
        "ss": SS,
        "dmesg": DMESG,
        "scontrol": SCONTROL,
        "logger": "#!/bin/sh\n",
    }
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    for number, kind in enumerate(("0x030200", "0x030200", "0x068000")):
        device = tmp_path / "sys" / "bus" / "pci" / "devices" / str(number)
        device.mkdir(parents=True)
        (device / "vendor").write_text("0x10de\n")
        (device / "class").write_text(f"{kind}\n")
    found = Node(tmp_path, {"sys": str(tmp_path / "sys"), "first_user": "0"})
    for name, text in {"ecc": HEALTHY, "rows": NO_ROWS, "apps": "", "state": "IDLE"}.items():
        found.answer(name, text)
    return found


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process of a user's that is in no job."""
    with subprocess.Popen(["sleep", "600"]) as running:
        yield running
        running.kill()


def xid(number: int, age_s: float) -> str:
    at = time.clock_gettime(time.CLOCK_BOOTTIME) - age_s
    return f"[{at:12.6f}] NVRM: Xid (PCI:0000:18:00): {number}, pid='<unknown>', name=<unknown>, said\n"


def gone(process: subprocess.Popen[bytes]) -> bool:
    return process.wait(timeout=60) == -9


@pytest.mark.parametrize("script", ["prolog.sh", "epilog.sh", "health-check.sh"])
def test_a_sound_node_passes_without_a_word(node: Node, script: str) -> None:
    done = node.run(script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert node.asked("scontrol") == ""


@pytest.mark.parametrize("script", ["prolog.sh", "epilog.sh", "health-check.sh"])
@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("ecc", "0, 0\n1, 3\n", "GPU 1: 3 uncorrectable ECC errors"),
        ("ecc", "0, [N/A]\n", "1 of 2 GPUs answer"),
        ("rows", "00000000:18:00.0, Yes, No\n", "GPU 00000000:18:00.0: rows wait to be remapped"),
        ("rows", "00000000:2A:00.0, 0, 1\n", "GPU 00000000:2A:00.0: rows cannot be remapped"),
    ],
)
def test_a_gpu_that_is_not_sound_is_named(node: Node, script: str, name: str, answer: str, said: str) -> None:
    node.answer(name, answer)
    done = node.run(script)
    assert done.returncode == 1
    assert said in done.stderr


def test_a_driver_that_does_not_answer_is_a_fault(node: Node) -> None:
    (node.folder / "answers" / "ecc").unlink()
    done = node.run("prolog.sh")
    assert done.returncode == 1
    assert "nvidia-smi fails: NVIDIA-SMI has failed" in done.stderr


def test_gpus_without_ecc_and_row_remapping_are_sound(node: Node) -> None:
    node.answer("ecc", "0, [N/A]\n1, [N/A]\n")
    (node.folder / "answers" / "rows").unlink()
    assert node.run("prolog.sh").returncode == 0


def test_a_node_without_gpus_needs_no_driver(node: Node) -> None:
    shutil.rmtree(node.folder / "sys")
    (node.folder / "answers" / "ecc").unlink()
    assert node.run("health-check.sh").returncode == 0


@pytest.mark.parametrize(
    ("number", "age_s", "status"), [(79, 60, 1), (79, 7200, 0), (31, 60, 0), (119, 60, 1)]
)
def test_xids_that_need_a_technician_count_while_they_are_new(
    node: Node, number: int, age_s: float, status: int
) -> None:
    node.answer("dmesg", f"[    1.000000] Linux\n{xid(number, age_s)}")
    done = node.run("health-check.sh", SLURMD_NODENAME="n1")
    assert done.returncode == status
    assert (f"Xid {number} of PCI:0000:18:00" in done.stderr) == bool(status)


def test_the_node_is_drained_with_the_fault_as_reason(node: Node) -> None:
    node.answer("ecc", "0, 1\n1, 0\n")
    node.run("health-check.sh", SLURMD_NODENAME="n1")
    asked = node.asked("scontrol").splitlines()
    assert (
        asked[-1] == "update NodeName=n1 State=DRAIN Reason=health-check: GPU 0: 1 uncorrectable ECC errors"
    )


@pytest.mark.parametrize("state", ["IDLE+DRAIN", "DOWN*", "MIXED+DRAIN"])
def test_the_reason_of_whoever_drained_it_first_stays(node: Node, state: str) -> None:
    node.answer("ecc", "0, 1\n1, 0\n")
    node.answer("state", state)
    assert node.run("health-check.sh", SLURMD_NODENAME="n1").returncode == 1
    assert "update" not in node.asked("scontrol")


@pytest.mark.parametrize("script", ["prolog.sh", "epilog.sh"])
def test_no_command_of_slurms_is_called_while_slurmctld_waits(node: Node, script: str) -> None:
    node.answer("ecc", "0, 1\n1, 0\n")
    assert node.run(script).returncode == 1
    assert node.asked("scontrol") == ""


@pytest.mark.parametrize(
    ("mount", "said"), [("/proc", ""), ("/not/there", "does not answer"), ("{}", "is not mounted")]
)
def test_file_systems_must_be_mounted(node: Node, mount: str, said: str) -> None:
    path = mount.format(node.folder)
    node.settings["mount"] = path
    done = node.run("prolog.sh")
    assert done.stderr == (f"{path} {said}\n" if said else "")
    assert done.returncode == bool(said)


def test_slurmd_must_be_able_to_lock_memory_where_the_fabric_needs_it(node: Node) -> None:
    node.settings["memlock"] = "unlimited"
    done = node.run("health-check.sh", memlock=65536)
    assert "slurmd may lock only 64 KiB" in done.stderr
    node.settings["memlock"] = "any"
    assert node.run("health-check.sh", memlock=65536).returncode == 0


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] != resource.RLIM_INFINITY,
    reason="locked memory is limited here",
)
def test_unlimited_is_enough(node: Node) -> None:
    node.settings["memlock"] = "unlimited"
    assert node.run("prolog.sh", memlock=-1).returncode == 0


def test_what_the_user_left_on_a_gpu_ends_with_his_job(node: Node, process: subprocess.Popen[bytes]) -> None:
    node.answer("apps", f"{process.pid}\n")
    assert node.run("epilog.sh", SLURM_JOB_ID="7", SLURM_JOB_UID=str(os.getuid())).returncode == 0
    assert gone(process)


def test_what_the_user_left_on_a_port_ends_with_his_job(node: Node, process: subprocess.Popen[bytes]) -> None:
    node.settings["ports"] = "20000-29999"
    node.answer("ss", f'LISTEN 0 128 *:20011 *:* users:(("python3",pid={process.pid},fd=7))\n')
    assert node.run("epilog.sh", SLURM_JOB_ID="7", SLURM_JOB_UID=str(os.getuid())).returncode == 0
    assert "sport >= :20000 and sport <= :29999" in node.asked("ss")
    assert gone(process)


@pytest.mark.parametrize("script", ["prolog.sh", "health-check.sh"])
def test_a_process_of_no_job_on_a_gpu_is_named_and_left(
    node: Node, script: str, process: subprocess.Popen[bytes]
) -> None:
    node.answer("apps", f"{process.pid}\n")
    done = node.run(script)
    assert f"process {process.pid} (sleep) of user {os.getuid()} holds a GPU or a port" in done.stderr
    assert process.poll() is None


@pytest.fixture
def job_9(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """The process is in the cgroup of a job, as slurmd makes them."""
    # One hierarchy (v2), or one for each controller (v1).
    for procs in (
        *Path("/sys/fs/cgroup").glob("cgroup.procs"),
        *Path("/sys/fs/cgroup").glob("*/cgroup.procs"),
    ):
        folder = procs.parent / f"hpctools-{os.getpid()}" / "job_9"
        try:
            folder.mkdir(parents=True)
            (folder / "cgroup.procs").write_text(str(process.pid))
        except OSError:
            continue
        break
    else:
        pytest.skip("no cgroup can be made here")
    yield
    process.kill()
    process.wait()
    folder.rmdir()
    folder.parent.rmdir()


@pytest.mark.usefixtures("job_9")
def test_a_process_of_another_job_is_left_and_no_fault(node: Node, process: subprocess.Popen[bytes]) -> None:
    node.answer("apps", f"{process.pid}\n")
    assert node.run("prolog.sh").returncode == 0
    assert node.run("epilog.sh", SLURM_JOB_ID="7", SLURM_JOB_UID=str(os.getuid())).returncode == 0
    assert process.poll() is None


@pytest.mark.usefixtures("job_9")
def test_a_process_that_outlived_its_job_is_ended(node: Node, process: subprocess.Popen[bytes]) -> None:
    node.answer("apps", f"{process.pid}\n")
    assert node.run("epilog.sh", SLURM_JOB_ID="9", SLURM_JOB_UID=str(os.getuid())).returncode == 0
    assert gone(process)


def test_another_users_process_is_left(node: Node, process: subprocess.Popen[bytes]) -> None:
    node.answer("apps", f"{process.pid}\n")
    node.run("epilog.sh", SLURM_JOB_ID="7", SLURM_JOB_UID=str(os.getuid() + 1))
    assert process.poll() is None


def test_without_a_users_number_nothing_is_ended(node: Node, process: subprocess.Popen[bytes]) -> None:
    node.answer("apps", f"{process.pid}\n")
    node.run("epilog.sh")
    assert process.poll() is None


def test_processes_of_the_system_are_left(node: Node, process: subprocess.Popen[bytes]) -> None:
    node.settings["first_user"] = str(os.getuid() + 1)
    node.answer("apps", f"{process.pid}\n")
    done = node.run("epilog.sh", SLURM_JOB_ID="7", SLURM_JOB_UID=str(os.getuid()))
    assert done.returncode == 0
    assert process.poll() is None


def test_the_settings_are_read_and_not_run(node: Node) -> None:
    node.settings["mount"] = f"$(touch {node.folder}/run)"
    node.settings["first_user; touch {node.folder}/run #"] = "0"
    node.run("prolog.sh")
    assert not (node.folder / "run").exists()


def test_what_is_checked_follows_from_inventory_and_policy() -> None:
    conf = render(*example(), "24.11")["node-checks.conf"]
    pairs = [line for line in conf.splitlines() if not line.startswith("#")]
    assert pairs == ["memlock=unlimited", "ports=20000-29999", "mount=/home", "mount=/shared"]


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="there is no shellcheck")
def test_shellcheck_has_nothing_against_them(node: Node) -> None:
    scripts = sorted(str(path) for path in node.folder.glob("*.sh"))
    done = subprocess.run(
        ["shellcheck", "-x", "-P", str(node.folder), *scripts], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
