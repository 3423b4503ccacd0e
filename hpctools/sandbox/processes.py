"""The processes of a sandbox: known by pid, start and boot, so that a reused pid is never ours."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

# Daemons carry it in their environment: what an `up` that was killed left behind is found by it.
MARK = "HPCTOOLS_SANDBOX"
# And this, which of them it is: slurmd-n1.
DAEMON = "HPCTOOLS_SANDBOX_DAEMON"


def boot_id() -> str:
    """The kernel's identifier of this boot (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True)
class Identity:
    """One process, for good: a pid alone is reused. started: clock ticks since boot (proc(5), stat 22)."""

    pid: int
    started: int

    def alive(self) -> bool:
        return started(self.pid) == self.started

    def frozen(self) -> bool:
        """Whether it was stopped (SIGSTOP) and answers nobody."""
        return self.alive() and _stat(self.pid)[0] == "T"


def started(pid: int, *, ended_too: bool = False) -> int | None:
    """When pid started; None when it is gone, or (unless ended_too) only a zombie."""
    words = _stat(pid)
    return None if words[0] in ("X" if ended_too else "ZX") or len(words) < 20 else int(words[19])


def _stat(pid: int) -> list[str]:
    """What /proc says of pid after its name; ["X"] when it is gone."""
    try:
        # The name stands in parentheses and may hold spaces and parentheses itself.
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["X"]


def identify(pid: int, *, ended_too: bool = False) -> Identity | None:
    """Who pid is; with ended_too also a child of ours that has ended and waits to be asked how."""
    since = started(pid, ended_too=ended_too)
    return None if since is None else Identity(pid, since)


@dataclass(frozen=True)
class Seen:
    """What a process shows of itself. stepd_folder: the folder a slurmstepd works in, else empty."""

    environ: Mapping[str, str]
    stepd_folder: str = ""


Belongs = Callable[[Seen], bool]


def of_sandbox(mark: str, slurm_conf: str, log: str, node_names: Iterable[str]) -> Belongs:
    """Everything a sandbox runs: daemons, slurmstepds, and the tasks of jobs.

    Daemons carry mark. A slurmstepd writes its title over its environment, but works in the log
    folder of its slurmd. It gives each task SLURM_CONF, SLURM_JOB_ID and SLURMD_NODENAME; a
    user's own shell with our SLURM_CONF lacks the last and is left alone.
    """
    nodes = frozenset(node_names)

    def belongs(seen: Seen) -> bool:
        environ = seen.environ
        is_task = environ.get("SLURMD_NODENAME") in nodes and "SLURM_JOB_ID" in environ
        return (
            environ.get(MARK) == mark
            or seen.stepd_folder.startswith(f"{log}/slurmd-")
            or (is_task and environ.get("SLURM_CONF") == slurm_conf)
        )

    return belongs


def of_node(mark: str, slurm_conf: str, log: str, node: str) -> Belongs:
    """What runs for one node: slurmd and what it has just forked, its slurmstepds, their tasks."""

    def belongs(seen: Seen) -> bool:
        environ = seen.environ
        is_task = environ.get("SLURMD_NODENAME") == node and "SLURM_JOB_ID" in environ
        return (
            (environ.get(MARK) == mark and environ.get(DAEMON) == f"slurmd-{node}")
            or seen.stepd_folder == f"{log}/slurmd-{node}"
            or (is_task and environ.get("SLURM_CONF") == slurm_conf)
        )

    return belongs


def _seen(process: psutil.Process) -> Seen:
    import psutil

    folder, environ = "", {}
    with contextlib.suppress(psutil.Error, OSError):
        if os.path.basename(process.exe()).startswith("slurmstepd"):
            folder = process.cwd().removesuffix(" (deleted)")
        environ = process.environ()
    return Seen(environ, folder)


def scan(belongs: Belongs) -> list[Identity]:
    """The processes that belong, and all their descendants; never this one."""
    import psutil

    found: dict[int, Identity] = {}
    children: dict[int, list[int]] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            children.setdefault(process.ppid(), []).append(process.pid)
        if belongs(_seen(process)) and (identity := identify(process.pid)):
            found[process.pid] = identity
    waiting = list(found)
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in found and (identity := identify(child)):
                found[child] = identity
                waiting.append(child)
    found.pop(os.getpid(), None)
    return list(found.values())


def send(identities: Iterable[Identity], number: signal.Signals) -> None:
    """Signal those that are still the processes they were."""
    for identity in identities:
        if identity.alive():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(identity.pid, number)


def end(identities: Iterable[Identity], *, grace_s: float) -> None:
    """TERM, then KILL for what is still there after grace_s; returns when all are gone.

    CONT goes along, since a frozen process takes no TERM.
    """
    living = [identity for identity in identities if identity.alive()]
    send(living, signal.SIGTERM)
    send(living, signal.SIGCONT)
    if not wait_gone(living, grace_s):
        kill(living)


def kill(identities: Iterable[Identity]) -> None:
    """KILL, and wait until all are gone."""
    living = list(identities)
    send(living, signal.SIGKILL)
    wait_gone(living, 10)


def wait_gone(identities: Iterable[Identity], timeout_s: float) -> bool:
    living = list(identities)
    return wait_until(lambda: not any(identity.alive() for identity in living), timeout_s)


def wait_until(condition: Callable[[], object], timeout_s: float) -> bool:
    """Poll condition, at first often, until it holds; False when it did not within timeout_s."""
    return any(condition() for _ in _ticks(timeout_s))


def _ticks(timeout_s: float) -> Iterator[None]:
    deadline, pause_s = time.monotonic() + timeout_s, 0.01
    yield
    while time.monotonic() < deadline:
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.2)
        yield
