"""A process is ours by pid and start, or by what it carries; never by pid alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from hpctools.sandbox import processes
from hpctools.sandbox.processes import DAEMON, MARK, Identity, Seen

# The mark of these tests alone: others may run on this machine.
OURS = f"/sandbox-of-{os.getpid()}"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        ["sleep", "600"], env={MARK: OURS, "SLURM_CONF": f"{OURS}/slurm.conf"}, cwd="/"
    ) as child:
        yield child
        child.kill()


def test_a_process_is_alive_until_it_ends(sleeper: subprocess.Popen[bytes]) -> None:
    identity = processes.identify(sleeper.pid)
    assert identity is not None
    assert identity.alive()
    sleeper.kill()
    assert processes.wait_gone([identity], 60)  # though nobody has waited for it: a zombie is gone


def test_another_process_with_the_same_pid_is_not_ended(sleeper: subprocess.Popen[bytes]) -> None:
    """After a reboot or a wrap of the pids a recorded pid may be anybody's."""
    reused = Identity(sleeper.pid, (processes.started(sleeper.pid) or 0) - 1)
    processes.end([reused], grace_s=0.1)
    processes.kill([reused])
    assert sleeper.poll() is None


def test_a_frozen_process_is_ended(sleeper: subprocess.Popen[bytes]) -> None:
    identity = processes.identify(sleeper.pid)
    assert identity is not None
    os.kill(sleeper.pid, signal.SIGSTOP)
    processes.end([identity], grace_s=60)
    assert sleeper.wait() == -signal.SIGTERM


def test_daemons_are_found_by_their_mark(sleeper: subprocess.Popen[bytes]) -> None:
    found = processes.scan(processes.of_sandbox(OURS, f"{OURS}/slurm.conf", "/log", ()))
    assert [identity.pid for identity in found] == [sleeper.pid]
    assert processes.scan(processes.of_sandbox(f"{OURS}b", f"{OURS}b/slurm.conf", "/log", ())) == []


TASK = {"SLURM_CONF": "/etc/s.conf", "SLURM_JOB_ID": "1", "SLURMD_NODENAME": "n1"}


def test_tasks_are_found_and_a_users_shell_is_not() -> None:
    belongs = processes.of_sandbox("/mark", "/etc/s.conf", "/log", ["n1"])
    assert belongs(Seen(TASK))
    assert not belongs(Seen({**TASK, "SLURMD_NODENAME": "n2"}))
    assert not belongs(Seen({**TASK, "SLURM_CONF": "/other"}))
    assert not belongs(Seen({"SLURM_CONF": "/etc/s.conf"}))
    assert not belongs(Seen({"SLURM_CONF": "/etc/s.conf", "SLURM_JOB_ID": "1"}))


def test_a_slurmstepd_is_known_by_its_folder_since_its_title_covers_its_environment() -> None:
    belongs = processes.of_sandbox("/mark", "/etc/s.conf", "/log", ["n1"])
    assert belongs(Seen({}, "/log/slurmd-n1"))
    assert not belongs(Seen({}, "/other/log/slurmd-n1"))


def test_a_nodes_processes_are_its_own_only() -> None:
    belongs = processes.of_node("/mark", "/etc/s.conf", "/log", "n1")
    assert belongs(Seen(TASK))
    assert belongs(Seen({}, "/log/slurmd-n1"))
    assert not belongs(Seen({}, "/log/slurmd-n11"))
    assert not belongs(Seen({**TASK, "SLURMD_NODENAME": "n2"}))
    assert belongs(Seen({MARK: "/mark", DAEMON: "slurmd-n1"}))
    assert not belongs(Seen({MARK: "/mark", DAEMON: "slurmd-n2"}))
    assert not belongs(Seen({MARK: "/other", DAEMON: "slurmd-n1"}))


def test_children_without_the_mark_are_found_too() -> None:
    code = "import subprocess, sys; subprocess.run(['sleep', '600'], env={})"
    with subprocess.Popen([sys.executable, "-c", code], env={MARK: OURS}) as parent:
        try:
            belongs = processes.of_sandbox(OURS, f"{OURS}/slurm.conf", "/log", ())
            assert processes.wait_until(lambda: len(processes.scan(belongs)) == 2, 60)
            found = processes.scan(belongs)
            processes.kill(found)
            assert processes.scan(belongs) == []
        finally:
            parent.kill()


def test_a_name_with_parentheses_does_not_confuse() -> None:
    code = "open('/proc/self/comm', 'w').write('a) Z (b'); print(flush=True); import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            assert processes.identify(child.pid) is not None
        finally:
            child.kill()
